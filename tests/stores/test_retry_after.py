"""Thirty-two callers at once over a rate: whoever is refused and waits as long as told passes, if there is room.

Time is an argument here, so that a minute costs nothing; what there is room for is computed from the moments alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Collection, Sequence

import pytest
from counting import NOW
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc.holds import ROLLING_MS, STEP_MS, Amounts, Ask, Full, Granted, Limit, Measure, Scope, Span
from extproc.policy import limits
from extproc.stores.counters import CounterStore
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.counters_redis import RedisCounters
from extproc.stores.reservations import Reservations

CALLERS = 32
KEY = Scope("api_key", "d")
#: When, and how much.
Used = tuple[int, int]


class Minute:
    """A rate with a history, and who asks for so much of it at a moment."""

    def __init__(self, counters: CounterStore, limit: Limit, each: int, history: Sequence[Used]) -> None:
        self.limit = limit
        self.each = each
        self.used = [*history]
        self.history = history
        self.moment = NOW
        self.it = Reservations(
            counters, self, now=lambda: self.moment, own_clock=False, local=lambda: counters, scopes_of=limits.scopes
        )

    async def settled(self, _: Limit, __: int, ___: Collection[str]) -> Sequence[Used]:
        return self.history

    @property
    def room(self) -> int:
        """How many more of them fit now: a step is forgotten as a whole, when all of it is a minute old."""
        seen = (amount for at, amount in self.used if self.moment < (at // STEP_MS + 1) * STEP_MS + ROLLING_MS)
        return max(0, (self.limit.maximum - sum(seen)) // self.each)

    async def ask(self) -> Granted | Full:
        """One exchange, over as soon as it has begun. Whoever is only held up by others asks again when they are."""
        event_id = uuid.uuid4().hex
        while True:
            answer = await self.it.reserve(Ask(event_id, (self.limit,), Amounts(self.each, 0)))
            if isinstance(answer, Granted):
                await self.it.settle(event_id, Amounts(self.each, 0))
                self.used.append((self.moment, self.each))
                return answer
            if self.limit.measure is Measure.REQUESTS or not answer.only_held(self.limit.maximum):
                return answer
            await asyncio.sleep(0)

    async def at_once(self, callers: int) -> list[Full]:
        """Ask so many times at once; the refusals. As many pass as there is room for."""
        room = self.room
        answers = await asyncio.gather(*(self.ask() for _ in range(callers)))
        refused = [answer for answer in answers if isinstance(answer, Full)]
        assert callers - len(refused) == min(callers, room)
        return refused

    def seconds(self, full: Full) -> int:
        """The `Retry-After` of a refusal."""
        refusal = limits.refusal(self.limit, full, {}, self.moment, 422)
        return int(dict(refusal.headers)[b"retry-after"])


@contextlib.asynccontextmanager
async def memory(_: str) -> AsyncIterator[CounterStore]:
    yield MemoryCounters(lambda: NOW)


@contextlib.asynccontextmanager
async def redis(url: str) -> AsyncIterator[CounterStore]:
    opened = RedisCounters(url, namespace=uuid.uuid4().hex, deadline_ms=10_000)
    yield opened
    await opened.close()


HISTORY = st.lists(st.integers(1, ROLLING_MS - 1).map(lambda ago: NOW - ago), max_size=40)


@pytest.mark.parametrize("opened", [memory, redis])
@pytest.mark.parametrize("measure", [Measure.REQUESTS, Measure.TOKENS])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORY, maximum=st.integers(1, 60), each=st.integers(1, 40))
async def test_all_retries_that_the_limit_can_hold_succeed(redis_server, opened, measure, history, maximum, each):
    each = 1 if measure is Measure.REQUESTS else each
    limit = Limit(KEY, measure, Span.ROLLING, maximum * each, setting="a rate")
    async with opened(redis_server.url) as counters:
        minute = Minute(counters, limit, each, [(at, each) for at in history])
        refused = await minute.at_once(CALLERS)
        while refused:
            (seconds,) = {minute.seconds(full) for full in refused}
            assert 1 <= seconds <= (ROLLING_MS + STEP_MS) // 1_000 + 1
            minute.moment += seconds * 1_000

            before = len(refused)
            refused = await minute.at_once(before)

            assert len(refused) < before
    assert _most_in_a_minute(minute.used) <= max(limit.maximum, len(history) * each)


def _most_in_a_minute(used: Sequence[Used]) -> int:
    return max((sum(amount for at, amount in used if first <= at < first + ROLLING_MS) for first, _ in used), default=0)
