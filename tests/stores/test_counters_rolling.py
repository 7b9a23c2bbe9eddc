"""What every counter store must do with a rolling window: forget in steps, as a whole and never early."""

from __future__ import annotations

import pytest
from counting import NOW, ask, level, rpm, seed, settled, tpm

from extproc.holds import (
    ROLLING_MS,
    STEP_MS,
    Amounts,
    Full,
    Granted,
    Level,
)


class TestRolling:
    @pytest.mark.parametrize("offset", [0, 1, STEP_MS - 1])
    async def test_what_was_used_counts_for_a_minute_and_at_most_a_step_longer(self, counters, offset):
        await seed(counters, tpm(9))
        await settled(counters, tpm(9), used=5, now=NOW + offset)

        assert await level(counters, tpm(9), NOW + offset + ROLLING_MS) == Level(5, 0)
        assert await level(counters, tpm(9), NOW + offset + ROLLING_MS + STEP_MS) == Level(0, 0)

    async def test_the_steps_of_a_minute_are_forgotten_one_by_one(self, counters):
        await seed(counters, tpm(10_000))
        for moment in range(200):
            await settled(counters, tpm(10_000), used=1, now=NOW + moment * STEP_MS)

        left = [
            await level(counters, tpm(9), NOW + ROLLING_MS + moment * STEP_MS) for moment in (0, 1, 2, 3, 90, 199, 200)
        ]

        assert left == [Level(amount, 0) for amount in (200, 199, 198, 197, 110, 1, 0)]

    async def test_many_steps_are_forgotten_at_once(self, counters):
        await seed(counters, tpm(10_000))
        for moment in range(200):
            await settled(counters, tpm(10_000), used=1, now=NOW + moment * STEP_MS)

        assert await level(counters, tpm(9), NOW + ROLLING_MS + 130 * STEP_MS) == Level(70, 0)
        assert await level(counters, tpm(9), NOW + ROLLING_MS + 199 * STEP_MS) == Level(1, 0)
        assert await level(counters, tpm(9), NOW + ROLLING_MS + 200 * STEP_MS) == Level(0, 0)

    @pytest.mark.parametrize("look", ["again", "full", "unseeded", "more", "too much more", "renewed"])
    async def test_a_step_is_forgotten_once_whoever_looks(self, counters, look):
        known = ask(tpm(100))
        await seed(counters, tpm(100))
        await counters.reserve(known, NOW)
        for moment in (0, 1_000, 2_000):
            await settled(counters, tpm(100), used=5, now=NOW + moment)
        later = NOW + ROLLING_MS + STEP_MS
        looks = {
            "again": lambda: counters.reserve(known, later),
            "full": lambda: counters.reserve(ask(tpm(0)), later),
            "unseeded": lambda: counters.reserve(ask(tpm(100), rpm(9)), later),
            "more": lambda: counters.extend(known.event_id, Amounts(0, 1), later),
            "too much more": lambda: counters.extend(known.event_id, Amounts(1_000), later),
            "renewed": lambda: counters.renew([known], later),
        }

        await looks[look]()

        assert await level(counters, tpm(100), later) == Level(10, 0)
        assert await level(counters, tpm(100), later + 1_000) == Level(5, 0)

    async def test_a_full_limit_frees_at_the_moment_at_which_there_is_room(self, counters):
        await seed(counters, tpm(10))
        for moment in (0, 150, 30_000):
            await settled(counters, tpm(10), used=3, now=NOW + moment)
        asked = ask(tpm(10), tokens=5)

        answer = await counters.reserve(asked, NOW + 30_000)

        assert answer == Full(0, Level(9, 0), 5, NOW + 100 + ROLLING_MS + STEP_MS)
        assert isinstance(await counters.reserve(asked, answer.frees_at - 1), Full)
        assert isinstance(await counters.reserve(asked, answer.frees_at), Granted)

    async def test_a_limit_that_frees_in_a_hundred_steps_says_when(self, counters):
        await seed(counters, rpm(150))
        for moment in range(150):
            await counters.reserve(ask(rpm(150), event=str(moment)), NOW + moment * STEP_MS)
        held = ask(rpm(150), tpm(150), tokens=150)
        await seed(counters, tpm(150), settled=1, now=NOW)

        assert (await counters.reserve(held, NOW + 15_000)).frees_at == NOW + ROLLING_MS + STEP_MS
        late = ask(rpm(51), event="late")
        assert (await counters.reserve(late, NOW + 15_000)).frees_at == NOW + 99 * STEP_MS + ROLLING_MS + STEP_MS
        assert (
            await counters.reserve(ask(rpm(1)), NOW + 15_000)
        ).frees_at == NOW + 149 * STEP_MS + ROLLING_MS + STEP_MS

    async def test_holds_stay_while_a_rolling_limit_frees(self, counters):
        await seed(counters, tpm(10))
        for moment in (0, 1_000, 2_000):
            await settled(counters, tpm(10), used=2, now=NOW + moment)
        await counters.reserve(ask(tpm(10), tokens=3), NOW + 2_000)

        answer = await counters.reserve(ask(tpm(10), tokens=5), NOW + 2_000)

        assert answer == Full(0, Level(6, 3), 5, NOW + 1_000 + ROLLING_MS + STEP_MS)

    @pytest.mark.parametrize(
        ("held", "asked"), [(0, 11), (8, 3), (8, 8)], ids=["too much", "only held", "beside holds"]
    )
    async def test_waiting_does_not_help_where_time_frees_nothing(self, counters, held, asked):
        await seed(counters, tpm(10))
        await counters.reserve(ask(tpm(10), tokens=held), NOW)
        await settled(counters, tpm(100), used=4)

        answer = await counters.reserve(ask(tpm(10), tokens=asked), NOW)

        assert answer == Full(0, Level(4, held), asked, None)

    async def test_moments_may_come_in_any_order(self, counters):
        await seed(counters, tpm(100))
        for moment in (5_000, 1_000, 3_000, 1_050, 3_000, 900, 4_999):
            await settled(counters, tpm(100), used=1, now=NOW + moment)

        left = [
            await level(counters, tpm(9), NOW + ROLLING_MS + moment)
            for moment in (999, 1_000, 1_100, 3_100, 5_000, 5_100)
        ]

        assert left == [Level(amount, 0) for amount in (7, 6, 4, 2, 1, 0)]
