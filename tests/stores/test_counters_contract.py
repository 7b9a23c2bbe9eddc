"""What every counter store must do: reserve on all limits or none, and know how full they are."""

from __future__ import annotations

import msgspec
import pytest
from counting import DAY, KEY, NOW, ask, booking, budget, level, places, rpm, seed, settled, tpm

from extproc.holds import (
    ROLLING_MS,
    STEP_MS,
    Amounts,
    Full,
    Granted,
    Level,
    Limit,
    Measure,
    Orphan,
    Scope,
    Span,
    Unseeded,
)
from extproc.stores.counters import LEASE_MS, CounterStore
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.counters_redis import MOST, RedisCounters


class TestReserve:
    async def test_what_is_reserved_is_held_on_every_limit(self, counters):
        limits = budget(100), tpm(100), places(3)
        await seed(counters, *limits)

        assert await counters.reserve(ask(*limits, tokens=30, nanos=40), NOW) == Granted((Level(0, 0),) * 3)
        assert await counters.levels(limits, NOW) == [Level(0, 40), Level(0, 30), Level(0, 1)]

    async def test_a_request_counts_at_once(self, counters):
        await seed(counters, rpm(5))
        await counters.reserve(ask(rpm(5)), NOW)

        assert await level(counters, rpm(5)) == Level(1, 0)

    async def test_the_levels_of_an_answer_are_those_before_it(self, counters):
        await seed(counters, budget(100), settled=7)
        await counters.reserve(ask(budget(100), nanos=20), NOW)

        assert await counters.reserve(ask(budget(100), nanos=30), NOW) == Granted((Level(7, 20),))

    async def test_there_is_room_up_to_the_maximum_and_not_beyond(self, counters):
        await seed(counters, budget(100), settled=30)
        await counters.reserve(ask(budget(100), nanos=30), NOW)

        assert await counters.reserve(ask(budget(100), nanos=41), NOW) == Full(0, Level(30, 30), 41, None)
        assert isinstance(await counters.reserve(ask(budget(100), nanos=40), NOW), Granted)

    async def test_nothing_is_reserved_where_one_limit_is_full(self, counters):
        limits = budget(100), rpm(1), places(9)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, nanos=10), NOW)

        assert isinstance(await counters.reserve(ask(*limits, nanos=10), NOW), Full)
        assert await counters.levels(limits, NOW) == [Level(0, 10), Level(1, 0), Level(0, 1)]

    async def test_the_first_full_limit_is_told(self, counters):
        limits = places(9), budget(5), tpm(5)
        await seed(counters, *limits)

        assert await counters.reserve(ask(*limits, tokens=6, nanos=6), NOW) == Full(1, Level(0, 0), 6, None)

    async def test_unseeded_counters_are_told_before_full_ones(self, counters):
        limits = places(0), budget(5), rpm(0), tpm(5)
        await seed(counters, limits[1])

        assert await counters.reserve(ask(*limits), NOW) == Unseeded((2, 3))

    async def test_a_gauge_needs_no_seed(self, counters):
        assert await counters.reserve(ask(places(1)), NOW) == Granted((Level(0, 0),))
        assert await counters.reserve(ask(places(1)), NOW) == Full(0, Level(0, 1), 1, None)

    @pytest.mark.parametrize("limit", [budget(0), tpm(0), rpm(0), places(0)], ids=lambda limit: str(limit.measure))
    async def test_a_limit_of_zero_admits_nothing(self, counters, limit):
        await seed(counters, limit)

        assert await counters.reserve(ask(limit), NOW) == Full(0, Level(0, 0), 1, None)

    async def test_not_even_what_costs_nothing_fits_into_what_is_used_up(self, counters):
        await seed(counters, budget(5), settled=5)

        answer = await counters.reserve(ask(budget(5)), NOW)

        assert answer == Full(0, Level(5, 0), 1, NOW + DAY)
        assert not answer.only_held(5)

    async def test_what_costs_nothing_holds_nothing(self, counters):
        await seed(counters, budget(5), settled=4)

        assert isinstance(await counters.reserve(ask(budget(5)), NOW), Granted)
        assert await level(counters, budget(5)) == Level(4, 0)

    async def test_limits_on_one_counter_are_each_checked(self, counters):
        soft, hard = budget(50, enforced=False), budget(100)
        await seed(counters, hard, settled=40)

        assert await counters.reserve(ask(soft, hard, nanos=20), NOW) == Granted((Level(40, 0),) * 2, over=(0,))
        assert isinstance(await counters.reserve(ask(soft, hard, nanos=41), NOW), Full)

    async def test_limits_on_one_counter_are_counted_once(self, counters):
        await seed(counters, rpm(9), budget(9))

        await counters.reserve(ask(rpm(9), rpm(8), budget(9), budget(8), nanos=2), NOW)

        assert await counters.levels([rpm(9), rpm(1), budget(9)], NOW) == [Level(1, 0), Level(1, 0), Level(0, 2)]

    async def test_a_limit_that_is_not_enforced_counts_and_reports(self, counters):
        await seed(counters, rpm(1, enforced=False))

        answers = [await counters.reserve(ask(rpm(1, enforced=False)), NOW) for _ in range(2)]

        assert answers == [Granted((Level(0, 0),)), Granted((Level(1, 0),), over=(0,))]
        assert await level(counters, rpm(1)) == Level(2, 0)

    @pytest.mark.parametrize("step", ["open", "settled", "booked"])
    async def test_reserving_again_grants_and_changes_nothing(self, counters, step):
        limits = budget(5), rpm(1), places(1)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event", nanos=5), NOW)
        if step != "open":
            await counters.settle("event", Amounts(0, 5), NOW)
        if step == "booked":
            await counters.booked([booking("event", nanos=5)], NOW)
        before = await counters.levels(limits, NOW)

        assert await counters.reserve(ask(*limits, event="event", nanos=5), NOW) == Granted(tuple(before))
        assert await counters.levels(limits, NOW) == before

    async def test_a_new_window_is_a_new_counter(self, counters):
        tomorrow = budget(5, since=NOW + DAY, until=NOW + 2 * DAY)
        await seed(counters, budget(5), settled=5)
        await seed(counters, tomorrow)

        assert isinstance(await counters.reserve(ask(budget(5), nanos=1), NOW), Full)
        assert isinstance(await counters.reserve(ask(tomorrow, nanos=5), NOW), Granted)

    async def test_no_id_can_pass_for_another_counter(self, counters):
        limit = Limit(Scope("end_user", "bob"), Measure.TOKENS, Span.WINDOW, 9, 5, 6)
        others = [Limit(Scope("end_user", name), Measure.TOKENS, Span.ROLLING, 9) for name in ("bob:5-6", "5-6:bob")]

        assert len({each.counter for each in (limit, *others)}) == 3

    async def test_amounts_are_exact_to_the_last_integer_that_a_double_holds(self, counters):
        limits = budget(MOST), tpm(MOST)
        await seed(counters, *limits, settled=MOST - 2)
        one = ask(*limits, tokens=1, nanos=1)
        later = NOW + STEP_MS

        assert isinstance(await counters.reserve(one, later), Granted)
        await counters.settle(one.event_id, one.amounts, later)
        assert await counters.reserve(ask(*limits, tokens=2, nanos=2), later) == Full(
            0, Level(MOST - 1, 0), 2, NOW + DAY
        )
        assert await counters.levels(limits, later) == [Level(MOST - 1, 0)] * 2
        assert isinstance(await counters.reserve(ask(*limits, tokens=1, nanos=1), later), Granted)
        assert await counters.levels(limits, later + ROLLING_MS) == [Level(MOST - 1, 1), Level(1, 1)]

    async def test_an_exchange_without_limits_is_granted(self, counters):
        assert await counters.reserve(ask(event="event"), NOW) == Granted(())
        assert await counters.orphans(9, NOW + LEASE_MS) == [Orphan("event", b"", Amounts(), settled=False)]

    async def test_names_may_be_any_text(self, counters):
        limit = budget(5, Scope("end_user", "{ü} \n\x00:*😀"))
        await seed(counters, limit)

        assert isinstance(await counters.reserve(ask(limit, event="ü{}", nanos=5), NOW), Granted)
        assert await level(counters, limit) == Level(0, 5)


class TestWindow:
    async def test_a_full_budget_frees_when_its_window_ends(self, counters):
        await seed(counters, budget(5), settled=4)

        assert await counters.reserve(ask(budget(5), nanos=2), NOW) == Full(0, Level(4, 0), 2, NOW + DAY)

    async def test_a_full_budget_without_an_end_never_frees(self, counters):
        endless = budget(5, since=0, until=None)
        await seed(counters, endless, settled=4)

        assert await counters.reserve(ask(endless, nanos=2), NOW) == Full(0, Level(4, 0), 2, None)

    @pytest.mark.parametrize(("held", "asked"), [(0, 6), (3, 2)], ids=["too much", "only held"])
    async def test_waiting_does_not_help_where_a_new_window_would_not(self, counters, held, asked):
        await seed(counters, budget(5), settled=1)
        await counters.reserve(ask(budget(5), nanos=held), NOW)

        answer = await counters.reserve(ask(budget(5), nanos=asked), NOW)

        assert answer == Full(0, Level(1, held), asked, None)

    async def test_what_was_reserved_in_a_window_is_settled_in_it(self, counters):
        tomorrow = budget(5, since=NOW + DAY, until=NOW + 2 * DAY)
        await seed(counters, budget(5))
        await counters.reserve(ask(budget(5), event="event", nanos=5), NOW + DAY - 1)
        await seed(counters, tomorrow)

        await counters.settle("event", Amounts(0, 4), NOW + DAY + 1)

        assert await counters.levels([budget(5), tomorrow], NOW + DAY + 1) == [Level(4, 0), Level(0, 0)]

    async def test_tokens_per_day_are_a_window(self, counters):
        tpd = Limit(KEY, Measure.TOKENS, Span.WINDOW, 10, NOW, NOW + DAY)
        await seed(counters, tpd)
        await settled(counters, tpd, used=8)

        assert await counters.reserve(ask(tpd, tokens=3), NOW + ROLLING_MS * 2) == Full(0, Level(8, 0), 3, NOW + DAY)


class TestLevels:
    async def test_they_come_in_the_order_of_the_limits(self, counters):
        await seed(counters, budget(9), settled=2)
        await counters.reserve(ask(places(9)), NOW)

        levels = await counters.levels([places(1), tpm(9), budget(9), places(9)], NOW)

        assert levels == [Level(0, 1), None, Level(2, 0), Level(0, 1)]

    async def test_of_no_limits_there_are_none(self, counters):
        assert await counters.levels([], NOW) == []


class TestLostStore:
    async def test_what_is_renewed_and_read_again_is_as_it_was(self, counters, redis_server):
        limits = budget(99), tpm(99), places(9)
        await seed(counters, *limits)
        alive = ask(*limits, event="alive", tokens=3, nanos=5)
        await counters.reserve(alive, NOW)
        await settled(counters, *limits, used=7)
        fresh: CounterStore = MemoryCounters(lambda: NOW)
        if isinstance(counters, RedisCounters):
            redis_server.client.flushall()
            fresh = counters

        assert isinstance(await fresh.reserve(ask(*limits), NOW), Unseeded)
        await fresh.renew([alive, msgspec.structs.replace(alive, event_id="other")], NOW)
        await seed(fresh, *limits, settled=7)
        assert await fresh.levels(limits, NOW) == [Level(7, 10), Level(7, 6), Level(0, 2)]
        await fresh.settle("alive", Amounts(2, 4), NOW)
        await fresh.booked([booking("alive", 2, 4)], NOW)
        assert await fresh.levels(limits, NOW) == [Level(11, 5), Level(9, 3), Level(0, 1)]
