"""What only the counters of one process must do: their memory is bounded without anybody to clean up."""

from __future__ import annotations

import pytest
from counting import KEY, NOW, budget, places, rpm

from extproc.holds import Amounts, Ask, Booking, Granted, Level, Limit, Scope, Unseeded
from extproc.stores.counters import REMEMBER_MS
from extproc.stores.counters_memory import IDLE_MS, MemoryCounters


@pytest.fixture
def store() -> MemoryCounters:
    return MemoryCounters(lambda: NOW)


async def seed(store: MemoryCounters, limit: Limit, now: int) -> None:
    assert await store.begin_seed(limit, "token", now) == frozenset()
    assert await store.finish_seed(limit, "token", [(now, 3)], now)


def of_key(number: int) -> Limit:
    return places(9, Scope("api_key", str(number)))


async def test_counters_that_nobody_uses_are_forgotten_while_others_are_made(store):
    for number in range(1_000):
        await store.reserve(Ask(str(number), (of_key(number),), Amounts()), NOW)
    await store.booked([Booking(str(number), Amounts(), (), new=True) for number in range(1_000)], NOW)

    for number in range(1_000, 1_600):
        await store.renew([Ask(str(number), (of_key(number),), Amounts())], NOW + IDLE_MS)
    await store.booked([], NOW + REMEMBER_MS)

    assert len(store) == 1_200


async def test_a_counter_that_was_forgotten_is_unseeded(store):
    await seed(store, budget(9), NOW)
    later = NOW + IDLE_MS
    await store.reserve(Ask("event", (of_key(1),), Amounts()), later - 1)
    assert await store.levels([budget(9)], later) == [Level(3, 0)]

    await store.reserve(Ask("other", (of_key(2),), Amounts()), later)

    assert await store.reserve(Ask("event-2", (budget(9),), Amounts()), later) == Unseeded((0,))


async def test_a_counter_on_which_an_exchange_is_counted_is_never_forgotten(store):
    await seed(store, budget(9), NOW)
    await store.reserve(Ask("event", (budget(9),), Amounts()), NOW)

    for number in range(9):
        await store.reserve(Ask(str(number), (of_key(number),), Amounts()), NOW + 9 * IDLE_MS)

    assert await store.levels([budget(9)], NOW + 9 * IDLE_MS) == [Level(3, 0)]


async def test_a_counter_that_is_asked_for_is_not_forgotten_on_the_way(store):
    """A reservation makes a counter, and whoever makes one forgets idle ones: not those of the same reservation."""
    await seed(store, budget(9), NOW)

    answer = await store.reserve(Ask("event", (budget(9), of_key(1)), Amounts(0, 2)), NOW + IDLE_MS)

    assert answer == Granted((Level(3, 0), Level(0, 0)))
    assert await store.levels([budget(9)], NOW + IDLE_MS) == [Level(3, 2)]


async def test_booked_exchanges_are_forgotten_after_their_time(store):
    await store.booked([Booking("first", Amounts(), (KEY,), new=True)], NOW)
    await store.booked([Booking("second", Amounts(), (KEY,), new=True)], NOW + 1)
    assert len(store) == 2

    await store.booked([], NOW + REMEMBER_MS)

    assert len(store) == 1


async def test_no_more_booked_exchanges_are_remembered_than_said():
    store = MemoryCounters(lambda: NOW, remembered=3)
    await store.booked([Booking(str(number), Amounts(), (KEY,), new=True) for number in range(9)], NOW)

    assert len(store) == 3


async def test_many_settings_of_one_counter_take_no_memory():
    """Limits differ in their maximum; the shorter way to their counters is bounded, too."""
    store = MemoryCounters(lambda: NOW)
    await seed(store, rpm(9), NOW)

    for maximum in range(20_000):
        await store.begin_seed(rpm(maximum), "token")

    assert len(store) == 1
    assert len(store._known) <= 10_000


async def test_its_own_clock_counts_where_nobody_hands_in_a_moment():
    moments = iter(range(NOW, NOW + 99))
    store = MemoryCounters(lambda: next(moments))
    await store.reserve(Ask("event", (places(1),), Amounts(), b"draft"))

    assert await store.orphans(9) == []
    assert len(await store.orphans(9, NOW + 30_000)) == 1
