"""What every counter store must do while an exchange lasts: extend, renew, settle, and hand out who was left."""

from __future__ import annotations

import pytest
from counting import DAY, KEY, NOW, ask, booking, budget, level, places, rpm, seed, tpm

from extproc.holds import (
    ROLLING_MS,
    STEP_MS,
    Amounts,
    Full,
    Granted,
    Level,
    Orphan,
)
from extproc.stores.counters import BOOKING_MS, LEASE_MS


class TestExtend:
    async def test_a_stream_holds_more_on_all_limits(self, counters):
        limits = rpm(5), budget(100), tpm(100), places(2)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event", tokens=10, nanos=20), NOW)

        answer = await counters.extend("event", Amounts(5, 6), NOW)

        assert answer == Granted((Level(1, 0), Level(0, 20), Level(0, 10), Level(0, 1)))
        assert await counters.levels(limits, NOW) == [Level(1, 0), Level(0, 26), Level(0, 15), Level(0, 1)]

    async def test_a_stream_holds_no_more_where_one_limit_has_no_room(self, counters):
        limits = rpm(1), tpm(100), budget(25), places(1)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event", tokens=10, nanos=20), NOW)

        assert await counters.extend("event", Amounts(5, 6), NOW) == Full(2, Level(0, 20), 6, None)
        assert await counters.levels(limits, NOW) == [Level(1, 0), Level(0, 10), Level(0, 20), Level(0, 1)]

    async def test_a_limit_that_is_not_enforced_stops_no_stream(self, counters):
        soft = budget(5, enforced=False)
        await seed(counters, soft)
        await counters.reserve(ask(soft, event="event", nanos=5), NOW)

        assert await counters.extend("event", Amounts(0, 1), NOW) == Granted((Level(0, 5),), over=(0,))

    async def test_a_limit_of_which_nothing_more_is_asked_is_not_checked(self, counters):
        await seed(counters, budget(5), tpm(9))
        await counters.reserve(ask(budget(5), tpm(9), event="event", nanos=5), NOW)

        assert isinstance(await counters.extend("event", Amounts(9, 0), NOW), Granted)

    async def test_a_full_limit_says_when_it_frees(self, counters):
        await seed(counters, tpm(10), settled=5)
        await counters.reserve(ask(tpm(10), event="event", tokens=4), NOW)

        assert (await counters.extend("event", Amounts(6), NOW)) == Full(0, Level(5, 4), 6, NOW + ROLLING_MS + STEP_MS)

    @pytest.mark.parametrize("step", ["unknown", "settled", "booked"])
    async def test_an_exchange_that_is_not_open_is_granted_and_holds_nothing(self, counters, step):
        await seed(counters, budget(5))
        if step != "unknown":
            await counters.reserve(ask(budget(5), event="event", nanos=5), NOW)
            await counters.settle("event", Amounts(0, 5), NOW)
        if step == "booked":
            await counters.booked([booking("event", nanos=5)], NOW)
        before = await level(counters, budget(5))

        assert await counters.extend("event", Amounts(0, 9), NOW) == Granted(())
        assert await level(counters, budget(5)) == before

    async def test_an_unseeded_counter_limits_no_stream(self, counters):
        await seed(counters, budget(5), settled=5)
        await counters.unseed(KEY)
        await counters.renew([ask(budget(5), event="event", nanos=5)], NOW)

        assert await counters.extend("event", Amounts(0, 3), NOW) == Granted((Level(0, 5),))
        await seed(counters, budget(5))
        assert await level(counters, budget(5)) == Level(0, 8)

    async def test_an_unseeded_counter_shows_what_is_held_only(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="booked", nanos=4), NOW)
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.unseed(KEY)
        await counters.begin_seed(budget(9), "token", NOW)
        await counters.booked([booking("booked", nanos=4)], NOW)

        assert await counters.extend("event", Amounts(0, 9), NOW) == Granted((Level(0, 5),))
        assert await counters.reserve(ask(budget(9), event="event"), NOW) == Granted((Level(0, 14),))

    @pytest.mark.parametrize("by", [1, 9], ids=["granted", "full"])
    async def test_it_renews_the_lease(self, counters, by):
        await seed(counters, budget(5))
        await counters.reserve(ask(budget(5), event="event", nanos=1), NOW)

        await counters.extend("event", Amounts(0, by), NOW + LEASE_MS - 1)

        assert await counters.orphans(9, NOW + 2 * LEASE_MS - 2) == []
        assert len(await counters.orphans(9, NOW + 2 * LEASE_MS - 1)) == 1


class TestRenew:
    async def test_it_keeps_the_lease(self, counters):
        await counters.reserve(ask(places(1), event="event"), NOW)
        await counters.renew([ask(places(1), event="event")], NOW + LEASE_MS - 1)

        assert await counters.orphans(9, NOW + 2 * LEASE_MS - 2) == []
        assert len(await counters.orphans(9, NOW + 2 * LEASE_MS - 1)) == 1

    async def test_an_unknown_exchange_is_opened_whether_there_is_room_or_not(self, counters):
        limits = budget(1), tpm(1), places(1)
        await counters.renew([ask(*limits, tokens=4, nanos=5), ask(*limits, event="event", tokens=4, nanos=5)], NOW)
        await seed(counters, *limits)

        assert await counters.levels(limits, NOW) == [Level(0, 10), Level(0, 8), Level(0, 2)]
        await counters.settle("event", Amounts(3, 3), NOW)
        assert await counters.levels(limits, NOW) == [Level(3, 5), Level(3, 4), Level(0, 1)]

    async def test_a_request_is_not_counted_again(self, counters):
        await seed(counters, rpm(9), settled=1)
        await counters.renew([ask(rpm(9), event="event")], NOW)

        assert await level(counters, rpm(9)) == Level(1, 0)
        await counters.settle("event", Amounts(), NOW)
        assert await level(counters, rpm(9)) == Level(1, 0)

    async def test_a_request_that_was_not_counted_again_is_counted_when_it_is_booked(self, counters):
        await seed(counters, rpm(9), settled=1, now=NOW + 9_000)
        await counters.renew([ask(rpm(9), event="event")], NOW)
        await counters.settle("event", Amounts(), NOW + 9_000)
        assert await level(counters, rpm(9), NOW + 9_000) == Level(1, 0)

        await counters.booked([booking("event")], NOW + 9_000)

        assert await level(counters, rpm(9), NOW + 9_000) == Level(2, 0)
        assert await level(counters, rpm(9), NOW + ROLLING_MS + STEP_MS) == Level(1, 0)

    async def test_what_is_held_may_grow_and_never_shrinks(self, counters):
        limits = budget(9), tpm(9), places(9)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event", tokens=4, nanos=5), NOW)

        await counters.renew([ask(*limits, event="event", tokens=6, nanos=2)], NOW)
        await counters.renew([ask(*limits, event="event", tokens=2, nanos=2)], NOW)

        assert await counters.levels(limits, NOW) == [Level(0, 5), Level(0, 6), Level(0, 1)]
        await counters.settle("event", Amounts(), NOW)
        assert await counters.levels(limits, NOW) == [Level(0, 0)] * 3

    async def test_a_settled_exchange_stays_settled(self, counters):
        limits = budget(9), places(9)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event", nanos=5), NOW)
        await counters.settle("event", Amounts(0, 4), NOW)

        await counters.renew([ask(*limits, event="event", nanos=5)], NOW)

        assert await counters.levels(limits, NOW) == [Level(4, 0), Level(0, 0)]

    async def test_many_are_renewed_at_once(self, counters):
        asks = [ask(places(999), event=str(number), draft=b"draft") for number in range(250)]

        await counters.renew(asks, NOW)

        assert await level(counters, places(999)) == Level(0, 250)
        assert {orphan.draft for orphan in await counters.orphans(999, NOW + LEASE_MS)} == {b"draft"}


class TestSettle:
    async def test_what_was_held_is_given_back_and_what_was_used_counts(self, counters):
        limits = rpm(5), budget(100), tpm(100), places(2)
        await seed(counters, *limits)
        await counters.reserve(ask(*limits, event="event", tokens=10, nanos=20), NOW)
        await counters.extend("event", Amounts(5, 5), NOW)

        await counters.settle("event", Amounts(3, 4), NOW)

        assert await counters.levels(limits, NOW) == [Level(1, 0), Level(4, 0), Level(3, 0), Level(0, 0)]

    async def test_more_may_be_used_than_was_held(self, counters):
        await seed(counters, budget(5))
        await counters.reserve(ask(budget(5), event="event", nanos=5), NOW)

        await counters.settle("event", Amounts(0, 50), NOW)

        assert await level(counters, budget(5)) == Level(50, 0)

    async def test_it_happens_once(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)

        for used in (3, 4, 5):
            await counters.settle("event", Amounts(0, used), NOW)

        assert await level(counters, budget(9)) == Level(3, 0)

    async def test_an_unknown_exchange_changes_nothing(self, counters):
        await seed(counters, budget(9), settled=1)

        await counters.settle("unknown", Amounts(0, 5), NOW)

        assert await level(counters, budget(9)) == Level(1, 0)
        assert await counters.orphans(9, NOW + BOOKING_MS) == []


class TestOrphans:
    async def test_an_exchange_whose_lease_ran_out_is_handed_out_with_its_draft_and_what_it_holds(self, counters):
        await seed(counters, budget(99))
        await counters.reserve(ask(budget(99), event="event", tokens=3, nanos=5, draft=b"\x00draft\xff"), NOW)
        await counters.extend("event", Amounts(1, 2), NOW)

        assert await counters.orphans(9, NOW + LEASE_MS - 1) == []
        found = await counters.orphans(9, NOW + LEASE_MS)
        assert found == [Orphan("event", b"\x00draft\xff", Amounts(4, 7), settled=False)]

    async def test_an_orphan_is_handed_to_one_at_a_time(self, counters):
        await counters.reserve(ask(places(9), event="event"), NOW)
        await counters.orphans(9, NOW + LEASE_MS)

        assert await counters.orphans(9, NOW + 2 * LEASE_MS - 1) == []
        assert len(await counters.orphans(9, NOW + 2 * LEASE_MS)) == 1

    async def test_a_settled_exchange_is_an_orphan_when_nobody_has_booked_it(self, counters):
        await seed(counters, budget(99))
        await counters.reserve(ask(budget(99), event="event", nanos=5, draft=b"draft"), NOW)
        await counters.settle("event", Amounts(3, 4), NOW)

        assert await counters.orphans(9, NOW + BOOKING_MS - 1) == []
        assert await counters.orphans(9, NOW + BOOKING_MS) == [Orphan("event", b"draft", Amounts(3, 4), settled=True)]

    async def test_a_booked_exchange_is_never_an_orphan(self, counters):
        await counters.reserve(ask(places(9), event="event"), NOW)
        await counters.booked([booking("event")], NOW)

        assert await counters.orphans(9, NOW + DAY) == []

    async def test_those_that_were_left_first_are_handed_out_first(self, counters):
        for number in (2, 0, 1, 3):
            await counters.reserve(ask(places(9), event=f"event-{number}"), NOW + number)

        taken = [await counters.orphans(2, NOW + LEASE_MS + 9) for _ in range(3)]

        assert [[orphan.event_id for orphan in some] for some in taken] == [
            ["event-0", "event-1"],
            ["event-2", "event-3"],
            [],
        ]

    async def test_an_orphan_that_is_alive_after_all_goes_on(self, counters):
        await seed(counters, budget(9))
        await counters.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await counters.orphans(9, NOW + LEASE_MS)

        await counters.settle("event", Amounts(0, 4), NOW + LEASE_MS)

        assert await level(counters, budget(9)) == Level(4, 0)
