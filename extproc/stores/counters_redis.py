"""Counters in Redis, or Valkey: the `CounterStore` that the processes of a fleet share.

Every method is one Lua script (`lua/`), so it is atomic, and one round trip. A script takes the time from Redis's own
clock unless the caller says otherwise: the processes of a fleet need not agree on what time it is.

All keys carry one hash tag, `{NAMESPACE}`. An exchange meets limits of its key, its team and everybody, and reserves
against all of them or none; on a cluster that is only possible where they live on one node. So all counters of a
namespace are on one node, and the script may compute which keys it touches.

Nothing is kept for ever: every key expires (a rolling counter or a gauge after an hour of idleness, a window a day
behind its end, anything else after 35 days without use). But nothing may be thrown out before: Redis must run with
`maxmemory-policy noeviction`. Sums are exact up to 2**53 - 1, which is nine million dollars; a limit above is that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Raw

from extproc import holds
from extproc.holds import Amounts, Answer, Ask, Booking, Full, Granted, Level, Limit, Orphan, Scope, Span, Unseeded
from extproc.model import UnixMs
from extproc.stores import counters
from extproc.stores.counters_scripts import Script, Scripts

T = TypeVar("T")

#: What Lua's numbers hold exactly.
MOST = 2**53 - 1
#: Of how many exchanges one script may speak: it keeps Redis from everything else meanwhile.
_BATCH = 25
_CONSTANTS = {
    "ROLLING_MS": holds.ROLLING_MS,
    "STEP_MS": holds.STEP_MS,
    "BOOKING_MS": counters.BOOKING_MS,
    "REMEMBER_MS": counters.REMEMBER_MS,
    "SEEDING_MS": counters.SEEDING_MS,
}
#: What stands for the end of a window in a counter that has none.
_ENDLESS, _ROLLING, _GAUGE = 0, -1, -2
_GRANTED, _FULL = 1, 2

#: A counter as the scripts know it: its name, its scope, the end of its window. A limit: the position of its counter,
#: its maximum, whether it refuses.
_Counter: TypeAlias = tuple[str, str, int]
_Limit: TypeAlias = tuple[int, int, int]

_packed = msgspec.msgpack.Encoder().encode


class RedisCounters:
    """A `CounterStore` and a `Health`. `url` is `redis://`, `rediss://` or `unix://`. Every method raises
    `StoreUnavailable` where Redis has not answered after `deadline_ms`. `lease_ms` is the same for all who share it."""

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "extproc",
        deadline_ms: int = 100,
        connections: int = 32,
        lease_ms: int = counters.LEASE_MS,
    ) -> None:
        if not namespace or set(namespace) & set("{}"):
            raise ValueError(f"{namespace!r} cannot be a hash tag")
        key = f"{{{namespace}}}leases"
        self._scripts = Scripts(url, key, deadline_ms=deadline_ms, connections=connections)
        constants = {**_CONSTANTS, "LEASE_MS": lease_ms}
        self._reserve = Script("reserve", constants)
        self._extend = Script("extend", constants)
        self._settle = Script("settle", constants)
        self._booked = Script("booked", constants)
        self._renew = Script("renew", constants)
        self._begin_seed = Script("begin_seed", constants)
        self._finish_seed = Script("finish_seed", constants)
        self._unseed = Script("unseed", constants)
        self._orphans = Script("orphans", constants)
        self._levels = Script("levels", constants)

    async def ping(self) -> None:
        await self._scripts.ask("PING")

    async def close(self) -> None:
        """Let go of every connection. What is asked afterwards raises `StoreUnavailable`."""
        await self._scripts.close()

    async def reserve(self, ask: Ask, now: UnixMs | None = None) -> Answer:
        amounts = ask.amounts
        asked = _packed((ask.event_id, now, amounts.tokens, amounts.nanos, *_told(ask.limits)))
        reply = await self._scripts.run(self._reserve, asked, ask.draft)
        return _room(reply) if reply[0] in {_GRANTED, _FULL} else Unseeded(tuple(reply[1]))

    async def extend(self, event_id: str, by: Amounts, now: UnixMs | None = None) -> Granted | Full:
        return _room(await self._scripts.run(self._extend, _packed((event_id, now, by.tokens, by.nanos))))

    async def settle(self, event_id: str, used: Amounts, now: UnixMs | None = None) -> None:
        await self._scripts.run(self._settle, _packed((event_id, now, used.tokens, used.nanos)))

    async def booked(self, bookings: Sequence[Booking], now: UnixMs | None = None) -> None:
        for batch in _batches(bookings):
            told = [
                (one.event_id, one.used.tokens, one.used.nanos, int(one.new), [_scope(scope) for scope in one.scopes])
                for one in batch
            ]
            await self._scripts.run(self._booked, _packed((now, told)))

    async def renew(self, asks: Sequence[Ask], now: UnixMs | None = None) -> None:
        for batch in _batches(asks):
            told = [(ask.event_id, ask.amounts.tokens, ask.amounts.nanos, *_told(ask.limits)) for ask in batch]
            await self._scripts.run(self._renew, _packed((now, told)), *(ask.draft for ask in batch))

    async def begin_seed(self, limit: Limit, token: str, now: UnixMs | None = None) -> frozenset[str] | None:
        if limit.span is Span.GAUGE:
            return None
        reply = await self._scripts.run(self._begin_seed, _packed((now, token, _counter(limit))))
        return frozenset(event_id.decode() for event_id in reply) if isinstance(reply, list) else None

    async def finish_seed(
        self, limit: Limit, token: str, settled: Sequence[tuple[UnixMs, int]], now: UnixMs | None = None
    ) -> bool:
        if limit.span is Span.GAUGE or not token:
            return False
        told = _packed((now, token, _counter(limit), _in_steps(settled)))
        return bool(await self._scripts.run(self._finish_seed, told))

    async def unseed(self, scope: Scope) -> None:
        await self._scripts.run(self._unseed, _packed((_scope(scope),)))

    async def orphans(self, limit: int, now: UnixMs | None = None) -> Sequence[Orphan]:
        reply = await self._scripts.run(self._orphans, _packed((now, limit)))
        return [
            Orphan(event_id.decode(), draft, Amounts(tokens, nanos), bool(settled))
            for event_id, draft, tokens, nanos, settled in reply
        ]

    async def levels(self, limits: Sequence[Limit], now: UnixMs | None = None) -> Sequence[Level | None]:
        found, met = _counted(limits)
        reply = await self._scripts.run(self._levels, _packed((now, found)))
        levels = [level if level.held >= 0 else None for level in _levels(reply)]
        return [levels[position - 1] for position, _, _ in met]


@functools.lru_cache(maxsize=1_000)
def _told(limits: tuple[Limit, ...]) -> tuple[Raw, Raw]:
    """`_counted` as the scripts read it. Remembered, for the same limits are met again and again."""
    found, met = _counted(limits)
    return Raw(_packed(found)), Raw(_packed(met))


def _counted(limits: Iterable[Limit]) -> tuple[list[_Counter], list[_Limit]]:
    """The counters of these limits, each once, and the limits on them. Lua counts from one."""
    found: list[_Counter] = []
    met: list[_Limit] = []
    positions: dict[str, int] = {}
    for limit in limits:
        counter = _counter(limit)
        position = positions.get(counter[0])
        if position is None:
            found.append(counter)
            position = positions[counter[0]] = len(found)
        met.append((position, min(limit.maximum, MOST), 1 if limit.enforced else 0))
    return found, met


@functools.lru_cache(maxsize=10_000)
def _counter(limit: Limit) -> _Counter:
    """Remembered, for making a name takes three times as long as finding one."""
    end = {Span.ROLLING: _ROLLING, Span.GAUGE: _GAUGE, Span.WINDOW: limit.until or _ENDLESS}
    return limit.counter, _scope(limit.scope), end[limit.span]


def _scope(scope: Scope) -> str:
    return scope.kind + ":" + scope.id


def _in_steps(settled: Sequence[tuple[UnixMs, int]]) -> list[tuple[UnixMs, int]]:
    """The same amounts at no more moments than a rolling counter tells apart, the oldest first."""
    sums: dict[UnixMs, int] = {}
    for moment, amount in settled:
        step = moment - moment % holds.STEP_MS
        sums[step] = sums.get(step, 0) + amount
    return sorted(sums.items())


def _room(reply: list[Any]) -> Granted | Full:
    if reply[0] == _GRANTED:
        return Granted(tuple(_levels(reply[1])), tuple(reply[2]))
    _, position, settled, held, asked, frees_at = reply
    return Full(position, Level(settled, held), asked, frees_at if frees_at >= 0 else None)


def _levels(flat: list[int]) -> list[Level]:
    return [Level(flat[place], flat[place + 1]) for place in range(0, len(flat), 2)]


def _batches(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), _BATCH):
        yield things[start : start + _BATCH]
