"""What is durable gets booked, once, however often the ledger or the process fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from extproc.errors import StoreUnavailable
from extproc.model import Receipt, Usage
from extproc.stores import recorder as module
from extproc.stores.outbox import Outbox
from extproc.stores.recorder import Recorder


def receipt(number: int) -> Receipt:
    return Receipt(
        event_id=f"event-{number}", call_id="c", key_digest="d", started_at=1, ended_at=2, operation="acompletion",
        path="/", model_group="m", model="m", model_id="i", provider="openai", api_base="", http_status=200,
        status="success", stream=False, usage=Usage(), spend=number,
    )  # fmt: skip


class Book:
    """A small real ledger: idempotent by event id, and it can be out of reach."""

    def __init__(self) -> None:
        self.rows: dict[str, Receipt] = {}
        self.down = False
        self.calls = 0

    async def record(self, receipts, *, now):
        self.calls += 1
        if self.down:
            raise StoreUnavailable("ledger", "gone")
        new = [receipt for receipt in receipts if receipt.event_id not in self.rows]
        self.rows.update({receipt.event_id: receipt for receipt in new})
        return frozenset(receipt.event_id for receipt in new)


@contextlib.asynccontextmanager
async def shipping(recorder):
    task = asyncio.create_task(recorder.ship_until_cancelled())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def book():
    return Book()


async def test_a_receipt_is_durable_when_the_awaitable_ends_and_booked_soon_after(tmp_path, book):
    recorder = Recorder(Outbox(tmp_path), book, lambda: 5)
    async with shipping(recorder):
        await recorder.put(receipt(1))
        assert recorder.depth == 1
        await until(lambda: book.rows)

    assert list(book.rows) == ["event-1"]
    await recorder.close()
    assert recorder.depth == 0


async def test_receipts_wait_for_the_ledger_and_are_all_booked_when_it_is_back(tmp_path, book, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    book.down = True
    recorder = Recorder(Outbox(tmp_path), book, lambda: 5)
    with caplog.at_level(logging.WARNING):
        async with shipping(recorder):
            await asyncio.gather(*(recorder.put(receipt(number)) for number in range(20)))
            await until(lambda: book.calls > 3)
            book.down = False
            await until(lambda: len(book.rows) == 20)
        await recorder.close()

    assert [record.message for record in caplog.records] == ["ledger_unavailable", "ledger_available_again"]


async def test_what_the_ledger_did_not_take_is_booked_by_the_next_process(tmp_path, book):
    book.down = True
    recorder = Recorder(Outbox(tmp_path), book, lambda: 5)
    await recorder.put(receipt(1))
    await recorder.close()
    book.down = False

    again = Recorder(Outbox(tmp_path), book, lambda: 5)
    async with shipping(again):
        await until(lambda: book.rows)
    await again.close()

    assert list(book.rows) == ["event-1"]


async def test_closing_books_what_was_just_handed_in(tmp_path, book):
    recorder = Recorder(Outbox(tmp_path), book, lambda: 5)
    recorder.put(receipt(1))

    await recorder.close()

    assert list(book.rows) == ["event-1"]
    assert not list(tmp_path.glob("*.receipts"))


async def test_many_receipts_are_booked_in_batches(tmp_path, book):
    recorder = Recorder(Outbox(tmp_path), book, lambda: 5)
    count = 2 * module.BATCH + 1
    await asyncio.gather(*(recorder.put(receipt(number)) for number in range(count)))

    assert await recorder.ship()
    assert (len(book.rows), book.calls) == (count, 3)
    await recorder.close()


async def test_a_recorder_accepts_while_its_outbox_does(tmp_path, book):
    recorder = Recorder(Outbox(tmp_path), book, lambda: 5)

    assert recorder.accepting
    await recorder.close()


async def test_what_an_earlier_process_left_waits_until_it_is_booked(tmp_path, book, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    book.down = True
    earlier = Recorder(Outbox(tmp_path), book, lambda: 5)
    for number in range(3):
        await earlier.put(receipt(number))
    await earlier.close()

    recorder = Recorder(Outbox(tmp_path), book, lambda: 5)
    assert recorder.depth == 1
    await recorder.put(receipt(3))
    assert recorder.depth == 2

    book.down = False
    assert await recorder.ship()
    assert len(book.rows) == 4
    assert recorder.depth == 0
    await recorder.close()
