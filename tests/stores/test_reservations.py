"""What happens around a counter store: seeding from the ledger, leases, bookings that were not heard, orphans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from stores.processes import BUDGET, KEY, PLACES, Process, ask, receipt

from extproc.errors import StoreUnavailable
from extproc.holds import Amounts, Ask, Full, Granted, Level, Scope
from extproc.policy import limits
from extproc.stores.counters import BOOKING_MS, LEASE_MS
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.reservations import Reservations


@pytest.fixture
def process() -> Process:
    Process.moment = 1_000_000
    return Process()


async def test_a_counter_that_nobody_knows_starts_from_the_ledger(process):
    process.ledger.record(receipt("old", 950))

    full = await process.it.reserve(ask("e1"))

    assert isinstance(full, Full)
    assert full.level == Level(950, 0)


async def test_many_who_ask_at_once_read_the_ledger_once(process):
    answers = await asyncio.gather(*(process.it.reserve(ask(f"e{number}", 10)) for number in range(20)))

    assert all(isinstance(answer, Granted) for answer in answers)
    assert process.ledger.reads == 1


async def test_a_gauge_needs_no_ledger(process):
    process.ledger.down = True

    assert isinstance(await process.it.reserve(ask("e1", 0, 0, PLACES)), Granted)


async def test_without_the_ledger_an_unknown_counter_cannot_be_reserved_on(process):
    process.ledger.down = True

    with pytest.raises(StoreUnavailable):
        await process.it.reserve(ask("e1"))


async def test_a_booking_while_the_ledger_is_read_is_neither_lost_nor_counted_twice(process):
    async def booked_meanwhile() -> None:
        await process.book("late", 300)

    process.ledger.while_read = booked_meanwhile

    await process.it.reserve(ask("e1"))

    assert await process.level() == Level(300, 100)


async def test_what_is_settled_and_booked_is_counted_once(process):
    await process.it.reserve(ask("e1"))
    await process.finish("e1", 70)
    await process.book("e1", 70)

    assert await process.level() == Level(70, 0)


async def test_a_settle_that_is_not_heard_is_heard_when_it_is_booked(process):
    await process.it.reserve(ask("e1"))
    process.counters.down = True
    await process.it.settle("e1", Amounts(30, 70))
    process.counters.down = False
    await process.book("e1", 70)

    assert await process.level() == Level(70, 0)


async def test_a_booking_that_is_not_heard_is_told_again(process):
    await process.it.reserve(ask("e1"))
    process.counters.down = True
    await process.finish("e1", 70)
    process.counters.down = False
    await process.it.renew()

    assert await process.level() == Level(70, 0)


async def test_the_lease_of_what_is_alive_is_renewed(process):
    await process.it.reserve(ask("e1"))
    for _ in range(10):
        Process.moment += LEASE_MS - 1
        await process.it.renew()

    assert await process.it.sweep(process.ledger) == 0
    assert await process.level() == Level(0, 100)


async def test_a_store_that_lost_its_memory_learns_again_what_is_held(process):
    await process.it.reserve(ask("e1"))
    await process.it.extend("e1", Amounts(5, 50))
    process.ledger.record(receipt("old", 40))
    await process.counters.unseed(KEY)
    process.counters.__init__(lambda: Process.moment)
    await process.it.renew()

    await process.it.reserve(ask("e2", 10))

    assert await process.level() == Level(40, 160)


@pytest.fixture
async def renewals(process) -> AsyncIterator[list[int]]:
    """How many exchanges were told each time. The first time that nobody hurries would be after ten seconds."""
    told: list[int] = []
    renew = process.counters.renew

    async def counted(asks: Sequence[Ask], now: int | None = None) -> None:
        told.append(len(asks))
        await renew(asks, now)

    process.counters.renew = counted
    renewing = asyncio.create_task(process.it.renew_until_cancelled())
    yield told
    renewing.cancel()


async def test_a_lost_memory_is_noticed_when_somebody_asks_for_a_counter_of_a_stream(process, renewals):
    await process.it.reserve(ask("e1"))
    process.counters.__init__(lambda: Process.moment)

    await process.it.reserve(ask("e2", 10))
    await becomes(process, Level(0, 110))

    assert {*renewals} == {1}


async def test_a_lost_memory_is_noticed_when_a_stream_grows(process, renewals):
    await process.it.reserve(ask("e1"))
    process.counters.__init__(lambda: Process.moment)

    await process.it.extend("e1", Amounts(5, 50))
    await becomes(process, None)
    await process.it.reserve(ask("e2", 10))

    assert await process.level() == Level(0, 160)
    assert {*renewals} == {1}


async def test_a_counter_that_is_new_hurries_nobody(process, renewals):
    await process.it.reserve(ask("e1"))
    await process.it.reserve(ask("e2", 100, 30, msgspec.structs.replace(BUDGET, scope=Scope("api_key", "other"))))
    await process.it.extend("e2", Amounts(5, 50))
    for _ in range(20):
        await asyncio.sleep(0)

    assert renewals == []


async def becomes(process: Process, level: Level | None) -> None:
    """Long before a renewal that nobody hurries."""
    async with asyncio.timeout(30):
        while await process.level() != level or not process.counters._unbooked:
            await asyncio.sleep(0)


async def test_what_a_dead_process_held_is_booked_once_by_whoever_notices(process):
    survivor, other = Process(process), Process(process)
    await process.it.reserve(ask("e1", 100, 30))
    await process.it.extend("e1", Amounts(20, 60))
    Process.moment += LEASE_MS + 1

    swept = await survivor.it.sweep(survivor.ledger) + await other.it.sweep(other.ledger)

    assert swept == 1
    (orphan,) = survivor.ledger.handed_in
    assert (orphan.event_id, orphan.spend, orphan.estimated, orphan.cut) == ("e1", 160, True, True)
    assert (orphan.usage.input_tokens, orphan.usage.output_tokens) == (10, 40)
    await survivor.it.booked([orphan], survivor.ledger.record(orphan))
    assert await survivor.level() == Level(160, 0)


async def test_an_exchange_that_was_settled_but_never_booked_is_booked_by_what_it_used(process):
    survivor = Process(process)
    await process.it.reserve(ask("e1"))
    await process.it.settle("e1", Amounts(30, 70))
    Process.moment += BOOKING_MS + 1

    await survivor.it.sweep(survivor.ledger)

    assert [orphan.spend for orphan in survivor.ledger.handed_in] == [70]


async def test_an_orphan_whose_worker_had_booked_it_after_all_counts_what_the_ledger_says(process):
    """The worker died between booking and telling; the estimate must not stand beside the truth."""
    survivor = Process(process)
    await process.it.reserve(ask("e1", 500))
    process.ledger.record(receipt("e1", 70))
    Process.moment += LEASE_MS + 1
    await survivor.it.sweep(survivor.ledger)
    (orphan,) = survivor.ledger.handed_in
    await survivor.it.booked([orphan], survivor.ledger.record(orphan))

    await survivor.it.reserve(ask("e2", 10))

    assert await survivor.level() == Level(70, 10)


async def test_during_an_outage_this_process_counts_from_the_ledger(process):
    process.ledger.record(receipt("old", 850))
    process.counters.down = True

    first = await process.it.reserve_alone(ask("e1"))
    second = await process.it.reserve_alone(ask("e2"))

    assert isinstance(first, Granted)
    assert isinstance(second, Full)


async def test_what_was_counted_alone_is_known_to_all_when_the_store_is_back(process):
    await process.it.reserve(ask("before", 10))
    process.counters.down = True
    await process.it.reserve_alone(ask("e1"))
    await process.finish("e1", 90)
    process.counters.down = False
    await process.it.renew()

    await process.it.reserve(ask("e2", 10))

    assert await process.level() == Level(90, 20)


async def test_a_new_outage_counts_anew(process):
    process.counters.down = True
    await process.it.reserve_alone(ask("e1", 600))
    process.counters.down = False
    await process.it.reserve(ask("between", 10))
    process.counters.down = True

    assert isinstance(await process.it.reserve_alone(ask("e2", 600)), Granted)


async def test_many_who_come_at_once_in_an_outage_are_counted_together(process):
    process.counters.down = True

    answers = await asyncio.gather(*(process.it.reserve_alone(ask(f"e{number}", 100)) for number in range(20)))

    assert sum(isinstance(answer, Granted) for answer in answers) == 10


async def test_what_was_counted_alone_is_held_by_all_when_the_store_is_back(process):
    process.counters.down = True
    await process.it.reserve_alone(ask("e1", 100))
    await process.it.extend("e1", Amounts(5, 50))
    process.counters.down = False
    await process.it.renew()

    await process.it.reserve(ask("e2", 10))

    assert await process.level() == Level(0, 160)


async def test_what_a_stream_used_while_the_store_was_gone_is_held_when_it_is_back(process):
    await process.it.reserve(ask("e1", 100))
    process.counters.down = True
    with pytest.raises(StoreUnavailable):
        await process.it.extend("e1", Amounts(5, 50))
    process.counters.down = False
    await process.it.renew()

    assert await process.level() == Level(0, 150)


async def test_what_is_withdrawn_holds_nothing_and_is_never_billed(process):
    """As when a caller hangs up while the store answers: nobody knows of the answer."""
    await process.counters.begin_seed(BUDGET, "token", Process.moment)
    await process.counters.finish_seed(BUDGET, "token", (), Process.moment)
    await process.counters.reserve(ask("e1"), Process.moment)
    process.it.withdraw("e1")
    await process.it.renew()

    assert await process.level() == Level(0, 0)
    Process.moment += LEASE_MS + 1
    assert await process.it.sweep(process.ledger) == 0


async def test_what_is_withdrawn_before_the_store_heard_of_it_is_not_held_when_it_does(process):
    process.it.withdraw("e1")
    await process.it.renew()
    await process.it.reserve(ask("before", 10))

    await process.counters.reserve(ask("e1"), Process.moment)

    assert await process.level() == Level(0, 10)


async def test_what_was_counted_alone_and_withdrawn_is_given_back_there(process):
    process.counters.down = True
    await process.it.reserve_alone(ask("e1", 900))
    process.it.withdraw("e1")
    await asyncio.sleep(0)

    assert isinstance(await process.it.reserve_alone(ask("e2", 900)), Granted)


async def test_an_orphan_that_cannot_be_read_is_let_go_and_the_others_are_booked(process):
    survivor = Process(process)
    await process.it.reserve(Ask("e1", (BUDGET,), Amounts(1, 100), b"not a receipt"))
    await process.it.reserve(ask("e2"))
    Process.moment += LEASE_MS + 1

    await survivor.it.sweep(survivor.ledger)
    await survivor.it.renew()

    assert [orphan.event_id for orphan in survivor.ledger.handed_in] == ["e2"]
    await survivor.it.reserve(ask("e3", 10))
    assert await survivor.level() == Level(0, 110)


async def test_after_an_outage_nobody_is_booked_before_a_lease_has_passed(process):
    """Everybody's lease has run out meanwhile; whoever is alive says so as soon as the store is back."""
    lease = 0.6
    survivor = Process(process)
    survivor.it = Reservations(
        survivor.counters, survivor.ledger, now=lambda: Process.moment, own_clock=False,
        local=lambda: MemoryCounters(lambda: Process.moment), scopes_of=limits.scopes, lease_ms=int(lease * 1000),
    )  # fmt: skip
    await process.it.reserve(ask("e1"))
    sweeping = asyncio.create_task(survivor.it.sweep_until_cancelled(survivor.ledger))
    await asyncio.sleep(lease / 2)
    process.counters.down = True
    Process.moment += LEASE_MS + 1
    await asyncio.sleep(lease)
    process.counters.down = False
    await asyncio.sleep(lease / 2)
    assert survivor.ledger.handed_in == []

    async with asyncio.timeout(30):
        while not survivor.ledger.handed_in:
            await asyncio.sleep(lease / 6)
    sweeping.cancel()


async def test_many_leases_are_renewed_in_several_questions(process):
    asked = []
    renew = process.counters.renew

    async def counted(asks: Sequence[Ask], now: int | None = None) -> None:
        asked.append(len(asks))
        await renew(asks, now)

    process.counters.renew = counted
    for number in range(250):
        await process.it.reserve(ask(f"e{number}", 1))

    await process.it.renew()

    assert asked == [100, 100, 50]
