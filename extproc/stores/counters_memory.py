"""Counters of one process, in plain dictionaries: the `CounterStore` of a gateway that stands alone.

No method awaits anything, so each is atomic on the loop. Memory is bounded without a timer: whoever makes a counter
looks at the two that were looked at longest ago, and forgets those that nobody uses; whoever books an exchange forgets
those that were booked too long ago. A counter that is forgotten is unseeded, and is read from the ledger when it is
asked for again.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from extproc.holds import Amounts, Answer, Ask, Booking, Full, Granted, Level, Limit, Orphan, Scope, Span, Unseeded
from extproc.model import UnixMs
from extproc.stores.counters import LEASE_MS, REMEMBER_MS
from extproc.stores.counters_tally import Exchange, Tally, asked_by, measured

#: A counter on which no exchange is counted is forgotten when nobody has asked for it for so long.
IDLE_MS = 3_600_000
#: The most booked exchanges that are remembered.
REMEMBERED = 100_000
_KNOWN = 10_000
#: More than one, so that more is forgotten than made.
_LOOKS = 2


class MemoryCounters:
    """A `CounterStore`. `now` is its own clock; `remembered` is the most booked exchanges that it remembers."""

    def __init__(self, now: Callable[[], UnixMs], *, remembered: int = REMEMBERED) -> None:
        self._now = now
        self._most_remembered = remembered
        self._tallies: dict[str, Tally] = {}
        #: A shorter way to some of them: finding a limit takes a third of the time of making its counter's name.
        self._known: dict[Limit, Tally] = {}
        self._of_scope: dict[Scope, dict[str, Tally]] = {}
        self._round: deque[Limit] = deque()
        self._unbooked: dict[str, Exchange] = {}
        self._booked: set[str] = set()
        self._booked_at: deque[tuple[UnixMs, str]] = deque()

    def __len__(self) -> int:
        """How many counters and exchanges it keeps."""
        return len(self._tallies) + len(self._unbooked) + len(self._booked)

    async def reserve(self, ask: Ask, now: UnixMs | None = None) -> Answer:
        now = self._now() if now is None else now
        if self._knows(ask.event_id):
            return measured(ask.limits, [self._found(limit, now) for limit in ask.limits], (0, 0, 0, 0), now)
        met = self._met(ask.limits, now)
        unseeded = [position for position, tally in enumerate(met) if tally is None or not tally.seed]
        if unseeded:
            return Unseeded(tuple(unseeded))
        return self._reserve(ask, [tally for tally in met if tally is not None], now)

    async def extend(self, event_id: str, by: Amounts, now: UnixMs | None = None) -> Granted | Full:
        now = self._now() if now is None else now
        exchange = self._unbooked.get(event_id)
        if exchange is None or exchange.settled:
            return Granted(())
        exchange.deadline = now + LEASE_MS
        answer = measured(exchange.limits, exchange.met, (0, by.tokens, 0, by.nanos), now)
        if isinstance(answer, Granted):
            exchange.hold(by.tokens, by.nanos)
        return answer

    async def settle(self, event_id: str, used: Amounts, now: UnixMs | None = None) -> None:
        exchange = self._unbooked.get(event_id)
        if exchange is not None and not exchange.settled:
            exchange.settle(used, self._now() if now is None else now)

    async def booked(self, bookings: Sequence[Booking], now: UnixMs | None = None) -> None:
        now = self._now() if now is None else now
        for booking in bookings:
            if booking.event_id not in self._booked:
                self._book(booking, now)
        self._forget_booked(now)

    async def renew(self, asks: Sequence[Ask], now: UnixMs | None = None) -> None:
        now = self._now() if now is None else now
        for ask in asks:
            exchange = self._unbooked.get(ask.event_id)
            if exchange is None and ask.event_id not in self._booked:
                met = [self._found(limit, now) for limit in ask.limits]
                self._unbooked[ask.event_id] = Exchange(ask, met, now, request=False)
            elif exchange is not None and not exchange.settled:
                exchange.deadline = now + LEASE_MS
                exchange.hold_at_least(ask.amounts)
                exchange.forget_request(now)

    async def begin_seed(self, limit: Limit, token: str, now: UnixMs | None = None) -> frozenset[str] | None:
        now = self._now() if now is None else now
        tally = self._found(limit, now)
        return frozenset(tally.users) if tally.begin_seed(token, now) else None

    async def finish_seed(
        self, limit: Limit, token: str, settled: Sequence[tuple[UnixMs, int]], now: UnixMs | None = None
    ) -> bool:
        tally = self._tallies.get(limit.counter)
        if tally is None or not token or tally.token != token:
            return False
        now = self._now() if now is None else now
        tally.finish_seed(settled, now)
        tally.touched = now
        return True

    async def unseed(self, scope: Scope) -> None:
        for tally in self._of_scope.get(scope, {}).values():
            tally.unseed()

    async def orphans(self, limit: int, now: UnixMs | None = None) -> Sequence[Orphan]:
        now = self._now() if now is None else now
        late = ((exchange.deadline, name) for name, exchange in self._unbooked.items() if exchange.deadline <= now)
        return [self._claim(name, now) for _, name in heapq.nsmallest(limit, late)]

    async def levels(self, limits: Sequence[Limit], now: UnixMs | None = None) -> Sequence[Level | None]:
        now = self._now() if now is None else now
        return [self._level(limit, now) for limit in limits]

    # ------------------------------------------------------------------------------------------------------------------

    def _knows(self, event_id: str) -> bool:
        return event_id in self._unbooked or event_id in self._booked

    def _level(self, limit: Limit, now: UnixMs) -> Level | None:
        tally = self._tallies.get(limit.counter)
        if tally is None:
            return Level(0, 0) if limit.span is Span.GAUGE else None
        return tally.level(now) if tally.seed else None

    def _met(self, limits: Sequence[Limit], now: UnixMs) -> list[Tally | None]:
        """The counters of these limits. A gauge that is not there is empty, which is all there is to know."""
        met = [self._known.get(limit) for limit in limits]
        for position, tally in enumerate(met):
            if tally is not None:
                tally.touched = now
            elif (limit := limits[position]).span is Span.GAUGE or limit.counter in self._tallies:
                met[position] = self._found(limit, now)
        return met

    def _reserve(self, ask: Ask, met: list[Tally], now: UnixMs) -> Granted | Full:
        answer = measured(ask.limits, met, asked_by(ask.amounts), now)
        if isinstance(answer, Granted):
            self._unbooked[ask.event_id] = Exchange(ask, met, now, request=True)
        return answer

    def _book(self, booking: Booking, now: UnixMs) -> None:
        exchange = self._unbooked.pop(booking.event_id, None)
        if exchange is not None:
            exchange.book(booking, now)
        counted: Collection[Tally] = exchange.tallies if exchange is not None else ()
        for tally in self._touched_by(booking):
            if tally not in counted:
                tally.unseed()
        self._booked.add(booking.event_id)
        self._booked_at.append((now, booking.event_id))

    def _touched_by(self, booking: Booking) -> Iterator[Tally]:
        """The counters that the ledger has changed under, if they did not know of this exchange."""
        used = asked_by(booking.used) if not booking.new else (1, booking.used.tokens, 0, booking.used.nanos)
        for scope in booking.scopes:
            for tally in self._of_scope.get(scope, {}).values():
                if used[tally.place]:
                    yield tally

    def _claim(self, event_id: str, now: UnixMs) -> Orphan:
        exchange = self._unbooked[event_id]
        exchange.deadline = now + LEASE_MS
        return Orphan(event_id, exchange.draft, exchange.amounts, exchange.settled)

    # -- what bounds the memory ----------------------------------------------------------------------------------------

    def _found(self, limit: Limit, now: UnixMs) -> Tally:
        """The counter of this limit, made where there is none. Being looked for keeps it from being forgotten."""
        tally = self._tallies.get(limit.counter) or self._make(limit, now)
        tally.touched = now
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[limit] = tally
        return tally

    def _make(self, limit: Limit, now: UnixMs) -> Tally:
        for _ in range(min(_LOOKS, len(self._round))):
            self._look_at(self._round.popleft(), now)
        tally = self._tallies[limit.counter] = Tally(limit, now)
        self._of_scope.setdefault(limit.scope, {})[limit.counter] = tally
        self._round.append(limit)
        return tally

    def _look_at(self, limit: Limit, now: UnixMs) -> None:
        """Forget a counter that nobody uses, or put it behind the others."""
        tally = self._tallies[limit.counter]
        if tally.users or now < tally.touched + IDLE_MS:
            self._round.append(limit)
            return
        del self._tallies[limit.counter]
        self._known.clear()
        names = self._of_scope[limit.scope]
        del names[limit.counter]
        if not names:
            del self._of_scope[limit.scope]

    def _forget_booked(self, now: UnixMs) -> None:
        booked_at = self._booked_at
        while booked_at and (booked_at[0][0] + REMEMBER_MS <= now or len(booked_at) > self._most_remembered):
            self._booked.discard(booked_at.popleft()[1])
