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

from extproc.admitted import Admitted
from extproc.bodies.response import ResponseBody
from extproc.errors import StoreUnavailable
from extproc.holds import Amounts, Ask, Full, Granted, Level, Limit, Measure
from extproc.model import EndUser, Nanos, Tag, UnixMs, Usage
from extproc.policy import limits, outages, refusals
from extproc.policy.expectation import Expectations, Expected
from extproc.policy.limits import House
from extproc.policy.met import Meetings, Met
from extproc.policy.outages import OnOutage
from extproc.policy.refusals import Refusal

#: Output tokens that a stream holds more at a time: as many as it holds already, within these bounds.
SMALLEST_SLICE, LARGEST_SLICE = 16, 1_024
#: A stream ends when so many of the tokens that it holds are left and there are no more, or as many as its provider
#: generates in so many milliseconds: what is generated before the end is heard of must be held, too.
STOP_TOKENS, STOP_MS = 4, 80
#: It asks for more so many tokens before it would have to end, or as many as are generated while one would wait.
MARGIN_TOKENS, MOST_MARGIN_TOKENS = 16, 256
#: What a stream holds beyond the answer that is expected, so that one which is as long need not ask once more near its
#: end: the margin at 70 tokens a second.
AHEAD_TOKENS = 32
#: For so long a provider goes on before it hears that its stream has ended (measured: 26 ms at 50 tokens a second).
UNSEEN_MS = 30
#: A pace is not believed before the exchange has lasted so long.
PACE_MS = 200
#: Between two questions of one who waits.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.05
#: More than any model answers.
LARGEST_ANSWER = 2**31
#: Measures for which an exchange's size matters.
_SIZED = frozenset({Measure.TOKENS, Measure.SPEND})
#: Whoever knows nothing of an answer takes one part in so many of what there is: others know as little.
COLD_SHARE = 2
#: How often an ask may be cut down to what there is.
_FITTINGS = 6


class Reserves(Protocol):
    """Who is asked; see `stores.reservations.Reservations`."""

    async def reserve(self, ask: Ask) -> Granted | Full: ...

    async def reserve_alone(self, ask: Ask) -> Granted | Full: ...

    async def extend(self, event_id: str, by: Amounts) -> Granted | Full: ...

    async def settle(self, event_id: str, used: Amounts) -> None: ...

    def withdraw(self, event_id: str) -> None: ...


class Rules(msgspec.Struct, frozen=True):
    """What every reservation of this process shares. `wait_ms` is how long an exchange waits for holds of others."""

    reservations: Reserves
    expectations: Expectations
    now: Callable[[], UnixMs]
    on_outage: OnOutage = OnOutage.REFUSE
    wait_ms: int = 300
    budget_exceeded_status: int = 422
    meetings: Meetings = msgspec.field(default_factory=Meetings)


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


def of(
    rules: Rules, house: House, admitted: Admitted, end_user: EndUser | None, tags: tuple[Tag, ...]
) -> Reservation | None:
    """The reservation of an exchange, nothing asked yet; `None` for one that meets no limit."""
    met = rules.meetings.of(
        house, admitted.key, admitted.facts.model, admitted.route.deployment, end_user, tags, admitted.started_at
    )
    return Reservation(rules, admitted, met) if met.limits else None


class Reservation:
    """`admit`, then `follow` while it streams, then `settle`."""

    def __init__(self, rules: Rules, admitted: Admitted, met: Met) -> None:
        self._rules = rules
        self._admitted = admitted
        self._who = met.who
        self._limits = met.limits
        sized = any(limit.measure in _SIZED for limit in met.limits)
        self._size = Size(admitted.prompt.tokens() if sized else 0, admitted.facts.stream, admitted.cost)
        self._held = 0
        self._stop, self._margin = STOP_TOKENS, STOP_TOKENS + MARGIN_TOKENS
        self._granted: Granted | None = None
        #: Whether the counters were gone, and this process counts for itself.
        self.alone = False
        self._unsure = False

    async def follow(self, body: ResponseBody) -> Refusal | None:
        """A body has grown: let it go on, hold more for it, or say why it must end. Counts exactly only where it must.

        Nothing waits here: while a chunk is held back the provider goes on. A stream asks early instead, and with every
        chunk again, until what it holds is used up.
        """
        if not self._size.stream or body.progress + self._margin <= self._held:
            return None
        return await self.grow(body.seen_tokens())

    def unseen(self, seen: int) -> int:
        """Output tokens that a stream which ends after `seen` has cost beyond them: generated, but not yet here."""
        elapsed = max(1, self._rules.now() - self._admitted.started_at)
        return max(0, min(1 + seen * UNSEEN_MS // elapsed, self._held - seen))

    def learn(self, usage: Usage) -> None:
        """What the answer turned out to be."""
        admitted = self._admitted
        self._rules.expectations.observe(admitted.key.digest, admitted.facts.model, usage.output_tokens)

    @property
    def left(self) -> tuple[tuple[Limit, int], ...]:
        """Each limit with what is left of it for others."""
        if self._granted is None:
            return ()
        held = self._size.amounts(self._held)
        own = {Measure.TOKENS: held.tokens, Measure.SPEND: held.nanos}
        return tuple(
            [
                (limit, max(0, limit.maximum - level.settled - level.held - own.get(limit.measure, 1)))
                for limit, level in zip(self._limits, self._granted.levels, strict=True)
            ]
        )

    @property
    def over(self) -> tuple[Limit, ...]:
        """The limits that are not enforced and were exceeded."""
        return tuple(self._limits[position] for position in self._granted.over) if self._granted else ()

    async def admit(self) -> Refusal | None:
        """Reserve, or say why not. Whoever is refused, or hangs up before the answer, holds nothing."""
        try:
            refusal = await self._admit()
        except BaseException:
            self.withdraw()
            raise
        if refusal is not None and self._unsure:
            self.withdraw()
        return refusal

    def withdraw(self) -> None:
        """Nothing became of the exchange, and nothing is booked for it. Never raises, never waits."""
        self._rules.reservations.withdraw(self._admitted.event_id)

    async def _admit(self) -> Refusal | None:
        deadline = self._rules.now() + self._rules.wait_ms
        pause = FIRST_PAUSE_SECONDS
        while True:
            # Asked anew each time: whoever was waited for has shown meanwhile how long answers are.
            answer = await self._ask(self._expected())
            if not isinstance(answer, Full):
                return answer
            if not self._worth_waiting(answer) or self._rules.now() >= deadline:
                return self._refusal(answer)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def grow(self, output_tokens: int) -> Refusal | None:
        """A stream is about to have this many output tokens: hold enough to go on, or say why it must end."""
        self._learn_pace(output_tokens)
        full = None
        while output_tokens + self._margin > self._held and full is None:
            full = await self._extend()
        if full is None or output_tokens + self._stop <= self._held:
            return None
        return self._refusal(self._without_own(full))

    async def settle(self, usage: Usage, spend: Nanos | None) -> None:
        """Give back what was held, count what was used. Never raises."""
        await self._rules.reservations.settle(self._admitted.event_id, Amounts(usage.total_tokens, spend or 0))

    # ------------------------------------------------------------------------------------------------------------------

    async def _ask(self, expected: Expected) -> Full | Refusal | None:
        """Ask for what is expected and, where that is a guess, for what there is instead.

        Whoever guesses would be content with the least, so in the end that is what there was no room for.
        """
        cold = not expected.learned and not self._size.stream
        share = COLD_SHARE if cold else 1
        output = min(expected.tokens, self._most() // share) if expected.guessed else expected.tokens
        least = min(output, SMALLEST_SLICE) if self._size.stream or cold else output
        for fittings_left in range(_FITTINGS, -1, -1):
            answer = await self._reserve(output)
            if not isinstance(answer, Full):
                return answer
            full = answer
            if output == least:
                break
            fitting = self._fitting(full, output) // share
            output = fitting if fittings_left > 1 and least <= fitting < output else least
        asked = limits.asked_of(self._limits[full.position], self._size.amounts(least))
        return msgspec.structs.replace(full, asked=asked)

    def _most(self) -> int:
        """The most output tokens that the limits could ever hold: nobody is expected to need more than there can be."""
        tokens = [limit.maximum - self._size.input_tokens for limit in self._limits if limit.measure is Measure.TOKENS]
        rate = self._size.amounts(1_000).nanos - self._size.amounts(0).nanos
        if rate > 0:
            prompt = self._size.amounts(0).nanos
            spend = (limit.maximum - prompt for limit in self._limits if limit.measure is Measure.SPEND)
            tokens += [room * 1_000 // rate for room in spend]
        return max(0, min(tokens, default=LARGEST_ANSWER))

    async def _reserve(self, output: int) -> Full | Refusal | None:
        amounts = self._size.amounts(output)
        answer = await self._question(Ask(self._admitted.event_id, self._limits, amounts, self._draft()))
        if isinstance(answer, Granted):
            self._granted, self._held = answer, output
            return None
        return answer

    async def _question(self, ask: Ask) -> Granted | Full | Refusal | None:
        """The answer, this process's own in an outage; `None` where nobody knows and nothing refuses."""
        try:
            return await self._rules.reservations.reserve(ask)
        except StoreUnavailable as outage:
            # It may have heard the question, and hold what nobody knows of.
            self._unsure = self._unsure or outage.asked
            limited = any(limit.enforced for limit in self._limits)
            refusal = outages.verdict(outages.Store.COUNTERS, self._rules.on_outage, limited=limited)
        if refusal is not None:
            return refusal
        self.alone = True
        try:
            return await self._rules.reservations.reserve_alone(ask)
        except StoreUnavailable:
            return refusals.COUNTERS_UNAVAILABLE if limited else None

    async def _extend(self) -> Full | None:
        """Hold another slice, a smaller one where there is less. While the store is gone a stream goes on."""
        size = min(max(self._held, SMALLEST_SLICE), LARGEST_SLICE)
        while True:
            answer = await self._more(size)
            if not isinstance(answer, Full):
                self._held += size
                return None
            fitting = self._fitting_more(answer, size)
            if not 0 < fitting < size:
                return answer
            size = fitting

    def _learn_pace(self, output_tokens: int) -> None:
        """How fast the provider is decides how early to ask, and how early to stop."""
        elapsed = self._rules.now() - self._admitted.started_at
        if elapsed < PACE_MS:
            return
        self._stop = STOP_TOKENS + min(output_tokens * STOP_MS // elapsed, MOST_MARGIN_TOKENS)
        waited = min(output_tokens * self._rules.wait_ms // elapsed, MOST_MARGIN_TOKENS)
        self._margin = self._stop + max(MARGIN_TOKENS, waited)

    async def _more(self, output_tokens: int) -> Granted | Full | None:
        more, held = self._size.amounts(self._held + output_tokens), self._size.amounts(self._held)
        try:
            by = Amounts(more.tokens - held.tokens, more.nanos - held.nanos)
            return await self._rules.reservations.extend(self._admitted.event_id, by)
        except StoreUnavailable:
            self.alone = True
            return None

    def _without_own(self, full: Full) -> Full:
        """The same with what this exchange holds as if it were used: it will not be given back."""
        own = limits.asked_of(self._limits[full.position], self._size.amounts(self._held))
        level = Level(full.level.settled + own, max(0, full.level.held - own))
        return msgspec.structs.replace(full, level=level)

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

    def _fitting_more(self, full: Full, size: int) -> int:
        """The most output tokens to hold beside the prompt and what is held already, of `size` that did not fit."""
        limit = self._limits[full.position]
        room = limit.maximum - full.level.settled - full.level.held
        return room * size // full.asked if full.asked > 0 and limit.measure in _SIZED else 0

    def _worth_waiting(self, full: Full) -> bool:
        limit = self._limits[full.position]
        return limit.measure in {Measure.SPEND, Measure.TOKENS} and full.only_held(limit.maximum)

    def _refusal(self, full: Full) -> Refusal:
        known = limits.names(self._who, self._admitted.facts.model)
        status = self._rules.budget_exceeded_status
        return limits.refusal(self._limits[full.position], full, known, self._rules.now(), status)

    def _expected(self) -> Expected:
        """Output tokens to reserve. What cannot be stopped may use all that its client allows."""
        facts = self._admitted.facts
        if facts.max_output_tokens is not None and not facts.stream:
            return Expected(facts.max_output_tokens, learned=True, guessed=False)
        known = self._admitted.route.deployment.model_info.get("max_output_tokens")
        ceilings = [facts.max_output_tokens, known if isinstance(known, int) else None]
        ceiling = min((each for each in ceilings if each is not None), default=None)
        told = self._rules.expectations.expect(self._admitted.key.digest, facts.model, ceiling, stream=facts.stream)
        if facts.stream and told.learned:
            return msgspec.structs.replace(told, tokens=told.tokens + AHEAD_TOKENS)
        return told

    def _draft(self) -> bytes:
        """What is needed to book the exchange if this process dies: its receipt, as far as it is known."""
        usage = Usage(input_tokens=self._size.input_tokens)
        moment, spend = self._admitted.started_at, self._admitted.cost(usage)
        receipt = self._admitted.receipt(None, usage, spend, ended_at=moment, http_status=0, estimated=True, cut=True)
        return msgspec.msgpack.encode(receipt)
