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
from extproc.stores.counters import BOOKING_MS


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
        await counters.begin_seed([tpm(9), budget(9)], "token")

        assert await counters.levels([tpm(9), budget(9)], NOW) == [None, None]
        assert await counters.finish_seed(budget(9), "token", [(NOW - DAY, 7)], NOW)
        assert await counters.finish_seed(
            tpm(9), "token", [(NOW - 70_000, 4), (NOW - 30_000, 2), (NOW - 50_000, 1)], NOW
        )
        assert await counters.levels([tpm(9), budget(9)], NOW) == [Level(3, 0), Level(7, 0)]
        assert await level(counters, tpm(9), NOW + 10_000 + STEP_MS) == Level(2, 0)

    async def test_a_token_counts_once(self, counters):
        await counters.begin_seed([budget(9)], "token")
        assert await counters.finish_seed(budget(9), "token", [(NOW, 0)], NOW)

        assert not await counters.finish_seed(budget(9), "token", [(NOW, 7)], NOW)
        assert not await counters.finish_seed(budget(9), "", [(NOW, 7)], NOW)
        assert await level(counters, budget(9)) == Level(0, 0)

    async def test_a_later_token_takes_the_place_of_an_earlier_one(self, counters):
        await counters.begin_seed([budget(9)], "earlier")
        await counters.begin_seed([budget(9)], "later")

        assert not await counters.finish_seed(budget(9), "earlier", [(NOW, 1)], NOW)
        assert await counters.finish_seed(budget(9), "later", [(NOW, 2)], NOW)
        assert await level(counters, budget(9)) == Level(2, 0)

    async def test_a_gauge_is_not_seeded(self, counters):
        await counters.reserve(ask(places(5)), NOW)
        await counters.begin_seed([places(5)], "token")

        assert not await counters.finish_seed(places(5), "token", [(NOW, 3)], NOW)
        assert await level(counters, places(5)) == Level(0, 1)

    async def test_unseeding_forgets_the_settled_part_and_keeps_what_is_held(self, counters):
        limits = budget(9), tpm(9), places(9)
        await seed(counters, *limits, budget(9, TEAM), settled=3)
        await counters.reserve(ask(*limits, tokens=1, nanos=2), NOW)

        await counters.unseed(KEY)

        assert await counters.levels([*limits, budget(9, TEAM)], NOW) == [None, None, Level(0, 1), Level(3, 0)]
        await seed(counters, *limits, settled=4)
        assert await counters.levels(limits, NOW) == [Level(4, 2), Level(4, 1), Level(0, 1)]

    async def test_unseeding_takes_the_token_away(self, counters):
        await counters.begin_seed([budget(9)], "token")
        await counters.unseed(KEY)

        assert not await counters.finish_seed(budget(9), "token", [(NOW, 1)], NOW)

    async def test_unseeding_what_nobody_has_counted_changes_nothing(self, counters):
        await counters.unseed(Scope("tag", "nobody"))

    async def test_what_the_ledger_does_not_have_yet_is_held_on_a_counter_that_is_unseeded(self, counters):
        await seed(counters, budget(9), tpm(9))
        await counters.reserve(ask(budget(9), tpm(9), event="event"), NOW)
        await counters.settle("event", Amounts(2, 3), NOW)
        await counters.unseed(KEY)
        await seed(counters, budget(9), tpm(9))

        assert await counters.levels([budget(9), tpm(9)], NOW) == [Level(0, 3), Level(0, 2)]

    async def test_what_settles_on_an_unseeded_counter_is_held_until_it_is_booked(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.unseed(KEY)
        await counters.settle("event", Amounts(0, 4), NOW)
        await seed(counters, budget(9))
        assert await level(counters, budget(9)) == Level(0, 4)

        await counters.booked([booking("event", nanos=4)], NOW)

        assert await level(counters, budget(9)) is None
        await seed(counters, budget(9), settled=4)
        assert await level(counters, budget(9)) == Level(4, 0)

    async def test_what_settles_after_the_seed_is_added_to_it(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.unseed(KEY)
        await seed(counters, budget(9), settled=1)

        await counters.settle("event", Amounts(0, 4), NOW)
        await counters.booked([booking("event", nanos=4)], NOW)

        assert await level(counters, budget(9)) == Level(5, 0)

    @pytest.mark.parametrize("step", ["open", "settled"])
    async def test_a_booking_takes_the_token_away(self, counters, step):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        if step == "settled":
            await counters.settle("event", Amounts(0, 5), NOW)
        await counters.begin_seed([budget(9)], "token")

        await counters.booked([booking("event", nanos=5)], NOW)

        assert not await counters.finish_seed(budget(9), "token", [(NOW, 0)], NOW)
        assert await level(counters, budget(9)) == Level(5, 0)

    async def test_a_booking_of_what_was_never_settled_ends_a_seed_that_may_have_had_it(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await seed(counters, budget(9), settled=5)

        await counters.booked([booking("event", nanos=5)], NOW)

        assert await level(counters, budget(9)) is None

    async def test_a_seed_replaces_what_a_counter_knew(self, counters):
        await seed(counters, budget(9), settled=5)
        await seed(counters, budget(9), settled=2)

        assert await level(counters, budget(9)) == Level(2, 0)

    async def test_a_request_whose_counter_is_unseeded_is_held_until_it_settles(self, counters):
        await seed(counters, rpm(9))
        await counters.reserve(ask(rpm(9), event="event"), NOW)
        await counters.unseed(KEY)
        await seed(counters, rpm(9), now=NOW + 5_000)
        assert await level(counters, rpm(9), NOW + 5_000) == Level(0, 1)

        await counters.settle("event", Amounts(), NOW + 9_000)
        await counters.booked([booking("event")], NOW + 9_000)

        assert await level(counters, rpm(9), NOW + ROLLING_MS) == Level(1, 0)
        assert await level(counters, rpm(9), NOW + ROLLING_MS + STEP_MS) == Level(0, 0)

    async def test_a_request_that_was_added_to_a_seed_is_held_again_when_that_is_forgotten(self, counters):
        await seed(counters, rpm(9))
        await counters.reserve(ask(rpm(9), event="event"), NOW)
        await counters.unseed(KEY)
        await seed(counters, rpm(9))
        await counters.settle("event", Amounts(), NOW)
        await counters.unseed(KEY)
        await seed(counters, rpm(9))

        assert await level(counters, rpm(9)) == Level(0, 1)

    async def test_a_request_is_not_held_longer_than_a_rolling_window_sees_it(self, counters):
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
        await counters.settle(old.event_id, Amounts(), late)
        await counters.booked([booking(old.event_id)], late)
        assert await counters.levels(limits, late) == [Level(0, 1), Level(0, 0)]
