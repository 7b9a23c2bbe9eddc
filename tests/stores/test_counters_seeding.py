"""Counters beside a ledger: whatever is lost, repeated or overtaken, a counter knows what the ledger has, or nothing.

An exchange that is counted on a counter is there exactly once at any time, whatever the ledger has of it already. One
that is not, since the store was lost or its limit is new, may be there when the ledger has it, and is there when the
store was told. The moment stands still, so that nothing is forgotten.
"""

from __future__ import annotations

import msgspec
from counting import KEY, NOW, TEAM, SideBySide, budget, places, rpm, run, share, tpm
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from running_redis import RunningRedis

from extproc.holds import Amounts, Ask, Booking, Granted, Level, Limit, Measure, Span
from extproc.stores.counters import SEEDING_MS
from extproc.stores.counters_memory import MemoryCounters

PLENTY = 10**6
LIMITS = (budget(PLENTY), budget(PLENTY, TEAM, since=0, until=None), rpm(PLENTY), tpm(PLENTY), places(PLENTY))
COUNTED = tuple(limit for limit in LIMITS if limit.span is not Span.GAUGE)
some_limits = st.lists(st.sampled_from(LIMITS), unique=True, min_size=1).map(tuple)
amounts = st.builds(Amounts, st.integers(0, 9), st.integers(0, 9))
one_counter = st.sampled_from(COUNTED)


class Exchange(msgspec.Struct):
    """What is true of one: what it holds or has used, whether the store knows of it and of its request, what the ledger
    has, and whether the store was told."""

    limits: tuple[Limit, ...]
    amounts: Amounts
    settled: bool = False
    known: bool = True
    request: bool = True
    ledger: Amounts | None = None
    told: bool = False

    def on(self, limit: Limit) -> bool:
        return self.known and limit.counter in {each.counter for each in self.limits}

    def in_store(self, limit: Limit) -> int:
        if limit.measure is Measure.PARALLEL:
            return int(not self.settled)
        return share(limit, self.amounts) * (self.request or limit.measure is not Measure.REQUESTS)

    def in_ledger(self, limit: Limit) -> int:
        return share(limit, self.ledger) if self.ledger is not None else 0


class Ledgered(SideBySide):
    """The ledger is the truth; the stores follow it."""

    server: RunningRedis

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: dict[str, Exchange] = {}
        #: What was set by hand.
        self.by_hand = dict.fromkeys((limit.counter for limit in COUNTED), 0)
        #: The token, what is to be left out, what was read.
        self.reading: dict[str, tuple[str, frozenset[str], int | None]] = {}
        #: Exchanges of which the store knows that they are booked.
        self.remembered: set[str] = set()

    def named(self, *, settled: bool | None = None, ledger: bool | None = None, told: bool | None = False) -> list[str]:
        return [
            name
            for name, exchange in self.exchanges.items()
            if settled in {None, exchange.settled}
            and ledger in {None, exchange.ledger is not None}
            and told in {None, exchange.told}
        ]

    def _settle(self, event: str, used: Amounts) -> None:
        self.both(lambda store: store.settle(event, used, NOW))
        self.exchanges[event].settled, self.exchanges[event].amounts = True, used

    def _tell(self, event: str, used: Amounts, *, new: bool) -> None:
        self.both(lambda store: store.booked([Booking(event, used, (KEY, TEAM), new)], NOW))
        self.exchanges[event].told = True
        self.remembered.add(event)

    def ledger_says(self, limit: Limit, without: frozenset[str] = frozenset()) -> int:
        booked = (each.in_ledger(limit) for name, each in self.exchanges.items() if name not in without)
        return self.by_hand[limit.counter] + sum(booked)

    # -- exchanges -----------------------------------------------------------------------------------------------------

    @rule(limits=some_limits, asked=amounts)
    def reserve(self, limits: tuple[Limit, ...], asked: Amounts) -> None:
        ask = Ask(next(self.names), limits, asked)
        if isinstance(self.both(lambda store: store.reserve(ask, NOW)), Granted):
            self.exchanges[ask.event_id] = Exchange(limits, asked)

    @precondition(lambda self: self.named(settled=False, ledger=False))
    @rule(data=st.data(), by=amounts)
    def extend(self, data: st.DataObject, by: Amounts) -> None:
        event = data.draw(st.sampled_from(self.named(settled=False, ledger=False)))
        self.both(lambda store: store.extend(event, by, NOW))
        held = self.exchanges[event].amounts
        self.exchanges[event].amounts = Amounts(held.tokens + by.tokens, held.nanos + by.nanos)

    @precondition(lambda self: self.named(settled=False, ledger=False))
    @rule(data=st.data(), used=amounts)
    def settle(self, data: st.DataObject, used: Amounts) -> None:
        self._settle(data.draw(st.sampled_from(self.named(settled=False, ledger=False))), used)

    @rule()
    def renew(self) -> None:
        alive = self.named(settled=False, ledger=False)
        asks = [Ask(name, self.exchanges[name].limits, self.exchanges[name].amounts) for name in alive]
        self.both(lambda store: store.renew(asks, NOW))
        for name in alive:
            exchange = self.exchanges[name]
            exchange.request = exchange.request and exchange.known
            exchange.known = True

    # -- the ledger ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.named(ledger=False))
    @rule(data=st.data(), other=st.none() | amounts)
    def commit(self, data: st.DataObject, other: Amounts | None) -> None:
        """The ledger has it: what was settled, or, in a race with whoever took it for an orphan, something else."""
        exchange = self.exchanges[data.draw(st.sampled_from(self.named(ledger=False)))]
        exchange.ledger = other or exchange.amounts

    @precondition(lambda self: self.named(ledger=True))
    @rule(data=st.data(), new=st.booleans(), again=st.booleans())
    def tell(self, data: st.DataObject, new: bool, again: bool) -> None:
        event = data.draw(st.sampled_from(self.named(ledger=True)))
        exchange = self.exchanges[event]
        used = exchange.ledger if new or not exchange.settled else exchange.amounts
        assert used is not None
        for _ in range(1 + again):
            self._tell(event, used, new=new)

    @precondition(lambda self: self.remembered)
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(sorted(self.remembered)))
        self.both(lambda store: store.renew([Ask(event, LIMITS, Amounts(5, 5))], NOW))
        self.both(lambda store: store.settle(event, Amounts(6, 6), NOW))

    @rule(limit=one_counter, to=st.integers(0, 9))
    def set_by_hand(self, limit: Limit, to: int) -> None:
        self.by_hand[limit.counter] += to - self.ledger_says(limit)
        self.both(lambda store: store.unseed(limit.scope))

    # -- seeding -------------------------------------------------------------------------------------------------------

    @rule(limit=one_counter, patience=st.sampled_from([0, SEEDING_MS]))
    def begin_seed(self, limit: Limit, patience: int = SEEDING_MS) -> None:
        token = f"token-{next(self.names)}"
        unbooked = self.both(lambda store: store.begin_seed(limit, token, NOW + patience))
        if unbooked is not None:
            self.reading[limit.counter] = token, unbooked, None

    @rule(limit=one_counter)
    def read_ledger(self, limit: Limit) -> None:
        if limit.counter in self.reading:
            token, unbooked, _ = self.reading[limit.counter]
            self.reading[limit.counter] = token, unbooked, self.ledger_says(limit, unbooked)

    @rule(limit=one_counter)
    def finish_seed(self, limit: Limit) -> None:
        token, _, read = self.reading.get(limit.counter, ("", frozenset(), None))
        if read is not None:
            self.both(lambda store: store.finish_seed(limit, token, [(NOW, read)], NOW))
            del self.reading[limit.counter]

    @rule()
    def seed(self) -> None:
        """What usually happens: nothing comes between."""
        levels = self.both(lambda store: store.levels(COUNTED, NOW))
        for limit in (limit for limit, level in zip(COUNTED, levels, strict=True) if level is None):
            self.begin_seed(limit)
            self.read_ledger(limit)
            self.finish_seed(limit)

    @rule()
    def lose_the_store(self) -> None:
        self.memory = MemoryCounters(lambda: NOW)
        self.server.client.flushall()
        self.remembered.clear()
        for name in self.named():
            self.exchanges[name].known = False

    # -- what is true at any time --------------------------------------------------------------------------------------

    @invariant()
    def a_counter_knows_what_is_true_or_nothing(self) -> None:
        for limit, level in zip(LIMITS, self.both(lambda store: store.levels(LIMITS, NOW)), strict=True):
            if level is not None:
                least, most = self._bounds(limit)
                assert least <= level.settled + level.held <= most

    def _bounds(self, limit: Limit) -> tuple[int, int]:
        least = most = self.by_hand.get(limit.counter, 0)
        gauge = limit.span is Span.GAUGE
        for exchange in self.exchanges.values():
            booked = 0 if gauge else exchange.in_ledger(limit)
            if exchange.on(limit) and not exchange.told:
                least += exchange.in_store(limit)
                most += exchange.in_store(limit)
            else:
                least += booked if exchange.told else 0
                most += booked
        return least, most

    @rule()
    def end_everything(self) -> None:
        """When all exchanges are over and the store was told, counters and ledger say the same."""
        for name in self.named(settled=False, ledger=False):
            self._settle(name, self.exchanges[name].amounts)
        for name in self.named():
            exchange = self.exchanges[name]
            exchange.ledger = exchange.ledger or exchange.amounts
            self._tell(name, exchange.ledger, new=True)
        self.seed()
        expected = [Level(self.ledger_says(limit), 0) for limit in COUNTED]
        assert self.both(lambda store: store.levels(COUNTED, NOW)) == expected


def test_counters_follow_the_ledger_on_every_trace(redis_server):
    Ledgered.server = redis_server
    run(Ledgered, redis_server.url, traces=80, steps=50)
