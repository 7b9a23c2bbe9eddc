"""An outbox that was damaged on disk: what is good is booked, what is not is set aside, and nobody stops for it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from empty_sqlite import opened_sqlite
from stores.samples import receipt

from extproc.stores.contract import SpendFilter
from extproc.stores.outbox import Outbox, set_aside
from extproc.stores.outbox_records import record
from extproc.stores.recorder import Recorder
from extproc.stores.sql import SqlStore

RECORDS = [record(receipt(event_id=f"event-{number}")) for number in range(5)]
SIZE = len(RECORDS[0])


def flipped(data: bytes) -> bytes:
    spoiled = bytearray(data)
    spoiled[2 * SIZE + 60] ^= 1
    return bytes(spoiled)


def with_garbage(data: bytes) -> bytes:
    return data[: 2 * SIZE] + b"garbage " * 40 + data[3 * SIZE :]


def truncated(data: bytes) -> bytes:
    return data[: 4 * SIZE + 50]


def of_another_version(data: bytes) -> bytes:
    """Whole, but not what a receipt is here."""
    other = record(receipt(event_id="event-2", http_status="200"))
    return data[: 2 * SIZE] + other + data[3 * SIZE :]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await opened_sqlite(tmp_path)
    yield opened
    await opened.close()


def leave(folder: Path, damage: Callable[[bytes], bytes]) -> bytes:
    """A segment as a process that is gone has left it, then damaged."""
    folder.mkdir(exist_ok=True)
    segment = damage(b"".join(RECORDS) + bytes(4_096))
    (folder / "0000000001.receipts").write_bytes(segment)
    return segment


def recorder(folder: Path, store: SqlStore) -> Recorder:
    return Recorder(Outbox(folder), store, lambda: 1_000)


async def booked(store: SqlStore) -> set[str]:
    return {row.receipt.event_id for row in await store.rows(SpendFilter(), limit=100)}


@pytest.mark.parametrize(("damage", "lost"), [(flipped, 2), (with_garbage, 2), (truncated, 4), (of_another_version, 2)])
async def test_the_good_ones_are_booked_and_the_segment_is_set_aside(tmp_path, store, caplog, damage, lost):
    folder = tmp_path / "outbox"
    segment = leave(folder, damage)
    starting = recorder(folder, store)
    await starting.put(receipt(event_id="new"))
    with caplog.at_level(logging.ERROR):
        assert await starting.ship()
        assert starting.depth == 0
        await starting.close()

    assert await booked(store) == {"new", *(f"event-{number}" for number in range(5) if number != lost)}
    assert [line.message for line in caplog.records] == ["receipt_unreadable"]
    assert sorted(path.name for path in folder.iterdir()) == ["0000000001.bad", "lock"]
    assert (folder / "0000000001.bad").read_bytes() == segment


async def test_it_is_told_of_once_however_often_it_is_read(tmp_path, store, caplog):
    folder = tmp_path / "outbox"
    leave(folder, flipped)
    outbox = Outbox(folder)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            receipts, behind = outbox.read(outbox.first, 100)
            assert len(receipts) == 4
    outbox.stop()
    outbox.close(behind)

    assert [line.message for line in caplog.records] == ["receipt_unreadable"]


async def test_a_segment_in_use_is_set_aside_too_when_all_else_of_it_is_booked(tmp_path, store):
    folder = tmp_path / "outbox" / "0"
    assert set_aside(tmp_path / "outbox") == 0
    running = recorder(folder, store)
    for number in range(3):
        await running.put(receipt(event_id=f"event-{number}"))
    with (folder / "0000000001.receipts").open("r+b") as file:
        file.seek(SIZE + 60)
        file.write(b"\xff")

    assert await running.ship()
    assert running.depth == 0
    await running.close()

    assert await booked(store) == {"event-0", "event-2"}
    assert set_aside(tmp_path / "outbox") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["0000000001.bad", "lock"]


async def test_what_was_set_aside_is_never_overwritten_and_read_again_under_its_old_name(tmp_path, store):
    folder = tmp_path / "outbox"
    leave(folder, of_another_version)
    for _ in range(2):
        again = recorder(folder, store)
        await again.ship()
        await again.close()
    later = Outbox(folder)
    assert later.durable.segment == 2
    later.stop()
    later.close(later.durable)

    mended = b"".join(RECORDS) + bytes(100)
    (folder / "0000000001.bad").unlink()
    (folder / "0000000001.receipts").write_bytes(mended)
    last = recorder(folder, store)
    await last.ship()
    await last.close()

    assert await booked(store) == {f"event-{number}" for number in range(5)}
    assert [path.name for path in folder.iterdir()] == ["lock"]
