"""What workers that are no more have left on disk is booked once, and nobody else's outbox is touched."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from empty_sqlite import opened_sqlite
from stores.samples import receipt

from extproc.model import Receipt
from extproc.stores import leftovers
from extproc.stores.contract import SpendFilter
from extproc.stores.outbox import Outbox
from extproc.stores.recorder import Recorder
from extproc.stores.sql import SqlStore


@pytest.fixture
async def store(tmp_path):
    opened = await opened_sqlite(tmp_path)
    yield opened
    await opened.close()


async def leave(folder: Path, *receipts: Receipt) -> None:
    """As a worker that was killed leaves them."""
    outbox = Outbox(folder)
    for one in receipts:
        await outbox.append(one)
    outbox.stop()
    outbox.close(outbox.first)


async def ship(outboxes: Path, workers: int, store: SqlStore) -> None:
    await leftovers.ship(outboxes, workers, lambda folder: Recorder(Outbox(folder), store, lambda: 1_000))


async def booked(store: SqlStore) -> set[str]:
    return {row.receipt.event_id for row in await store.rows(SpendFilter(), limit=100)}


async def test_only_those_beyond_the_workers_that_run_are_booked(tmp_path, store):
    for worker in range(4):
        await leave(tmp_path / "outbox" / str(worker), receipt(event_id=f"of {worker}"))

    await ship(tmp_path / "outbox", 2, store)

    assert await booked(store) == {"of 2", "of 3"}
    assert [*(tmp_path / "outbox" / "3").glob("*.receipts")] == []
    assert [*(tmp_path / "outbox" / "1").glob("*.receipts")] != []


async def test_where_nothing_is_left_nothing_is_done(tmp_path, store):
    await ship(tmp_path / "outbox", 1, store)

    assert await booked(store) == set()


async def test_one_who_is_still_ending_is_waited_for(tmp_path, store, monkeypatch):
    monkeypatch.setattr(leftovers, "RETRY_SECONDS", 0.01)
    await leave(tmp_path / "outbox" / "1", receipt(event_id="late"))
    still_there = Outbox(tmp_path / "outbox" / "1")
    shipping = asyncio.create_task(ship(tmp_path / "outbox", 1, store))
    await asyncio.sleep(0.05)
    assert not shipping.done()

    still_there.stop()
    still_there.close(still_there.first)
    await asyncio.wait_for(shipping, 30)

    assert await booked(store) == {"late"}
