"""One counter in memory, and an exchange that is counted on several: the arithmetic of the counters in this process.

A rolling counter keeps its settled part in steps of `STEP_MS`, the oldest first, so that forgetting takes whole steps
from one end. Only `ROLLING_MS / STEP_MS + 1` of them are ever younger than a rolling window.

`seed` is the token with which the settled part was read from the ledger, empty while it is unknown. An exchange notes
the seed under which it was counted: where that is another one later, the settled part was read anew in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from extproc.holds import ROLLING_MS, STEP_MS, Amounts, Ask, Booking, Full, Granted, Level, Limit, Measure, Span
from extproc.model import UnixMs
from extproc.stores.counters import BOOKING_MS, LEASE_MS, SEEDING_MS

_STEPS = ROLLING_MS // STEP_MS
_REQUESTS, _TOKENS, _PARALLEL, _SPEND = range(4)
#: Where an exchange's share of a counter stands in what is asked, held and used.
_PLACES = {
    Measure.REQUESTS: _REQUESTS,
    Measure.TOKENS: _TOKENS,
    Measure.PARALLEL: _PARALLEL,
    Measure.SPEND: _SPEND,
}
#: A gauge has nothing to read: it is always seeded.
_GAUGE = "gauge"


class Tally:
    """One counter. `held` belongs to open exchanges. What settled ones used that are not booked is `fresh` where the
    settled part has it too, `kept` where it stands beside it. `users` are the exchanges on it that are not booked.

    While it is unseeded its settled part is what was booked since somebody began to read the ledger.
    """

    __slots__ = (
        *("begun_at", "fresh", "held", "kept", "place", "seed", "settled", "span", "steps", "token", "touched"),
        "users",
    )

    def __init__(self, limit: Limit, now: UnixMs) -> None:
        self.place = _PLACES[limit.measure]
        self.span = limit.span
        self.seed = _GAUGE if limit.span is Span.GAUGE else ""
        self.token = ""
        self.settled = self.held = self.fresh = self.kept = 0
        self.users: set[str] = set()
        self.steps: deque[list[int]] = deque()
        self.touched = self.begun_at = now

    def level(self, now: UnixMs) -> Level:
        self.forget(now)
        return Level(self.settled if self.seed else 0, self.held + self.kept)

    def forget(self, now: UnixMs) -> None:
        """Drop the steps that ended `ROLLING_MS` ago."""
        steps, oldest = self.steps, now // STEP_MS - _STEPS
        while steps and steps[0][0] < oldest:
            self.settled -= steps.popleft()[1]

    def use(self, amount: int, moment: UnixMs, now: UnixMs) -> None:
        """Add what was used at that moment to the settled part."""
        if self.span is Span.ROLLING:
            step = moment // STEP_MS
            if not amount or step < now // STEP_MS - _STEPS:
                return
            self._add(step, amount)
        self.settled += amount

    def settle(self, used: int, now: UnixMs) -> None:
        """An exchange has used so much, and is not booked."""
        if self.seed:
            self.use(used, now, now)
            self.fresh += used
        else:
            self.kept += used

    def drop(self, used: int, seed: str) -> bool:
        """Forget what was settled under this seed. Whether the settled part has it."""
        if seed and seed == self.seed:
            self.fresh -= used
            return True
        self.kept -= used
        return False

    def unseed(self) -> None:
        """Forget what the ledger said, and who is reading it. What is not booked stays."""
        if self.span is Span.GAUGE:
            return
        self.kept += self.fresh
        self.fresh = 0
        self.seed = self.token = ""
        self._empty()

    def begin_seed(self, token: str, now: UnixMs) -> bool:
        """Whether the ledger is to be read: not where it has been, nor where somebody else began a moment ago."""
        if self.seed or (self.token and now < self.begun_at + SEEDING_MS):
            return False
        self.token, self.begun_at = token, now
        self._empty()
        return True

    def finish_seed(self, settled: Iterable[tuple[UnixMs, int]], now: UnixMs) -> None:
        """Add what the ledger says."""
        self.seed, self.token = self.token, ""
        for moment, amount in settled:
            self.use(amount, moment, now)

    def frees_at(self, limit: Limit, asked: int) -> UnixMs | None:
        """When what was asked fits; see `Full`."""
        if asked > limit.maximum or self.settled + asked <= limit.maximum:
            return None
        if self.span is Span.WINDOW:
            return limit.until
        excess = self.settled + self.held + self.kept + asked - limit.maximum
        for step, amount in self.steps:
            excess -= amount
            if excess <= 0:
                return (step + _STEPS + 1) * STEP_MS
        return None

    def _empty(self) -> None:
        self.settled = 0
        self.steps.clear()

    def _add(self, step: int, amount: int) -> None:
        """Steps stay in order, in whatever order moments come."""
        place = len(self.steps)
        while place and self.steps[place - 1][0] > step:
            place -= 1
        if place and self.steps[place - 1][0] == step:
            self.steps[place - 1][1] += amount
        else:
            self.steps.insert(place, [step, amount])


def asked_by(amounts: Amounts) -> tuple[int, int, int, int]:
    """What a reservation asks of a counter of each measure: at least one, so that nothing fits into what is full."""
    return (1, amounts.tokens or 1, 1, amounts.nanos or 1)


def measured(
    limits: Sequence[Limit], met: Sequence[Tally], asked: tuple[int, int, int, int], now: UnixMs
) -> Granted | Full:
    """Whether what is asked fits into every limit; of whom nothing is asked, or nothing is known, is not full."""
    levels, over = [], []
    for position, limit in enumerate(limits):
        tally = met[position]
        if tally.steps:
            tally.forget(now)
        level = Level(tally.settled if tally.seed else 0, tally.held + tally.kept)
        levels.append(level)
        share = asked[tally.place]
        if share and tally.seed and level.settled + level.held + share > limit.maximum:
            if limit.enforced:
                return Full(position, level, share, tally.frees_at(limit, share))
            over.append(position)
    return Granted(tuple(levels), tuple(over))


class Exchange:
    """An exchange that is not booked: it holds `amounts`, or has used them once it is `settled`.

    `met` are the counters of its limits, `tallies` the same ones once each, `seeds` what those were seeded with when it
    was counted on their settled part. `request` is whether its request is on the counters of requests.
    """

    __slots__ = (
        *("amounts", "deadline", "draft", "limits", "met", "moment", "opened_at", "request", "seeds", "settled"),
        "tallies",
    )

    def __init__(self, ask: Ask, met: Sequence[Tally], now: UnixMs, *, request: bool) -> None:
        self.limits = ask.limits
        self.met = met
        self.tallies = tuple(dict.fromkeys(met))
        self.amounts = ask.amounts
        self.draft = ask.draft
        self.request = request
        self.settled = False
        self.opened_at = self.moment = now
        self.deadline = now + LEASE_MS
        self.seeds = []
        shares = (0, ask.amounts.tokens, 1, ask.amounts.nanos)
        for tally in self.tallies:
            tally.users.add(ask.event_id)
            tally.held += shares[tally.place]
            self.seeds.append(tally.seed if request else "")
            if not tally.seed:
                # Whoever reads the ledger for this counter does not know of this exchange.
                tally.token = ""
            if request and not tally.place:
                tally.settle(1, now)

    def hold(self, tokens: int, nanos: int) -> None:
        """Hold so much more."""
        shares = (0, tokens, 0, nanos)
        for tally in self.tallies:
            tally.held += shares[tally.place]
        self.amounts = Amounts(self.amounts.tokens + tokens, self.amounts.nanos + nanos)

    def hold_at_least(self, amounts: Amounts) -> None:
        self.hold(max(0, amounts.tokens - self.amounts.tokens), max(0, amounts.nanos - self.amounts.nanos))

    def forget_request(self, now: UnixMs) -> None:
        """Take a request off again that no rolling window can see any more."""
        if self.request and not self._recent(self.opened_at, now):
            self.request = False
            for tally, seed in zip(self.tallies, self.seeds, strict=True):
                if not tally.place:
                    tally.drop(1, seed)

    def settle(self, used: Amounts, now: UnixMs) -> None:
        """Give back what is held, count what was used."""
        self._release()
        shares = (None, used.tokens, None, used.nanos)
        for position, tally in enumerate(self.tallies):
            tally.touched = now
            if (share := shares[tally.place]) is not None:
                tally.settle(share, now)
                self.seeds[position] = tally.seed
        self.settled, self.amounts, self.moment = True, used, now
        self.deadline = now + BOOKING_MS

    def book(self, booking: Booking, now: UnixMs) -> None:
        """The ledger has it. Where that is not what was counted, the counters must be read anew."""
        truth = booking.new and (not self.settled or booking.used == self.amounts)
        if not self.settled:
            self._release()
            self.moment = now
        for tally, seed in zip(self.tallies, self.seeds, strict=True):
            tally.users.discard(booking.event_id)
            tally.touched = now
            if tally.place != _PARALLEL:
                self._book(tally, seed, booking.used, now, truth=truth)

    def _book(self, tally: Tally, seed: str, used: Amounts, now: UnixMs, *, truth: bool) -> None:
        moment = self.moment if tally.place else self.opened_at
        there = False
        if not tally.place:
            there = tally.drop(int(self.request), seed)
        elif self.settled:
            there = tally.drop((0, self.amounts.tokens, 0, self.amounts.nanos)[tally.place], seed)
        if truth and not there:
            # Whoever read the ledger, or reads it, has left it out.
            tally.use((1, used.tokens, 0, used.nanos)[tally.place], moment, now)
        elif not truth and (tally.span is not Span.ROLLING or self._recent(moment, now)):
            tally.unseed()

    def _release(self) -> None:
        shares = (0, self.amounts.tokens, 1, self.amounts.nanos)
        for tally in self.tallies:
            tally.held -= shares[tally.place]

    @staticmethod
    def _recent(moment: UnixMs, now: UnixMs) -> bool:
        """Whether a rolling window may still see that moment."""
        return now < moment + ROLLING_MS + STEP_MS
