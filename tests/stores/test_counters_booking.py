"""What every counter store must do beside a ledger: seed, unseed, and hear of what was booked."""

from __future__ import annotations

import pytest
from counting import DAY, KEY, NOW, TEAM, ask, booking, budget, level, places, rpm, seed, tpm

from extproc.holds import (
    ROLLING_MS,
    STEP_MS,
    Amounts,
    Level,
    Scope,
)
from extproc.stores.counters import BOOKING_MS, SEEDING_MS


class TestBooked:
    async def test_what_was_settled_stays_as_it_is(self, counters):
        limits = rpm(5), budget(9), tpm(9), places(2)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event", tokens=5, nanos=5), NOW)
        await counters.settle("event", Amounts(3, 4), NOW)

        await counters.booked([booking("event", 3, 4)], NOW)

        assert await counters.levels(limits, NOW) == [Level(1, 0), Level(4, 0), Level(3, 0), Level(0, 0)]

    async def test_an_open_exchange_is_settled_first(self, counters):
        limits = rpm(5), budget(9), tpm(9), places(2)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event", tokens=5, nanos=5), NOW)

        await counters.booked([booking("event", 3, 4)], NOW)

        assert await counters.levels(limits, NOW) == [Level(1, 0), Level(4, 0), Level(3, 0), Level(0, 0)]

    @pytest.mark.parametrize("known", [True, False])
    async def test_later_steps_change_nothing(self, counters, known):
        limits = rpm(5), budget(9), places(2)
        if known:
            await seed(counters, *limits)
            await counters.reserve(ask(*limits, event="event", nanos=5), NOW)
        await counters.booked([booking("event", nanos=4)], NOW)
        await counters.unseed(KEY)
        await seed(counters, *limits, settled=2)

        await counters.settle("event", Amounts(0, 9), NOW)
        await counters.booked([booking("event", nanos=4)], NOW)
        await counters.renew([ask(*limits, event="event", nanos=5)], NOW)

        assert await counters.levels(limits, NOW) == [Level(2, 0), Level(2, 0), Level(0, 0)]
        assert await counters.orphans(9, NOW + BOOKING_MS) == []

    @pytest.mark.parametrize("new", [True, False])
    async def test_an_unknown_exchange_makes_the_counters_of_its_scopes_unseeded(self, counters, new):
        limits = rpm(5), budget(9), tpm(9), budget(9, TEAM), places(2)
        await seed(counters, *limits)
        await counters.reserve(ask(places(2)), NOW)

        await counters.booked([booking("unknown", 1, 1, new=new)], NOW)

        assert await counters.levels(limits, NOW) == [None, None, None, Level(0, 0), Level(0, 1)]

    async def test_a_counter_of_which_it_used_nothing_stays_seeded(self, counters):
        await seed(counters, rpm(5), budget(9), tpm(9))

        await counters.booked([booking("unknown", tokens=1)], NOW)

        assert await counters.levels([rpm(5), budget(9), tpm(9)], NOW) == [None, Level(0, 0), None]

    async def test_a_counter_on_which_it_was_not_counted_becomes_unseeded(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        late = budget(99, since=0, until=None)
        await seed(counters, late)
        await counters.settle("event", Amounts(0, 5), NOW)

        await counters.booked([booking("event", nanos=5)], NOW)

        assert await counters.levels([budget(9), late], NOW) == [Level(5, 0), None]

    @pytest.mark.parametrize(("used", "new"), [(4, True), (5, False)], ids=["other amounts", "not new"])
    async def test_a_counter_becomes_unseeded_where_the_ledger_may_have_other_amounts(self, counters, used, new):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.settle("event", Amounts(0, 5), NOW)

        await counters.booked([booking("event", nanos=used, new=new)], NOW)

        assert await level(counters, budget(9)) is None

    async def test_a_minute_that_has_passed_is_not_read_again(self, counters):
        limits, late = (tpm(9), rpm(9)), NOW + ROLLING_MS + STEP_MS
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event"), NOW)
        await counters.settle("event", Amounts(5), NOW)

        await counters.booked([booking("event", 5, new=False)], late)

        assert await counters.levels(limits, late) == [Level(0, 0)] * 2

    async def test_an_open_exchange_that_the_ledger_had_already_is_read_from_there(self, counters):
        await seed(counters, budget(9), places(1))
        await counters.reserve(ask(budget(9), places(1), event="event", nanos=5), NOW)

        await counters.booked([booking("event", nanos=5, new=False)], NOW)

        assert await counters.levels([budget(9), places(1)], NOW) == [None, Level(0, 0)]

    async def test_many_are_booked_at_once(self, counters):
        await seed(counters, budget(999))
        for number in range(250):
            await counters.reserve(ask(budget(999), event=str(number), nanos=2), NOW)

        await counters.booked([booking(str(number), nanos=1) for number in range(250)], NOW)

        assert await level(counters, budget(999)) == Level(250, 0)


class TestSeeding:
    async def test_a_counter_knows_what_it_was_seeded_with(self, counters):
        for limit in (tpm(9), budget(9)):
            assert await counters.begin_seed(limit, "token", NOW) == frozenset()

        assert await counters.levels([tpm(9), budget(9)], NOW) == [None, None]
        assert await counters.finish_seed(budget(9), "token", [(NOW - DAY, 7)], NOW)
        moments = [(NOW - 70_000, 4), (NOW - 30_000, 2), (NOW - 50_000, 1)]
        assert await counters.finish_seed(tpm(9), "token", moments, NOW)
        assert await counters.levels([tpm(9), budget(9)], NOW) == [Level(3, 0), Level(7, 0)]
        assert await level(counters, tpm(9), NOW + 10_000 + STEP_MS) == Level(2, 0)

    async def test_a_token_counts_once(self, counters):
        await counters.begin_seed(budget(9), "token", NOW)
        assert await counters.finish_seed(budget(9), "token", [(NOW, 3)], NOW)

        assert not await counters.finish_seed(budget(9), "token", [(NOW, 7)], NOW)
        assert not await counters.finish_seed(budget(9), "", [(NOW, 7)], NOW)
        assert await level(counters, budget(9)) == Level(3, 0)

    async def test_while_somebody_reads_nobody_else_does(self, counters):
        await counters.begin_seed(budget(9), "first", NOW)

        assert await counters.begin_seed(budget(9), "second", NOW + SEEDING_MS - 1) is None
        assert await counters.finish_seed(budget(9), "first", [(NOW, 1)], NOW + SEEDING_MS - 1)
        assert await level(counters, budget(9)) == Level(1, 0)

    async def test_whoever_reads_for_too_long_is_not_waited_for(self, counters):
        await counters.begin_seed(budget(9), "first", NOW)

        assert await counters.begin_seed(budget(9), "second", NOW + SEEDING_MS) == frozenset()
        assert not await counters.finish_seed(budget(9), "first", [(NOW, 1)], NOW + SEEDING_MS)
        assert await counters.finish_seed(budget(9), "second", [(NOW, 2)], NOW + SEEDING_MS)
        assert await level(counters, budget(9), NOW + SEEDING_MS) == Level(2, 0)

    async def test_nobody_reads_for_a_counter_that_is_seeded(self, counters):
        await seed(counters, budget(9), settled=5)

        assert await counters.begin_seed(budget(9), "token", NOW + DAY) is None
        assert not await counters.finish_seed(budget(9), "token", [(NOW, 1)], NOW)
        assert await level(counters, budget(9)) == Level(5, 0)

    async def test_a_gauge_is_not_seeded(self, counters):
        await counters.reserve(ask(places(5)), NOW)

        assert await counters.begin_seed(places(5), "token", NOW) is None
        assert not await counters.finish_seed(places(5), "token", [(NOW, 3)], NOW)
        assert await level(counters, places(5)) == Level(0, 1)

    async def test_what_was_set_by_hand_below_what_is_left_out_may_be_less_than_nothing(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.settle("event", Amounts(0, 5), NOW)
        await counters.unseed(KEY)
        await seed(counters, budget(9), settled=-5)
        assert await level(counters, budget(9)) == Level(-5, 5)

        await counters.booked([booking("event", nanos=5)], NOW)

        assert await level(counters, budget(9)) == Level(0, 0)


class TestUnseeding:
    async def test_it_forgets_the_settled_part_and_keeps_what_is_held(self, counters):
        limits = budget(9), tpm(9), places(9)
        await seed(counters, *limits, budget(9, TEAM), settled=3)
        await counters.reserve(ask(*limits, tokens=1, nanos=2), NOW)

        await counters.unseed(KEY)

        assert await counters.levels([*limits, budget(9, TEAM)], NOW) == [None, None, Level(0, 1), Level(3, 0)]
        await seed(counters, *limits, settled=4)
        assert await counters.levels(limits, NOW) == [Level(4, 2), Level(4, 1), Level(0, 1)]

    async def test_it_takes_the_token_away(self, counters):
        await counters.begin_seed(budget(9), "token", NOW)
        await counters.unseed(KEY)

        assert not await counters.finish_seed(budget(9), "token", [(NOW, 1)], NOW)
        assert await counters.begin_seed(budget(9), "next", NOW) == frozenset()

    async def test_of_what_nobody_has_counted_it_changes_nothing(self, counters):
        await counters.unseed(Scope("tag", "nobody"))


class TestBookingWhileTheLedgerIsRead:
    """The sum is read without the exchanges that are not booked, so none is missing and none is there twice."""

    @pytest.mark.parametrize("step", ["open", "settled"])
    async def test_what_is_not_booked_is_to_be_left_out(self, counters, step):
        limits = budget(99), rpm(9), tpm(9)
        await seed(counters, *limits)
        for event in ("booked", "event"):
            await counters.reserve(ask(*limits, event=event, nanos=5), NOW)
        await counters.reserve(ask(places(9), event="other"), NOW)
        await counters.booked([booking("booked", nanos=5)], NOW)
        if step == "settled":
            await counters.settle("event", Amounts(0, 5), NOW)
        await counters.unseed(KEY)

        assert [await counters.begin_seed(limit, "token", NOW) for limit in limits] == [frozenset({"event"})] * 3

    async def test_what_settled_before_is_held_until_it_is_booked(self, counters):
        await seed(counters, budget(9), tpm(9))
        await counters.reserve(ask(budget(9), tpm(9), event="event"), NOW)
        await counters.settle("event", Amounts(2, 3), NOW)
        await counters.unseed(KEY)
        await seed(counters, budget(9), tpm(9), settled=1, now=NOW + 9_000)
        assert await counters.levels([budget(9), tpm(9)], NOW + 9_000) == [Level(1, 3), Level(1, 2)]

        await counters.booked([booking("event", 2, 3)], NOW + 9_000)

        assert await counters.levels([budget(9), tpm(9)], NOW + 9_000) == [Level(4, 0), Level(3, 0)]
        assert await level(counters, tpm(9), NOW + ROLLING_MS + STEP_MS) == Level(1, 0)

    async def test_what_settles_meanwhile_is_held_until_it_is_booked(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.unseed(KEY)
        await counters.settle("event", Amounts(0, 4), NOW)
        await seed(counters, budget(9), settled=1)
        assert await level(counters, budget(9)) == Level(1, 4)

        await counters.booked([booking("event", nanos=4)], NOW)

        assert await level(counters, budget(9)) == Level(5, 0)

    async def test_what_settles_afterwards_is_added(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.unseed(KEY)
        await seed(counters, budget(9), settled=1)

        await counters.settle("event", Amounts(0, 4), NOW)
        assert await level(counters, budget(9)) == Level(5, 0)
        await counters.booked([booking("event", nanos=4)], NOW)

        assert await level(counters, budget(9)) == Level(5, 0)

    @pytest.mark.parametrize("step", ["open", "settled"])
    async def test_what_is_booked_meanwhile_is_added(self, counters, step):
        await seed(counters, budget(9), tpm(9), rpm(9))
        await counters.reserve(ask(budget(9), tpm(9), rpm(9), event="event", tokens=2, nanos=5), NOW)
        await counters.unseed(KEY)
        for limit in (budget(9), tpm(9), rpm(9)):
            await counters.begin_seed(limit, "token", NOW)
        if step == "settled":
            await counters.settle("event", Amounts(2, 5), NOW + STEP_MS)

        await counters.booked([booking("event", 2, 5)], NOW + STEP_MS)

        assert await counters.levels([budget(9), tpm(9), rpm(9)], NOW + STEP_MS) == [None] * 3
        for limit in (budget(9), tpm(9), rpm(9)):
            assert await counters.finish_seed(limit, "token", [(NOW, 1)], NOW + STEP_MS)
        levels = await counters.levels([budget(9), tpm(9), rpm(9)], NOW + STEP_MS)
        assert levels == [Level(6, 0), Level(3, 0), Level(2, 0)]
        assert await level(counters, tpm(9), NOW + ROLLING_MS + STEP_MS) == Level(2, 0)

    async def test_what_was_booked_before_is_not_added(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.unseed(KEY)
        await counters.begin_seed(budget(9), "first", NOW)
        await counters.booked([booking("event", nanos=5)], NOW)

        assert await counters.begin_seed(budget(9), "second", NOW + SEEDING_MS) == frozenset()

        assert await counters.finish_seed(budget(9), "second", [(NOW, 5)], NOW + SEEDING_MS)
        assert await level(counters, budget(9)) == Level(5, 0)

    async def test_what_is_booked_while_nobody_reads_is_in_the_ledger(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.unseed(KEY)
        await counters.booked([booking("event", nanos=5)], NOW)
        await seed(counters, budget(9), settled=5)

        assert await level(counters, budget(9)) == Level(5, 0)

    async def test_a_booking_of_what_was_never_settled_is_added(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.unseed(KEY)
        await seed(counters, budget(9), settled=1)

        await counters.booked([booking("event", nanos=4)], NOW)

        assert await level(counters, budget(9)) == Level(5, 0)

    async def test_an_exchange_that_is_opened_again_meanwhile_takes_the_token_away(self, counters):
        await counters.begin_seed(budget(9), "token", NOW)

        await counters.renew([ask(budget(9), event="event", nanos=5)], NOW)

        assert not await counters.finish_seed(budget(9), "token", [(NOW, 1)], NOW)
        assert await counters.begin_seed(budget(9), "next", NOW) == frozenset({"event"})

    async def test_a_booking_of_the_unknown_takes_the_token_away(self, counters):
        await counters.begin_seed(budget(9), "token", NOW)

        await counters.booked([booking("unknown", nanos=5)], NOW)

        assert not await counters.finish_seed(budget(9), "token", [(NOW, 1)], NOW)


class TestRequests:
    """A request counts at once, before anything is settled."""

    async def test_it_is_held_on_a_counter_that_is_unseeded_until_it_is_booked(self, counters):
        await seed(counters, rpm(9))
        await counters.reserve(ask(rpm(9), event="event"), NOW)
        await counters.unseed(KEY)
        await seed(counters, rpm(9), now=NOW + 5_000)
        await counters.settle("event", Amounts(), NOW + 9_000)
        assert await level(counters, rpm(9), NOW + 9_000) == Level(0, 1)

        await counters.booked([booking("event")], NOW + 9_000)

        assert await level(counters, rpm(9), NOW + ROLLING_MS) == Level(1, 0)
        assert await level(counters, rpm(9), NOW + ROLLING_MS + STEP_MS) == Level(0, 0)

    async def test_it_is_held_no_longer_than_a_rolling_window_sees_it(self, counters):
        limits = rpm(9), places(2)
        old, young, late = ask(*limits), ask(rpm(9)), NOW + ROLLING_MS + STEP_MS
        await seed(counters, *limits)
        await counters.reserve(old, NOW)
        await counters.reserve(young, NOW + STEP_MS)
        await counters.unseed(KEY)
        await seed(counters, *limits)

        await counters.renew([old, young], late - 1)
        assert await counters.levels(limits, late - 1) == [Level(0, 2), Level(0, 1)]
        for _ in range(2):
            await counters.renew([old, young], late)
            assert await counters.levels(limits, late) == [Level(0, 1), Level(0, 1)]
        await counters.booked([booking(old.event_id)], late)
        assert await counters.levels(limits, late) == [Level(0, 1), Level(0, 0)]
