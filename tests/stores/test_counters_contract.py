"""What every counter store must do, whatever it is made of. Moments are handed in.

Redis looks at its own clock where nobody hands it a moment, so the tests begin at the real time.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from counting import DAY, KEY, NOW, TEAM, budget, places, rpm, tpm
from running_redis import RunningRedis

from extproc.holds import (
    ROLLING_MS,
    STEP_MS,
    Amounts,
    Ask,
    Booking,
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
from extproc.stores.counters import BOOKING_MS, LEASE_MS, CounterStore
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.counters_redis import MOST, RedisCounters


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, redis_server: RunningRedis) -> AsyncIterator[CounterStore]:
    if request.param == "memory":
        yield MemoryCounters(lambda: NOW)
        return
    opened = RedisCounters(redis_server.url, namespace=uuid.uuid4().hex, deadline_ms=10_000)
    yield opened
    await opened.close()


def ask(*limits: Limit, event: str = "", tokens: int = 0, nanos: int = 0, draft: bytes = b"") -> Ask:
    return Ask(event or uuid.uuid4().hex, limits, Amounts(tokens, nanos), draft)


def booking(event: str, tokens: int = 0, nanos: int = 0, *, scopes: Sequence[Scope] = (KEY,), new: bool = True):
    return Booking(event, Amounts(tokens, nanos), tuple(scopes), new)


async def seed(store: CounterStore, *limits: Limit, settled: int = 0, now: int = NOW) -> None:
    """The ledger says so much of each."""
    for limit in limits:
        if limit.span is not Span.GAUGE:
            token = uuid.uuid4().hex
            await store.begin_seed([limit], token)
            assert await store.finish_seed(limit, token, [(now, settled)], now)


async def level(store: CounterStore, limit: Limit, now: int = NOW) -> Level | None:
    (found,) = await store.levels([limit], now)
    return found


async def settled(store: CounterStore, *limits: Limit, used: int, now: int = NOW) -> None:
    """An exchange has used so much."""
    one = ask(*limits)
    assert isinstance(await store.reserve(one, now), Granted)
    await store.settle(one.event_id, Amounts(used, used), now)


class TestReserve:
    async def test_what_is_reserved_is_held_on_every_limit(self, store):
        limits = budget(100), tpm(100), places(3)
        await seed(store, *limits)

        assert await store.reserve(ask(*limits, tokens=30, nanos=40), NOW) == Granted((Level(0, 0),) * 3)
        assert await store.levels(limits, NOW) == [Level(0, 40), Level(0, 30), Level(0, 1)]

    async def test_a_request_counts_at_once(self, store):
        await seed(store, rpm(5))
        await store.reserve(ask(rpm(5)), NOW)

        assert await level(store, rpm(5)) == Level(1, 0)

    async def test_the_levels_of_an_answer_are_those_before_it(self, store):
        await seed(store, budget(100), settled=7)
        await store.reserve(ask(budget(100), nanos=20), NOW)

        assert await store.reserve(ask(budget(100), nanos=30), NOW) == Granted((Level(7, 20),))

    async def test_there_is_room_up_to_the_maximum_and_not_beyond(self, store):
        await seed(store, budget(100), settled=30)
        await store.reserve(ask(budget(100), nanos=30), NOW)

        assert await store.reserve(ask(budget(100), nanos=41), NOW) == Full(0, Level(30, 30), 41, None)
        assert isinstance(await store.reserve(ask(budget(100), nanos=40), NOW), Granted)

    async def test_nothing_is_reserved_where_one_limit_is_full(self, store):
        limits = budget(100), rpm(1), places(9)
        await seed(store, *limits)
        await store.reserve(ask(*limits, nanos=10), NOW)

        assert isinstance(await store.reserve(ask(*limits, nanos=10), NOW), Full)
        assert await store.levels(limits, NOW) == [Level(0, 10), Level(1, 0), Level(0, 1)]

    async def test_the_first_full_limit_is_told(self, store):
        limits = places(9), budget(5), tpm(5)
        await seed(store, *limits)

        assert await store.reserve(ask(*limits, tokens=6, nanos=6), NOW) == Full(1, Level(0, 0), 6, None)

    async def test_unseeded_counters_are_told_before_full_ones(self, store):
        limits = places(0), budget(5), rpm(0), tpm(5)
        await seed(store, limits[1])

        assert await store.reserve(ask(*limits), NOW) == Unseeded((2, 3))

    async def test_a_gauge_needs_no_seed(self, store):
        assert await store.reserve(ask(places(1)), NOW) == Granted((Level(0, 0),))
        assert await store.reserve(ask(places(1)), NOW) == Full(0, Level(0, 1), 1, None)

    @pytest.mark.parametrize("limit", [budget(0), tpm(0), rpm(0), places(0)], ids=lambda limit: str(limit.measure))
    async def test_a_limit_of_zero_admits_nothing(self, store, limit):
        await seed(store, limit)

        assert await store.reserve(ask(limit), NOW) == Full(0, Level(0, 0), 1, None)

    async def test_not_even_what_costs_nothing_fits_into_what_is_used_up(self, store):
        await seed(store, budget(5), settled=5)

        answer = await store.reserve(ask(budget(5)), NOW)

        assert answer == Full(0, Level(5, 0), 1, NOW + DAY)
        assert not answer.only_held(5)

    async def test_what_costs_nothing_holds_nothing(self, store):
        await seed(store, budget(5), settled=4)

        assert isinstance(await store.reserve(ask(budget(5)), NOW), Granted)
        assert await level(store, budget(5)) == Level(4, 0)

    async def test_limits_on_one_counter_are_each_checked(self, store):
        soft, hard = budget(50, enforced=False), budget(100)
        await seed(store, hard, settled=40)

        assert await store.reserve(ask(soft, hard, nanos=20), NOW) == Granted((Level(40, 0),) * 2, over=(0,))
        assert isinstance(await store.reserve(ask(soft, hard, nanos=41), NOW), Full)

    async def test_limits_on_one_counter_are_counted_once(self, store):
        await seed(store, rpm(9), budget(9))

        await store.reserve(ask(rpm(9), rpm(8), budget(9), budget(8), nanos=2), NOW)

        assert await store.levels([rpm(9), rpm(1), budget(9)], NOW) == [Level(1, 0), Level(1, 0), Level(0, 2)]

    async def test_a_limit_that_is_not_enforced_counts_and_reports(self, store):
        await seed(store, rpm(1, enforced=False))

        answers = [await store.reserve(ask(rpm(1, enforced=False)), NOW) for _ in range(2)]

        assert answers == [Granted((Level(0, 0),)), Granted((Level(1, 0),), over=(0,))]
        assert await level(store, rpm(1)) == Level(2, 0)

    @pytest.mark.parametrize("step", ["open", "settled", "booked"])
    async def test_reserving_again_grants_and_changes_nothing(self, store, step):
        limits = budget(5), rpm(1), places(1)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event", nanos=5), NOW)
        if step != "open":
            await store.settle("event", Amounts(0, 5), NOW)
        if step == "booked":
            await store.booked([booking("event", nanos=5)], NOW)
        before = await store.levels(limits, NOW)

        assert await store.reserve(ask(*limits, event="event", nanos=5), NOW) == Granted(tuple(before))
        assert await store.levels(limits, NOW) == before

    async def test_a_new_window_is_a_new_counter(self, store):
        tomorrow = budget(5, since=NOW + DAY, until=NOW + 2 * DAY)
        await seed(store, budget(5), settled=5)
        await seed(store, tomorrow)

        assert isinstance(await store.reserve(ask(budget(5), nanos=1), NOW), Full)
        assert isinstance(await store.reserve(ask(tomorrow, nanos=5), NOW), Granted)

    async def test_no_id_can_pass_for_another_counter(self, store):
        limit = Limit(Scope("end_user", "bob"), Measure.TOKENS, Span.WINDOW, 9, 5, 6)
        others = [Limit(Scope("end_user", name), Measure.TOKENS, Span.ROLLING, 9) for name in ("bob:5-6", "5-6:bob")]

        assert len({each.counter for each in (limit, *others)}) == 3

    async def test_amounts_are_exact_to_the_last_integer_that_a_double_holds(self, store):
        limits = budget(MOST), tpm(MOST)
        await seed(store, *limits, settled=MOST - 2)
        one = ask(*limits, tokens=1, nanos=1)

        assert isinstance(await store.reserve(one, NOW), Granted)
        await store.settle(one.event_id, one.amounts, NOW)
        assert await store.reserve(ask(*limits, tokens=2, nanos=2), NOW) == Full(0, Level(MOST - 1, 0), 2, NOW + DAY)
        assert await store.levels(limits, NOW + 1_000) == [Level(MOST - 1, 0)] * 2
        assert isinstance(await store.reserve(ask(*limits, tokens=1, nanos=1), NOW), Granted)

    async def test_an_exchange_without_limits_is_granted(self, store):
        assert await store.reserve(ask(event="event"), NOW) == Granted(())
        assert await store.orphans(9, NOW + LEASE_MS) == [Orphan("event", b"", Amounts(), settled=False)]

    async def test_names_may_be_any_text(self, store):
        limit = budget(5, Scope("end_user", "{ü} \n\x00:*😀"))
        await seed(store, limit)

        assert isinstance(await store.reserve(ask(limit, event="ü{}", nanos=5), NOW), Granted)
        assert await level(store, limit) == Level(0, 5)


class TestRolling:
    @pytest.mark.parametrize("offset", [0, 1, STEP_MS - 1])
    async def test_what_was_used_counts_for_a_minute_and_at_most_a_step_longer(self, store, offset):
        await seed(store, tpm(9))
        await settled(store, tpm(9), used=5, now=NOW + offset)

        assert await level(store, tpm(9), NOW + offset + ROLLING_MS) == Level(5, 0)
        assert await level(store, tpm(9), NOW + offset + ROLLING_MS + STEP_MS) == Level(0, 0)

    async def test_the_steps_of_a_minute_are_forgotten_one_by_one(self, store):
        await seed(store, tpm(10_000))
        for moment in range(200):
            await settled(store, tpm(10_000), used=1, now=NOW + moment * STEP_MS)

        left = [
            await level(store, tpm(9), NOW + ROLLING_MS + moment * STEP_MS) for moment in (0, 1, 2, 3, 90, 199, 200)
        ]

        assert left == [Level(amount, 0) for amount in (200, 199, 198, 197, 110, 1, 0)]

    async def test_many_steps_are_forgotten_at_once(self, store):
        await seed(store, tpm(10_000))
        for moment in range(200):
            await settled(store, tpm(10_000), used=1, now=NOW + moment * STEP_MS)

        assert await level(store, tpm(9), NOW + ROLLING_MS + 130 * STEP_MS) == Level(70, 0)
        assert await level(store, tpm(9), NOW + ROLLING_MS + 199 * STEP_MS) == Level(1, 0)
        assert await level(store, tpm(9), NOW + ROLLING_MS + 200 * STEP_MS) == Level(0, 0)

    async def test_a_full_limit_frees_at_the_moment_at_which_there_is_room(self, store):
        await seed(store, tpm(10))
        for moment in (0, 150, 30_000):
            await settled(store, tpm(10), used=3, now=NOW + moment)
        asked = ask(tpm(10), tokens=5)

        answer = await store.reserve(asked, NOW + 30_000)

        assert answer == Full(0, Level(9, 0), 5, NOW + 100 + ROLLING_MS + STEP_MS)
        assert isinstance(await store.reserve(asked, answer.frees_at - 1), Full)
        assert isinstance(await store.reserve(asked, answer.frees_at), Granted)

    async def test_a_limit_that_frees_in_a_hundred_steps_says_when(self, store):
        await seed(store, rpm(150))
        for moment in range(150):
            await store.reserve(ask(rpm(150), event=str(moment)), NOW + moment * STEP_MS)
        held = ask(rpm(150), tpm(150), tokens=150)
        await seed(store, tpm(150), settled=1, now=NOW)

        assert (await store.reserve(held, NOW + 15_000)).frees_at == NOW + ROLLING_MS + STEP_MS
        late = ask(rpm(51), event="late")
        assert (await store.reserve(late, NOW + 15_000)).frees_at == NOW + 99 * STEP_MS + ROLLING_MS + STEP_MS
        assert (await store.reserve(ask(rpm(1)), NOW + 15_000)).frees_at == NOW + 149 * STEP_MS + ROLLING_MS + STEP_MS

    async def test_holds_stay_while_a_rolling_limit_frees(self, store):
        await seed(store, tpm(10))
        for moment in (0, 1_000, 2_000):
            await settled(store, tpm(10), used=2, now=NOW + moment)
        await store.reserve(ask(tpm(10), tokens=3), NOW + 2_000)

        answer = await store.reserve(ask(tpm(10), tokens=5), NOW + 2_000)

        assert answer == Full(0, Level(6, 3), 5, NOW + 1_000 + ROLLING_MS + STEP_MS)

    @pytest.mark.parametrize(
        ("held", "asked"), [(0, 11), (8, 3), (8, 8)], ids=["too much", "only held", "beside holds"]
    )
    async def test_waiting_does_not_help_where_time_frees_nothing(self, store, held, asked):
        await seed(store, tpm(10))
        await store.reserve(ask(tpm(10), tokens=held), NOW)
        await settled(store, tpm(100), used=4)

        answer = await store.reserve(ask(tpm(10), tokens=asked), NOW)

        assert answer == Full(0, Level(4, held), asked, None)

    async def test_moments_may_come_in_any_order(self, store):
        await seed(store, tpm(100))
        for moment in (5_000, 1_000, 3_000, 1_050, 3_000, 500, 4_999):
            await settled(store, tpm(100), used=1, now=NOW + moment)

        left = [
            await level(store, tpm(9), NOW + ROLLING_MS + moment) for moment in (599, 600, 1_100, 3_100, 5_000, 5_100)
        ]

        assert left == [Level(amount, 0) for amount in (7, 6, 4, 2, 1, 0)]


class TestWindow:
    async def test_a_full_budget_frees_when_its_window_ends(self, store):
        await seed(store, budget(5), settled=4)

        assert await store.reserve(ask(budget(5), nanos=2), NOW) == Full(0, Level(4, 0), 2, NOW + DAY)

    async def test_a_full_budget_without_an_end_never_frees(self, store):
        endless = budget(5, since=0, until=None)
        await seed(store, endless, settled=4)

        assert await store.reserve(ask(endless, nanos=2), NOW) == Full(0, Level(4, 0), 2, None)

    @pytest.mark.parametrize(("held", "asked"), [(0, 6), (3, 2)], ids=["too much", "only held"])
    async def test_waiting_does_not_help_where_a_new_window_would_not(self, store, held, asked):
        await seed(store, budget(5), settled=1)
        await store.reserve(ask(budget(5), nanos=held), NOW)

        answer = await store.reserve(ask(budget(5), nanos=asked), NOW)

        assert answer == Full(0, Level(1, held), asked, None)

    async def test_what_was_reserved_in_a_window_is_settled_in_it(self, store):
        tomorrow = budget(5, since=NOW + DAY, until=NOW + 2 * DAY)
        await seed(store, budget(5))
        await store.reserve(ask(budget(5), event="event", nanos=5), NOW + DAY - 1)
        await seed(store, tomorrow)

        await store.settle("event", Amounts(0, 4), NOW + DAY + 1)

        assert await store.levels([budget(5), tomorrow], NOW + DAY + 1) == [Level(4, 0), Level(0, 0)]

    async def test_tokens_per_day_are_a_window(self, store):
        tpd = Limit(KEY, Measure.TOKENS, Span.WINDOW, 10, NOW, NOW + DAY)
        await seed(store, tpd)
        await settled(store, tpd, used=8)

        assert await store.reserve(ask(tpd, tokens=3), NOW + ROLLING_MS * 2) == Full(0, Level(8, 0), 3, NOW + DAY)


class TestExtend:
    async def test_a_stream_holds_more_on_all_limits(self, store):
        limits = rpm(5), budget(100), tpm(100), places(2)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event", tokens=10, nanos=20), NOW)

        answer = await store.extend("event", Amounts(5, 6), NOW)

        assert answer == Granted((Level(1, 0), Level(0, 20), Level(0, 10), Level(0, 1)))
        assert await store.levels(limits, NOW) == [Level(1, 0), Level(0, 26), Level(0, 15), Level(0, 1)]

    async def test_a_stream_holds_no_more_where_one_limit_has_no_room(self, store):
        limits = rpm(1), tpm(100), budget(25), places(1)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event", tokens=10, nanos=20), NOW)

        assert await store.extend("event", Amounts(5, 6), NOW) == Full(2, Level(0, 20), 6, None)
        assert await store.levels(limits, NOW) == [Level(1, 0), Level(0, 10), Level(0, 20), Level(0, 1)]

    async def test_a_limit_that_is_not_enforced_stops_no_stream(self, store):
        soft = budget(5, enforced=False)
        await seed(store, soft)
        await store.reserve(ask(soft, event="event", nanos=5), NOW)

        assert await store.extend("event", Amounts(0, 1), NOW) == Granted((Level(0, 5),), over=(0,))

    async def test_a_limit_of_which_nothing_more_is_asked_is_not_checked(self, store):
        await seed(store, budget(5), tpm(9))
        await store.reserve(ask(budget(5), tpm(9), event="event", nanos=5), NOW)

        assert isinstance(await store.extend("event", Amounts(9, 0), NOW), Granted)

    async def test_a_full_limit_says_when_it_frees(self, store):
        await seed(store, tpm(10), settled=5)
        await store.reserve(ask(tpm(10), event="event", tokens=4), NOW)

        assert (await store.extend("event", Amounts(6), NOW)) == Full(0, Level(5, 4), 6, NOW + ROLLING_MS + STEP_MS)

    @pytest.mark.parametrize("step", ["unknown", "settled", "booked"])
    async def test_an_exchange_that_is_not_open_is_granted_and_holds_nothing(self, store, step):
        await seed(store, budget(5))
        if step != "unknown":
            await store.reserve(ask(budget(5), event="event", nanos=5), NOW)
            await store.settle("event", Amounts(0, 5), NOW)
        if step == "booked":
            await store.booked([booking("event", nanos=5)], NOW)
        before = await level(store, budget(5))

        assert await store.extend("event", Amounts(0, 9), NOW) == Granted(())
        assert await level(store, budget(5)) == before

    async def test_an_unseeded_counter_limits_no_stream(self, store):
        await seed(store, budget(5), settled=5)
        await store.unseed(KEY)
        await store.renew([ask(budget(5), event="event", nanos=5)], NOW)

        assert await store.extend("event", Amounts(0, 3), NOW) == Granted((Level(0, 5),))
        await seed(store, budget(5))
        assert await level(store, budget(5)) == Level(0, 8)

    @pytest.mark.parametrize("by", [1, 9], ids=["granted", "full"])
    async def test_it_renews_the_lease(self, store, by):
        await seed(store, budget(5))
        await store.reserve(ask(budget(5), event="event", nanos=1), NOW)

        await store.extend("event", Amounts(0, by), NOW + LEASE_MS - 1)

        assert await store.orphans(9, NOW + 2 * LEASE_MS - 2) == []
        assert len(await store.orphans(9, NOW + 2 * LEASE_MS - 1)) == 1


class TestSettle:
    async def test_what_was_held_is_given_back_and_what_was_used_counts(self, store):
        limits = rpm(5), budget(100), tpm(100), places(2)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event", tokens=10, nanos=20), NOW)
        await store.extend("event", Amounts(5, 5), NOW)

        await store.settle("event", Amounts(3, 4), NOW)

        assert await store.levels(limits, NOW) == [Level(1, 0), Level(4, 0), Level(3, 0), Level(0, 0)]

    async def test_more_may_be_used_than_was_held(self, store):
        await seed(store, budget(5))
        await store.reserve(ask(budget(5), event="event", nanos=5), NOW)

        await store.settle("event", Amounts(0, 50), NOW)

        assert await level(store, budget(5)) == Level(50, 0)

    async def test_it_happens_once(self, store):
        await seed(store, budget(9))
        await store.reserve(ask(budget(9), event="event", nanos=5), NOW)

        for used in (3, 4, 5):
            await store.settle("event", Amounts(0, used), NOW)

        assert await level(store, budget(9)) == Level(3, 0)

    async def test_an_unknown_exchange_changes_nothing(self, store):
        await seed(store, budget(9), settled=1)

        await store.settle("unknown", Amounts(0, 5), NOW)

        assert await level(store, budget(9)) == Level(1, 0)
        assert await store.orphans(9, NOW + BOOKING_MS) == []


class TestBooked:
    async def test_what_was_settled_stays_as_it_is(self, store):
        limits = rpm(5), budget(9), tpm(9), places(2)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event", tokens=5, nanos=5), NOW)
        await store.settle("event", Amounts(3, 4), NOW)

        await store.booked([booking("event", 3, 4)], NOW)

        assert await store.levels(limits, NOW) == [Level(1, 0), Level(4, 0), Level(3, 0), Level(0, 0)]

    async def test_an_open_exchange_is_settled_first(self, store):
        limits = rpm(5), budget(9), tpm(9), places(2)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event", tokens=5, nanos=5), NOW)

        await store.booked([booking("event", 3, 4)], NOW)

        assert await store.levels(limits, NOW) == [Level(1, 0), Level(4, 0), Level(3, 0), Level(0, 0)]

    @pytest.mark.parametrize("known", [True, False])
    async def test_later_steps_change_nothing(self, store, known):
        limits = rpm(5), budget(9), places(2)
        if known:
            await seed(store, *limits)
            await store.reserve(ask(*limits, event="event", nanos=5), NOW)
        await store.booked([booking("event", nanos=4)], NOW)
        await seed(store, *limits, settled=2)

        await store.settle("event", Amounts(0, 9), NOW)
        await store.booked([booking("event", nanos=4)], NOW)
        await store.renew([ask(*limits, event="event", nanos=5)], NOW)

        assert await store.levels(limits, NOW) == [Level(2, 0), Level(2, 0), Level(0, 0)]
        assert await store.orphans(9, NOW + BOOKING_MS) == []

    @pytest.mark.parametrize("new", [True, False])
    async def test_an_unknown_exchange_makes_the_counters_of_its_scopes_unseeded(self, store, new):
        limits = rpm(5), budget(9), tpm(9), budget(9, TEAM), places(2)
        await seed(store, *limits)
        await store.reserve(ask(places(2)), NOW)

        await store.booked([booking("unknown", 1, 1, new=new)], NOW)

        assert await store.levels(limits, NOW) == [None, None, None, Level(0, 0), Level(0, 1)]

    async def test_a_counter_of_which_it_used_nothing_stays_seeded(self, store):
        await seed(store, rpm(5), budget(9), tpm(9))

        await store.booked([booking("unknown", tokens=1)], NOW)

        assert await store.levels([rpm(5), budget(9), tpm(9)], NOW) == [None, Level(0, 0), None]

    async def test_a_counter_on_which_it_was_not_counted_becomes_unseeded(self, store):
        await seed(store, budget(9))
        await store.reserve(ask(budget(9), event="event", nanos=5), NOW)
        late = budget(99, since=0, until=None)
        await seed(store, late)
        await store.settle("event", Amounts(0, 5), NOW)

        await store.booked([booking("event", nanos=5)], NOW)

        assert await store.levels([budget(9), late], NOW) == [Level(5, 0), None]

    @pytest.mark.parametrize(("used", "new"), [(4, True), (5, False)], ids=["other amounts", "not new"])
    async def test_a_counter_becomes_unseeded_where_the_ledger_may_have_other_amounts(self, store, used, new):
        await seed(store, budget(9))
        await store.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await store.settle("event", Amounts(0, 5), NOW)

        await store.booked([booking("event", nanos=used, new=new)], NOW)

        assert await level(store, budget(9)) is None

    async def test_an_open_exchange_that_the_ledger_had_already_is_read_from_there(self, store):
        await seed(store, budget(9), places(1))
        await store.reserve(ask(budget(9), places(1), event="event", nanos=5), NOW)

        await store.booked([booking("event", nanos=5, new=False)], NOW)

        assert await store.levels([budget(9), places(1)], NOW) == [None, Level(0, 0)]

    async def test_many_are_booked_at_once(self, store):
        await seed(store, budget(999))
        for number in range(250):
            await store.reserve(ask(budget(999), event=str(number), nanos=2), NOW)

        await store.booked([booking(str(number), nanos=1) for number in range(250)], NOW)

        assert await level(store, budget(999)) == Level(250, 0)


class TestSeeding:
    async def test_a_counter_knows_what_it_was_seeded_with(self, store):
        await store.begin_seed([tpm(9), budget(9)], "token")

        assert await store.levels([tpm(9), budget(9)], NOW) == [None, None]
        assert await store.finish_seed(budget(9), "token", [(NOW - DAY, 7)], NOW)
        assert await store.finish_seed(tpm(9), "token", [(NOW - 70_000, 4), (NOW - 30_000, 2), (NOW - 50_000, 1)], NOW)
        assert await store.levels([tpm(9), budget(9)], NOW) == [Level(3, 0), Level(7, 0)]
        assert await level(store, tpm(9), NOW + 10_000 + STEP_MS) == Level(2, 0)

    async def test_a_token_counts_once(self, store):
        await store.begin_seed([budget(9)], "token")
        assert await store.finish_seed(budget(9), "token", [(NOW, 0)], NOW)

        assert not await store.finish_seed(budget(9), "token", [(NOW, 7)], NOW)
        assert not await store.finish_seed(budget(9), "", [(NOW, 7)], NOW)
        assert await level(store, budget(9)) == Level(0, 0)

    async def test_a_later_token_takes_the_place_of_an_earlier_one(self, store):
        await store.begin_seed([budget(9)], "earlier")
        await store.begin_seed([budget(9)], "later")

        assert not await store.finish_seed(budget(9), "earlier", [(NOW, 1)], NOW)
        assert await store.finish_seed(budget(9), "later", [(NOW, 2)], NOW)
        assert await level(store, budget(9)) == Level(2, 0)

    async def test_a_gauge_is_not_seeded(self, store):
        await store.reserve(ask(places(5)), NOW)
        await store.begin_seed([places(5)], "token")

        assert not await store.finish_seed(places(5), "token", [(NOW, 3)], NOW)
        assert await level(store, places(5)) == Level(0, 1)

    async def test_unseeding_forgets_the_settled_part_and_keeps_what_is_held(self, store):
        limits = budget(9), tpm(9), places(9)
        await seed(store, *limits, budget(9, TEAM), settled=3)
        await store.reserve(ask(*limits, tokens=1, nanos=2), NOW)

        await store.unseed(KEY)

        assert await store.levels([*limits, budget(9, TEAM)], NOW) == [None, None, Level(0, 1), Level(3, 0)]
        await seed(store, *limits, settled=4)
        assert await store.levels(limits, NOW) == [Level(4, 2), Level(4, 1), Level(0, 1)]

    async def test_unseeding_takes_the_token_away(self, store):
        await store.begin_seed([budget(9)], "token")
        await store.unseed(KEY)

        assert not await store.finish_seed(budget(9), "token", [(NOW, 1)], NOW)

    async def test_unseeding_what_nobody_has_counted_changes_nothing(self, store):
        await store.unseed(Scope("tag", "nobody"))

    async def test_what_the_ledger_does_not_have_yet_is_held_on_a_counter_that_is_unseeded(self, store):
        await seed(store, budget(9), tpm(9))
        await store.reserve(ask(budget(9), tpm(9), event="event"), NOW)
        await store.settle("event", Amounts(2, 3), NOW)
        await store.unseed(KEY)
        await seed(store, budget(9), tpm(9))

        assert await store.levels([budget(9), tpm(9)], NOW) == [Level(0, 3), Level(0, 2)]

    async def test_what_settles_on_an_unseeded_counter_is_held_until_it_is_booked(self, store):
        await seed(store, budget(9))
        await store.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await store.unseed(KEY)
        await store.settle("event", Amounts(0, 4), NOW)
        await seed(store, budget(9))
        assert await level(store, budget(9)) == Level(0, 4)

        await store.booked([booking("event", nanos=4)], NOW)

        assert await level(store, budget(9)) is None
        await seed(store, budget(9), settled=4)
        assert await level(store, budget(9)) == Level(4, 0)

    async def test_what_settles_after_the_seed_is_added_to_it(self, store):
        await seed(store, budget(9))
        await store.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await store.unseed(KEY)
        await seed(store, budget(9), settled=1)

        await store.settle("event", Amounts(0, 4), NOW)
        await store.booked([booking("event", nanos=4)], NOW)

        assert await level(store, budget(9)) == Level(5, 0)

    @pytest.mark.parametrize("step", ["open", "settled"])
    async def test_a_booking_takes_the_token_away(self, store, step):
        await seed(store, budget(9))
        await store.reserve(ask(budget(9), event="event", nanos=5), NOW)
        if step == "settled":
            await store.settle("event", Amounts(0, 5), NOW)
        await store.begin_seed([budget(9)], "token")

        await store.booked([booking("event", nanos=5)], NOW)

        assert not await store.finish_seed(budget(9), "token", [(NOW, 0)], NOW)
        assert await level(store, budget(9)) == Level(5, 0)

    async def test_a_booking_of_what_was_never_settled_ends_a_seed_that_may_have_had_it(self, store):
        await seed(store, budget(9))
        await store.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await seed(store, budget(9), settled=5)

        await store.booked([booking("event", nanos=5)], NOW)

        assert await level(store, budget(9)) is None

    async def test_a_seed_replaces_what_a_counter_knew(self, store):
        await seed(store, budget(9), settled=5)
        await seed(store, budget(9), settled=2)

        assert await level(store, budget(9)) == Level(2, 0)

    async def test_a_request_whose_counter_is_unseeded_is_held_until_it_settles(self, store):
        await seed(store, rpm(9))
        await store.reserve(ask(rpm(9), event="event"), NOW)
        await store.unseed(KEY)
        await seed(store, rpm(9), now=NOW + 5_000)
        assert await level(store, rpm(9), NOW + 5_000) == Level(0, 1)

        await store.settle("event", Amounts(), NOW + 9_000)
        await store.booked([booking("event")], NOW + 9_000)

        assert await level(store, rpm(9), NOW + ROLLING_MS) == Level(1, 0)
        assert await level(store, rpm(9), NOW + ROLLING_MS + STEP_MS) == Level(0, 0)

    async def test_a_request_is_not_held_longer_than_a_rolling_window_sees_it(self, store):
        limits = rpm(9), places(2)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event"), NOW)
        await store.unseed(KEY)
        await seed(store, *limits)

        await store.renew([ask(*limits, event="event")], NOW + ROLLING_MS)
        assert await store.levels(limits, NOW + ROLLING_MS) == [Level(0, 1), Level(0, 1)]
        await store.renew([ask(*limits, event="event")], NOW + ROLLING_MS + STEP_MS)
        assert await store.levels(limits, NOW + ROLLING_MS + STEP_MS) == [Level(0, 0), Level(0, 1)]
        await store.settle("event", Amounts(), NOW + 2 * ROLLING_MS)
        await store.booked([booking("event")], NOW + 2 * ROLLING_MS)
        assert await store.levels(limits, NOW + 2 * ROLLING_MS) == [Level(0, 0), Level(0, 0)]


class TestRenew:
    async def test_it_keeps_the_lease(self, store):
        await store.reserve(ask(places(1), event="event"), NOW)
        await store.renew([ask(places(1), event="event")], NOW + LEASE_MS - 1)

        assert await store.orphans(9, NOW + 2 * LEASE_MS - 2) == []
        assert len(await store.orphans(9, NOW + 2 * LEASE_MS - 1)) == 1

    async def test_an_unknown_exchange_is_opened_whether_there_is_room_or_not(self, store):
        limits = budget(1), tpm(1), places(1)
        await store.renew([ask(*limits, tokens=4, nanos=5), ask(*limits, event="event", tokens=4, nanos=5)], NOW)
        await seed(store, *limits)

        assert await store.levels(limits, NOW) == [Level(0, 10), Level(0, 8), Level(0, 2)]
        await store.settle("event", Amounts(3, 3), NOW)
        assert await store.levels(limits, NOW) == [Level(3, 5), Level(3, 4), Level(0, 1)]

    async def test_a_request_is_not_counted_again(self, store):
        await seed(store, rpm(9), settled=1)
        await store.renew([ask(rpm(9), event="event")], NOW)

        assert await level(store, rpm(9)) == Level(1, 0)
        await store.settle("event", Amounts(), NOW)
        assert await level(store, rpm(9)) == Level(1, 0)

    async def test_a_request_that_was_not_counted_ends_what_its_counter_knew_when_it_is_booked(self, store):
        await seed(store, rpm(9), settled=1)
        await store.renew([ask(rpm(9), event="event")], NOW)
        await store.settle("event", Amounts(), NOW)

        await store.booked([booking("event")], NOW)

        assert await level(store, rpm(9)) is None

    async def test_what_is_held_may_grow_and_never_shrinks(self, store):
        limits = budget(9), tpm(9), places(9)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event", tokens=4, nanos=5), NOW)

        await store.renew([ask(*limits, event="event", tokens=6, nanos=2)], NOW)

        assert await store.levels(limits, NOW) == [Level(0, 5), Level(0, 6), Level(0, 1)]
        await store.settle("event", Amounts(), NOW)
        assert await store.levels(limits, NOW) == [Level(0, 0)] * 3

    async def test_a_settled_exchange_stays_settled(self, store):
        limits = budget(9), places(9)
        await seed(store, *limits)
        await store.reserve(ask(*limits, event="event", nanos=5), NOW)
        await store.settle("event", Amounts(0, 4), NOW)

        await store.renew([ask(*limits, event="event", nanos=5)], NOW)

        assert await store.levels(limits, NOW) == [Level(4, 0), Level(0, 0)]

    async def test_many_are_renewed_at_once(self, store):
        asks = [ask(places(999), event=str(number), draft=b"draft") for number in range(250)]

        await store.renew(asks, NOW)

        assert await level(store, places(999)) == Level(0, 250)
        assert {orphan.draft for orphan in await store.orphans(999, NOW + LEASE_MS)} == {b"draft"}


class TestOrphans:
    async def test_an_exchange_whose_lease_ran_out_is_handed_out_with_its_draft_and_what_it_holds(self, store):
        await seed(store, budget(99))
        await store.reserve(ask(budget(99), event="event", tokens=3, nanos=5, draft=b"\x00draft\xff"), NOW)
        await store.extend("event", Amounts(1, 2), NOW)

        assert await store.orphans(9, NOW + LEASE_MS - 1) == []
        found = await store.orphans(9, NOW + LEASE_MS)
        assert found == [Orphan("event", b"\x00draft\xff", Amounts(4, 7), settled=False)]

    async def test_an_orphan_is_handed_to_one_at_a_time(self, store):
        await store.reserve(ask(places(9), event="event"), NOW)
        await store.orphans(9, NOW + LEASE_MS)

        assert await store.orphans(9, NOW + 2 * LEASE_MS - 1) == []
        assert len(await store.orphans(9, NOW + 2 * LEASE_MS)) == 1

    async def test_a_settled_exchange_is_an_orphan_when_nobody_has_booked_it(self, store):
        await seed(store, budget(99))
        await store.reserve(ask(budget(99), event="event", nanos=5, draft=b"draft"), NOW)
        await store.settle("event", Amounts(3, 4), NOW)

        assert await store.orphans(9, NOW + BOOKING_MS - 1) == []
        assert await store.orphans(9, NOW + BOOKING_MS) == [Orphan("event", b"draft", Amounts(3, 4), settled=True)]

    async def test_a_booked_exchange_is_never_an_orphan(self, store):
        await store.reserve(ask(places(9), event="event"), NOW)
        await store.booked([booking("event")], NOW)

        assert await store.orphans(9, NOW + DAY) == []

    async def test_those_that_were_left_first_are_handed_out_first(self, store):
        for number in (2, 0, 1, 3):
            await store.reserve(ask(places(9), event=f"event-{number}"), NOW + number)

        taken = [await store.orphans(2, NOW + LEASE_MS + 9) for _ in range(3)]

        assert [[orphan.event_id for orphan in some] for some in taken] == [
            ["event-0", "event-1"],
            ["event-2", "event-3"],
            [],
        ]

    async def test_an_orphan_that_is_alive_after_all_goes_on(self, store):
        await seed(store, budget(9))
        await store.reserve(ask(budget(9), event="event", nanos=5), NOW)
        await store.orphans(9, NOW + LEASE_MS)

        await store.settle("event", Amounts(0, 4), NOW + LEASE_MS)

        assert await level(store, budget(9)) == Level(4, 0)


class TestLevels:
    async def test_they_come_in_the_order_of_the_limits(self, store):
        await seed(store, budget(9), settled=2)
        await store.reserve(ask(places(9)), NOW)

        levels = await store.levels([places(1), tpm(9), budget(9), places(9)], NOW)

        assert levels == [Level(0, 1), None, Level(2, 0), Level(0, 1)]

    async def test_of_no_limits_there_are_none(self, store):
        assert await store.levels([], NOW) == []


class TestLostStore:
    async def test_what_is_renewed_and_read_again_is_as_it_was(self, store, redis_server):
        limits = budget(99), tpm(99), places(9)
        await seed(store, *limits)
        alive = ask(*limits, event="alive", tokens=3, nanos=5)
        await store.reserve(alive, NOW)
        await settled(store, *limits, used=7)
        fresh: CounterStore = MemoryCounters(lambda: NOW)
        if isinstance(store, RedisCounters):
            redis_server.client.flushall()
            fresh = store

        assert isinstance(await fresh.reserve(ask(*limits), NOW), Unseeded)
        await fresh.renew([alive, msgspec.structs.replace(alive, event_id="other")], NOW)
        await seed(fresh, *limits, settled=7)
        assert await fresh.levels(limits, NOW) == [Level(7, 10), Level(7, 6), Level(0, 2)]
        await fresh.settle("alive", Amounts(2, 4), NOW)
        await fresh.booked([booking("alive", 2, 4)], NOW)
        assert await fresh.levels(limits, NOW) == [Level(11, 5), Level(9, 3), Level(0, 1)]
