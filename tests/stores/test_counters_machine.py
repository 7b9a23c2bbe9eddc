"""Memory and Redis side by side, held against a model that is a list of events: on every trace all three agree.

Every counter is seeded here, and every booking says what was settled; what seeding adds is in
`test_counters_seeding.py`. In each trace the clock only goes forward.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from counting import TEAM, SideBySide, budget, places, rpm, run, share, tpm
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from extproc.holds import ROLLING_MS, STEP_MS, Amounts, Ask, Booking, Full, Granted, Level, Limit, Measure, Span
from extproc.stores.counters import LEASE_MS

LIMITS = (
    budget(40),
    budget(25, enforced=False),
    budget(60, TEAM, since=0, until=None),
    rpm(4),
    tpm(20),
    tpm(30, TEAM),
    msgspec.structs.replace(budget(90, TEAM), measure=Measure.TOKENS),
    places(3),
)
some_limits = st.lists(st.sampled_from(LIMITS), unique=True, max_size=len(LIMITS)).map(tuple)
amounts = st.builds(Amounts, st.integers(0, 12), st.integers(0, 15))
moments = st.sampled_from([0, 1, 37, STEP_MS - 1, STEP_MS, 2_500, 15_000, LEASE_MS, ROLLING_MS - 1, ROLLING_MS])


class Exchange(msgspec.Struct):
    """What the model knows of one."""

    limits: tuple[Limit, ...]
    amounts: Amounts
    deadline: int
    settled: bool = False


class Model:
    """What was used when, and who holds what."""

    def __init__(self) -> None:
        self.used: list[tuple[int, str, int]] = []
        self.unbooked: dict[str, Exchange] = {}

    def level(self, limit: Limit, now: int) -> Level:
        return Level(self._settled(limit, now), self._held(limit))

    def reserve(self, ask: Ask, now: int) -> Granted | Full:
        answer = self._ask(ask.limits, ask.amounts, now, at_least=1)
        if isinstance(answer, Granted):
            self.unbooked[ask.event_id] = Exchange(ask.limits, ask.amounts, now + LEASE_MS)
            self._use(ask.limits, ask.amounts, now, {Measure.REQUESTS})
        return answer

    def extend(self, event_id: str, by: Amounts, now: int) -> Granted | Full:
        exchange = self.unbooked[event_id]
        exchange.deadline = now + LEASE_MS
        answer = self._ask(exchange.limits, by, now, at_least=0)
        if isinstance(answer, Granted):
            held = exchange.amounts
            exchange.amounts = Amounts(held.tokens + by.tokens, held.nanos + by.nanos)
        return answer

    def settle(self, event_id: str, used: Amounts, now: int) -> None:
        exchange = self.unbooked[event_id]
        exchange.settled, exchange.amounts = True, used
        self._use(exchange.limits, used, now, {Measure.TOKENS, Measure.SPEND})

    def _ask(self, limits: tuple[Limit, ...], asked: Amounts, now: int, *, at_least: int) -> Granted | Full:
        levels = tuple(self.level(limit, now) for limit in limits)
        over = []
        for position, (limit, level) in enumerate(zip(limits, levels, strict=True)):
            wanted = max(share(limit, asked), at_least)
            if not at_least and limit.measure in {Measure.REQUESTS, Measure.PARALLEL}:
                wanted = 0
            if not wanted or level.settled + level.held + wanted <= limit.maximum:
                continue
            if limit.enforced:
                return Full(position, level, wanted, self._frees_at(limit, level, wanted, now))
            over.append(position)
        return Granted(levels, tuple(over))

    def _frees_at(self, limit: Limit, level: Level, wanted: int, now: int) -> int | None:
        if wanted > limit.maximum or level.settled + wanted <= limit.maximum:
            return None
        if limit.span is Span.WINDOW:
            return limit.until
        for moment in sorted(forgotten(used) for used, counter, _ in self.used if counter == limit.counter):
            if moment > now and self._settled(limit, moment) + level.held + wanted <= limit.maximum:
                return moment
        return None

    def _settled(self, limit: Limit, now: int) -> int:
        rolling = limit.span is Span.ROLLING
        mine = ((moment, amount) for moment, counter, amount in self.used if counter == limit.counter)
        return sum(amount for moment, amount in mine if not rolling or now < forgotten(moment))

    def _held(self, limit: Limit) -> int:
        return sum(
            share(limit, exchange.amounts)
            for exchange in self.unbooked.values()
            if not exchange.settled
            and limit.measure is not Measure.REQUESTS
            and limit.counter in {each.counter for each in exchange.limits}
        )

    def _use(self, limits: tuple[Limit, ...], used: Amounts, now: int, measures: set[Measure]) -> None:
        counters = {limit.counter: limit for limit in limits if limit.measure in measures}
        self.used += [(now, counter, share(limit, used)) for counter, limit in counters.items()]


def forgotten(moment: int) -> int:
    """When a rolling window forgets what was used at that moment: with its step, and not before a minute."""
    return (moment // STEP_MS + 1) * STEP_MS + ROLLING_MS


class Counters(SideBySide):
    """Whatever happens, the stores answer as the model does."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.exceeded = False
        for limit in {limit.counter: limit for limit in LIMITS[:-1]}.values():
            self._seed(limit)

    def _seed(self, limit: Limit) -> None:
        assert self.both(lambda store: store.begin_seed(limit, "token", self.now)) == frozenset()
        assert self.both(lambda store: store.finish_seed(limit, "token", [], self.now))

    def open(self) -> list[str]:
        return [name for name, exchange in self.model.unbooked.items() if not exchange.settled]

    @rule(limits=some_limits, asked=amounts)
    def reserve(self, limits: tuple[Limit, ...], asked: Amounts) -> None:
        ask = Ask(next(self.names), limits, asked)
        answer = self.both(lambda store: store.reserve(ask, self.now))
        assert answer == self.model.reserve(ask, self.now)

    @precondition(lambda self: bool(self.open()))
    @rule(data=st.data(), by=amounts)
    def extend(self, data: st.DataObject, by: Amounts) -> None:
        event = data.draw(st.sampled_from(self.open()))
        answer = self.both(lambda store: store.extend(event, by, self.now))
        assert answer == self.model.extend(event, by, self.now)

    @precondition(lambda self: bool(self.open()))
    @rule(data=st.data(), part=st.sampled_from([0, 0.3, 1, 1.5]), again=st.booleans())
    def settle(self, data: st.DataObject, part: float, again: bool) -> None:
        event = data.draw(st.sampled_from(self.open()))
        held = self.model.unbooked[event].amounts
        used = Amounts(int(held.tokens * part), int(held.nanos * part))
        self.exceeded = self.exceeded or part > 1
        self.both(lambda store: store.settle(event, used, self.now))
        if again:
            self.both(lambda store: store.settle(event, held, self.now))
        self.model.settle(event, used, self.now)

    @precondition(lambda self: self.model.unbooked)
    @rule(data=st.data(), again=st.booleans())
    def book(self, data: st.DataObject, again: bool) -> None:
        event = data.draw(st.sampled_from(list(self.model.unbooked)))
        exchange = self.model.unbooked[event]
        booking = Booking(event, exchange.amounts, (), new=True)
        for _ in range(1 + again):
            self.both(lambda store: store.booked([booking], self.now))
        if not exchange.settled:
            self.model.settle(event, exchange.amounts, self.now)
        del self.model.unbooked[event]
        self.both(lambda store: store.renew([Ask(event, LIMITS, Amounts(9, 9))], self.now))

    @precondition(lambda self: bool(self.open()))
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(self.open()))
        exchange = self.model.unbooked[event]
        exchange.deadline = self.now + LEASE_MS
        self.both(lambda store: store.renew([Ask(event, exchange.limits, exchange.amounts)], self.now))

    @rule()
    def orphans(self) -> None:
        late = {name for name in self.open() if self.model.unbooked[name].deadline <= self.now}
        found = self.both(lambda store: store.orphans(99, self.now))
        assert {orphan.event_id for orphan in found if not orphan.settled} == late
        for name in late:
            self.model.unbooked[name].deadline = self.now + LEASE_MS

    @rule(by=moments)
    def wait(self, by: int) -> None:
        self.now += by

    @invariant()
    def levels_are_those_of_the_model(self) -> None:
        levels = self.both(lambda store: store.levels(LIMITS, self.now))
        assert levels == [self.model.level(limit, self.now) for limit in LIMITS]

    @invariant()
    def no_minute_has_more_than_a_limit(self) -> None:
        if not self.exceeded:
            for limit in LIMITS:
                if limit.span is Span.ROLLING:
                    assert max(self._minutes(limit), default=0) <= limit.maximum

    def _minutes(self, limit: Limit) -> Iterator[int]:
        """What was used in each minute that begins with a use of this limit."""
        used = [(moment, amount) for moment, counter, amount in self.model.used if counter == limit.counter]
        for start, _ in used:
            yield sum(amount for moment, amount in used if start <= moment <= start + ROLLING_MS)

    @invariant()
    def places_are_never_more_than_there_are(self) -> None:
        assert 0 <= self.model.level(LIMITS[-1], self.now).held <= LIMITS[-1].maximum

    @invariant()
    def places_come_back(self) -> None:
        if not self.open():
            assert self.both(lambda store: store.levels(LIMITS[-1:], self.now)) == [Level(0, 0)]


def test_memory_and_redis_answer_every_trace_as_the_model_does(redis_server):
    run(Counters, redis_server.url, traces=60, steps=40)
