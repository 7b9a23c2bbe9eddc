"""What tests of counters share: limits in few words, and two stores that are asked everything side by side.

Redis looks at its own clock where nobody hands it a moment, so the tests begin at the real time.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, TypeVar

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from extproc.holds import Amounts, Ask, Booking, Granted, Level, Limit, Measure, Scope, Span
from extproc.stores.counters import CounterStore
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.counters_redis import RedisCounters

T = TypeVar("T")

#: The first moment of a step.
NOW = int(time.time()) * 1000
DAY = 86_400_000
KEY, TEAM = Scope("api_key", "digest"), Scope("team", "team")

_namespaces = itertools.count()


def budget(maximum: int, scope: Scope = KEY, **fields: Any) -> Limit:
    return Limit(scope, Measure.SPEND, Span.WINDOW, maximum, **{"since": NOW, "until": NOW + DAY, **fields})


def rpm(maximum: int, scope: Scope = KEY, **fields: Any) -> Limit:
    return Limit(scope, Measure.REQUESTS, Span.ROLLING, maximum, **fields)


def tpm(maximum: int, scope: Scope = KEY, **fields: Any) -> Limit:
    return Limit(scope, Measure.TOKENS, Span.ROLLING, maximum, **fields)


def places(maximum: int, scope: Scope = KEY, **fields: Any) -> Limit:
    return Limit(scope, Measure.PARALLEL, Span.GAUGE, maximum, **fields)


def ask(*limits: Limit, event: str = "", tokens: int = 0, nanos: int = 0, draft: bytes = b"") -> Ask:
    return Ask(event or uuid.uuid4().hex, limits, Amounts(tokens, nanos), draft)


def booking(
    event: str, tokens: int = 0, nanos: int = 0, *, scopes: Sequence[Scope] = (KEY,), new: bool = True
) -> Booking:
    return Booking(event, Amounts(tokens, nanos), tuple(scopes), new)


async def seed(store: CounterStore, *limits: Limit, settled: int = 0, now: int = NOW) -> None:
    """The ledger says so much of each."""
    for limit in limits:
        if limit.span is not Span.GAUGE:
            token = uuid.uuid4().hex
            assert await store.begin_seed(limit, token, now) is not None
            assert await store.finish_seed(limit, token, [(now, settled)], now)


async def level(store: CounterStore, limit: Limit, now: int = NOW) -> Level | None:
    (found,) = await store.levels([limit], now)
    return found


async def settled(store: CounterStore, *limits: Limit, used: int, now: int = NOW) -> None:
    """An exchange has used so much."""
    one = ask(*limits)
    assert isinstance(await store.reserve(one, now), Granted)
    await store.settle(one.event_id, Amounts(used, used), now)


def share(limit: Limit, of: Amounts) -> int:
    """What an exchange of these amounts counts on a limit."""
    return {Measure.TOKENS: of.tokens, Measure.SPEND: of.nanos}.get(limit.measure, 1)


class SideBySide(RuleBasedStateMachine):
    """A store in memory and one in Redis, which must answer alike. `now` is the moment of both."""

    url: ClassVar[str]
    loop: ClassVar[asyncio.AbstractEventLoop]

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.names = map(str, itertools.count())
        self.memory = MemoryCounters(lambda: self.now)
        self.redis = RedisCounters(self.url, namespace=f"machine-{next(_namespaces)}", deadline_ms=10_000)

    def both(self, question: Callable[[CounterStore], Coroutine[Any, Any, T]]) -> T:
        """What both answer; it is the same."""
        expected = self.loop.run_until_complete(question(self.memory))
        assert self.loop.run_until_complete(question(self.redis)) == expected
        return expected

    def teardown(self) -> None:
        self.loop.run_until_complete(self.redis.close())


def run(machine: type[SideBySide], url: str, *, traces: int, steps: int) -> None:
    """Run the machine on traces of its rules, with the Redis at this address."""
    machine.url = url
    machine.loop = asyncio.new_event_loop()
    try:
        run_state_machine_as_test(machine, settings=settings(max_examples=traces, stateful_step_count=steps))
    finally:
        machine.loop.close()
