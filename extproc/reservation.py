"""One exchange's reservation: how much it asks for, how long it waits, how it grows with a stream, how it is settled.

Strategy. What is asked is the prompt, which is known, and the answer, which is expected: the client's own limit on it
where the answer cannot be stopped half-way, what answers usually are (`policy.expectation`) where there is no limit, or
where a stream can ask for more on its way. A stream asks *before* it uses: its tokens are counted as they pass, and
when they come near to what it holds it holds another slice. So what is used never exceeds what is held, and what is
held never exceeds a limit.

Somebody who only guesses what it needs asks for less when there is less: a stream for a slice, an answer of unknown
length for what is left. Whoever would fit if others gave back what they hold waits a moment for them, and asks again.

This module awaits a store and a clock; the decisions it walks through are pure functions (`policy.limits`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from extproc.errors import StoreUnavailable
from extproc.holds import Amounts, Ask, Full, Granted, Limit, Measure
from extproc.model import Nanos, UnixMs, Usage
from extproc.policy import limits, outages, refusals
from extproc.policy.expectation import Expectations, Expected
from extproc.policy.outages import OnOutage
from extproc.policy.refusals import Refusal

#: Output tokens that a stream holds more at a time: as many as it holds already, within these bounds.
SMALLEST_SLICE, LARGEST_SLICE = 16, 1_024
#: A stream asks for more when so many of the tokens that it holds are left, and ends when so many are left and there
#: are no more: what the provider has generated but not yet sent must be held, too.
MARGIN_TOKENS, STOP_TOKENS = 16, 4
#: Between two questions of one who waits.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.05
#: How often an ask may be cut down to what there is.
_FITTINGS = 6


class Reserves(Protocol):
    """Who is asked; see `stores.reservations.Reservations`."""

    async def reserve(self, ask: Ask) -> Granted | Full: ...

    async def reserve_alone(self, ask: Ask) -> Granted | Full: ...

    async def extend(self, event_id: str, by: Amounts) -> Granted | Full: ...

    async def settle(self, event_id: str, used: Amounts) -> None: ...


class Rules(msgspec.Struct, frozen=True):
    """What every reservation of this process shares. `wait_ms` is how long an exchange waits for holds of others."""

    reservations: Reserves
    expectations: Expectations
    now: Callable[[], UnixMs]
    on_outage: OnOutage = OnOutage.REFUSE
    wait_ms: int = 300
    budget_exceeded_status: int = 422


class Size(msgspec.Struct, frozen=True):
    """What is known of an exchange's size. `price` gives the nanos of a usage, `None` where no price is known.

    `stream` is whether it can be stopped on its way.
    """

    input_tokens: int
    stream: bool
    price: Callable[[Usage], Nanos | None]

    def amounts(self, output_tokens: int) -> Amounts:
        """What so many output tokens, and the prompt, amount to."""
        usage = Usage(input_tokens=self.input_tokens, output_tokens=output_tokens)
        return Amounts(usage.total_tokens, self.price(usage) or 0)


class Reservation:
    """Create it for an exchange that meets limits; `admit`, then `grow` while it streams, then `settle`.

    `draft` makes, of what is held, what is needed to book the exchange if this process dies.
    """

    def __init__(
        self, rules: Rules, event_id: str, met: tuple[Limit, ...], size: Size, draft: Callable[[Amounts], bytes]
    ) -> None:
        self._rules = rules
        self._event_id = event_id
        self._limits = met
        self._size = size
        self._draft = draft
        self._held = 0
        self._granted: Granted | None = None
        #: Whether the counters were gone, and this process counts for itself.
        self.alone = False

    @property
    def left(self) -> tuple[tuple[Limit, int], ...]:
        """Each limit with what is left of it for others."""
        if self._granted is None:
            return ()
        asked = self._size.amounts(self._held)
        return tuple(
            (limit, max(0, limit.maximum - level.settled - level.held - limits.asked_of(limit, asked)))
            for limit, level in zip(self._limits, self._granted.levels, strict=True)
        )

    @property
    def over(self) -> tuple[Limit, ...]:
        """The limits that are not enforced and were exceeded."""
        return tuple(self._limits[position] for position in self._granted.over) if self._granted else ()

    async def admit(self, expected: Expected, known: limits.Names) -> Refusal | None:
        """Reserve, or say why not. `known` is how people speak of the scopes."""
        deadline = self._rules.now() + self._rules.wait_ms
        pause = FIRST_PAUSE_SECONDS
        while True:
            answer = await self._ask(expected)
            if not isinstance(answer, Full):
                return answer
            if not self._worth_waiting(answer) or self._rules.now() >= deadline:
                return self._refusal(answer, known)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def grow(self, output_tokens: int, known: limits.Names) -> Refusal | None:
        """A stream is about to have this many output tokens: hold enough to go on, or say why it must end."""
        deadline = self._rules.now() + self._rules.wait_ms
        while output_tokens + MARGIN_TOKENS > self._held:
            full = await self._extend()
            if full is None:
                continue
            if output_tokens + STOP_TOKENS <= self._held:
                break
            if not self._worth_waiting(full) or self._rules.now() >= deadline:
                return self._refusal(full, known)
            await asyncio.sleep(FIRST_PAUSE_SECONDS)
        return None

    async def settle(self, usage: Usage, spend: Nanos | None) -> None:
        """Give back what was held, count what was used. Never raises."""
        await self._rules.reservations.settle(self._event_id, Amounts(usage.total_tokens, spend or 0))

    # ------------------------------------------------------------------------------------------------------------------

    async def _ask(self, expected: Expected) -> Full | Refusal | None:
        """Ask for what is expected and, where that is a guess, for what there is instead."""
        output = expected.tokens
        least = min(output, SMALLEST_SLICE) if self._size.stream or not expected.learned else output
        for _ in range(_FITTINGS):
            answer = await self._reserve(output)
            if not isinstance(answer, Full):
                return answer
            fitting = self._fitting(answer, output)
            if not least <= fitting < output:
                return answer
            output = fitting
        return answer

    async def _reserve(self, output: int) -> Full | Refusal | None:
        amounts = self._size.amounts(output)
        answer = await self._question(Ask(self._event_id, self._limits, amounts, self._draft(amounts)))
        if isinstance(answer, Granted):
            self._granted, self._held = answer, output
            return None
        return answer

    async def _question(self, ask: Ask) -> Granted | Full | Refusal:
        try:
            return await self._rules.reservations.reserve(ask)
        except StoreUnavailable:
            refusal = outages.verdict(outages.Store.COUNTERS, self._rules.on_outage, limited=True)
        if refusal is not None:
            return refusal
        self.alone = True
        try:
            return await self._rules.reservations.reserve_alone(ask)
        except StoreUnavailable:
            return refusals.COUNTERS_UNAVAILABLE

    async def _extend(self) -> Full | None:
        """Hold another slice, a smaller one where there is less. While the store is gone a stream goes on."""
        size = min(max(self._held, SMALLEST_SLICE), LARGEST_SLICE)
        while True:
            answer = await self._more(size)
            if not isinstance(answer, Full):
                self._held += size
                return None
            if size == 1:
                return answer
            size = max(1, size // SMALLEST_SLICE)

    async def _more(self, output_tokens: int) -> Granted | Full | None:
        more, held = self._size.amounts(self._held + output_tokens), self._size.amounts(self._held)
        try:
            by = Amounts(more.tokens - held.tokens, more.nanos - held.nanos)
            return await self._rules.reservations.extend(self._event_id, by)
        except StoreUnavailable:
            self.alone = True
            return None

    def _fitting(self, full: Full, output: int) -> int:
        """The most output tokens for which there is room in the limit that was full."""
        limit = self._limits[full.position]
        room = limit.maximum - full.level.settled - full.level.held
        if limit.measure is Measure.TOKENS:
            return room - self._size.input_tokens
        if limit.measure is Measure.SPEND:
            prompt, whole = self._size.amounts(0).nanos, self._size.amounts(output).nanos
            return (room - prompt) * output // (whole - prompt) if whole > prompt else 0
        return 0

    def _worth_waiting(self, full: Full) -> bool:
        limit = self._limits[full.position]
        return limit.measure in {Measure.SPEND, Measure.TOKENS} and full.only_held(limit.maximum)

    def _refusal(self, full: Full, known: limits.Names) -> Refusal:
        status = self._rules.budget_exceeded_status
        return limits.refusal(self._limits[full.position], full, known, self._rules.now(), status)
