"""What exchanges ask about limits, on top of a counter store: reserve, extend, settle, and whatever may go wrong.

* A counter that is unseeded is seeded from the ledger, once for all who wait for it.
* Open exchanges are remembered here and told to the store from time to time, so that their leases live, and so that a
  store that lost its memory learns again what is held: at once where an answer shows that it did.
* What the ledger has booked is told to the store, again and again until it has heard it. So is an exchange of which
  nothing became although the store may have heard of it (`withdraw`): a hold that nobody owns would be billed.
* Exchanges whose lease ran out, here or in another process that is gone, are booked by their estimate: what they held.
  After an outage nobody is taken for dead before they have had a lease's time to be heard again.

While the store is gone an exchange may be counted in this process alone (`reserve_alone`); whether it may is not
decided here. Those counters are made anew for every outage, and seeded from the ledger like any others. When the store
is back it is told of what is still going on, as of any exchange that it has forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from extproc.errors import StoreUnavailable
from extproc.holds import Amounts, Ask, Booking, Full, Granted, Limit, Orphan, Scope, Unseeded
from extproc.model import Receipt, UnixMs, Usage
from extproc.stores.contract import ReceiptSink
from extproc.stores.counters import LEASE_MS, CounterStore
from extproc.stores.deadline import within

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: In the time of a lease: how often leases are renewed, and how often ones that ran out are looked for.
RENEWALS, SWEEPS = 3, 6
#: Of how many exchanges the store is told, or asked, at a time.
AT_ONCE = 100
#: How long the ledger may take to say what a counter starts from: an exchange is waiting.
TRUTH_SECONDS = 2.0
#: How often an exchange looks whether a counter is seeded, and how long it waits where others are at it: in all as long
#: as these may take.
SEED_ATTEMPTS, SEED_PAUSE_SECONDS = 100, 0.02
#: Bookings that the store has not heard of yet; beyond them the oldest are left to the leases.
MAX_UNTOLD = 100_000

_drafts = msgspec.msgpack.Decoder(Receipt)


class Truth(Protocol):
    """What the ledger says a limit's counter should be."""

    def settled(
        self, limit: Limit, now: UnixMs, without: Collection[str]
    ) -> Coroutine[Any, Any, Sequence[tuple[UnixMs, int]]]: ...


class Reservations:
    """One for each process. `local` makes the counters of an outage. `scopes_of` tells what a receipt counts for.
    `lease_ms` is the store's own."""

    def __init__(
        self,
        counters: CounterStore,
        truth: Truth,
        *,
        now: Callable[[], UnixMs],
        own_clock: bool,
        local: Callable[[], CounterStore],
        scopes_of: Callable[[Receipt], tuple[Scope, ...]],
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._counters = counters
        self._truth = truth
        self._now = now
        self._own_clock = own_clock
        self._make_local = local
        self._local: CounterStore | None = None
        self._scopes_of = scopes_of
        self._alive: dict[str, Ask] = {}
        self._alone: dict[str, CounterStore] = {}
        self._seeding: dict[str, asyncio.Task[None]] = {}
        self._untold: deque[Booking] = deque(maxlen=MAX_UNTOLD)
        self._withdrawing: set[asyncio.Task[None]] = set()
        self._lease = lease_ms / 1000
        self._hurried = asyncio.Event()
        self._down = False
        self._sweeps_from = 0.0

    # -- what exchanges ask --------------------------------------------------------------------------------------------

    async def reserve(self, ask: Ask) -> Granted | Full:
        """Reserve against all limits or none. Raises `StoreUnavailable`."""
        answer = await self._reserve(self._counters, ask)
        self._local = None
        if isinstance(answer, Granted):
            self._alive[ask.event_id] = ask
        return answer

    async def reserve_alone(self, ask: Ask) -> Granted | Full:
        """The same during an outage, counted in this process only. Raises `StoreUnavailable`: so is the ledger."""
        # Not `or`: counters that count nothing yet are as empty as any collection.
        local = self._local = self._make_local() if self._local is None else self._local
        answer = await self._reserve(local, ask)
        if isinstance(answer, Granted):
            self._alone[ask.event_id] = local
            self._alive[ask.event_id] = ask
        return answer

    async def extend(self, event_id: str, by: Amounts) -> Granted | Full:
        """Hold more. Raises `StoreUnavailable`: whether the stream may go on is not decided here, so it is remembered
        as one that did."""
        local = self._alone.get(event_id)
        try:
            if local is not None:
                answer = await local.extend(event_id, by, self._now())
            else:
                answer = await self._noting(self._counters.extend(event_id, by, self._moment()))
                self._hurry_if_unknown(event_id, answer)
        except StoreUnavailable:
            self._grow(event_id, by)
            raise
        if isinstance(answer, Granted):
            self._grow(event_id, by)
        return answer

    async def settle(self, event_id: str, used: Amounts) -> None:
        """Give back what was held and count what was used. Never raises: what is not heard now is heard when booked."""
        if (local := self._alone.get(event_id)) is not None:
            await local.settle(event_id, used, self._now())
            return
        with contextlib.suppress(StoreUnavailable):
            await self._noting(self._counters.settle(event_id, used, self._moment()))

    def withdraw(self, event_id: str) -> None:
        """Nothing became of this exchange, and there will be no receipt: whoever may hold something for it forgets it.
        Never raises, never waits."""
        self._alive.pop(event_id, None)
        nothing = Booking(event_id, Amounts(), (), new=True)
        if (local := self._alone.pop(event_id, None)) is not None:
            task = asyncio.ensure_future(local.booked([nothing], self._now()))
            self._withdrawing.add(task)
            task.add_done_callback(self._withdrawing.discard)
        self._untold.append(nothing)
        self.hurry()

    # -- what the recorder tells ---------------------------------------------------------------------------------------

    async def booked(self, receipts: Sequence[Receipt], new: frozenset[str]) -> None:
        """The ledger has these; `new` are the event ids that it did not have before. Never raises."""
        for receipt in receipts:
            self._alive.pop(receipt.event_id, None)
            used = Amounts(receipt.usage.total_tokens, receipt.spend or 0)
            self._untold.append(Booking(receipt.event_id, used, self._scopes_of(receipt), receipt.event_id in new))
            if (local := self._alone.pop(receipt.event_id, None)) is not None:
                await local.booked([self._untold[-1]], self._now())
        await self._tell()

    async def unseed(self, scope: Scope) -> None:
        """The ledger was changed by hand. Raises `StoreUnavailable`."""
        await self._counters.unseed(scope)

    # -- what goes on in the background --------------------------------------------------------------------------------

    async def renew_until_cancelled(self) -> None:
        """Keep the leases of what is alive here, and tell what was not heard."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), self._lease / RENEWALS)
            self._hurried.clear()
            with contextlib.suppress(StoreUnavailable):
                await self.renew()

    def hurry(self) -> None:
        """Renew now: the store may have lost its memory, or there is something to tell it."""
        self._hurried.set()

    async def renew(self) -> None:
        """Once. Raises `StoreUnavailable`."""
        await self._tell()
        asks = tuple(self._alive.values())
        for start in range(0, len(asks), AT_ONCE):
            await self._noting(self._counters.renew(asks[start : start + AT_ONCE], self._moment()))

    async def sweep_until_cancelled(self, receipts: ReceiptSink) -> None:
        """Book orphans, once everybody had a lease's time to be heard."""
        clock = asyncio.get_running_loop().time
        self._sweeps_from = clock() + self._lease
        while True:
            await asyncio.sleep(self._lease / SWEEPS)
            with contextlib.suppress(StoreUnavailable):
                if self._down:
                    # A question about nothing, only to know whether it is back.
                    await self._noting(self._counters.levels((), self._moment()))
                elif clock() >= self._sweeps_from:
                    await self.sweep(receipts)

    async def sweep(self, receipts: ReceiptSink) -> int:
        """Hand in a receipt for every orphan there is; how many. Raises `StoreUnavailable`."""
        count = 0
        while orphans := await self._noting(self._counters.orphans(AT_ONCE, self._moment())):
            for orphan in orphans:
                await self._adopt(orphan, receipts)
            count += len(orphans)
        return count

    # ------------------------------------------------------------------------------------------------------------------

    def _moment(self, local: CounterStore | None = None) -> UnixMs | None:
        return None if self._own_clock and local is None else self._now()

    async def _noting(self, question: Awaitable[T]) -> T:
        """The store's answer; whether there is one is noted."""
        try:
            answer = await question
        except StoreUnavailable:
            self._down = True
            raise
        if self._down:
            self._down = False
            self._sweeps_from = asyncio.get_running_loop().time() + self._lease
            self.hurry()
        return answer

    def _grow(self, event_id: str, by: Amounts) -> None:
        if (ask := self._alive.get(event_id)) is not None:
            self._alive[event_id] = msgspec.structs.replace(ask, amounts=_sum(ask.amounts, by))

    def _hurry_if_unknown(self, event_id: str, answer: Granted | Full) -> None:
        """A store that says nothing of the limits of an exchange which is alive here does not know it any more."""
        ask = self._alive.get(event_id)
        if ask is not None and ask.limits and isinstance(answer, Granted) and not answer.levels:
            self.hurry()

    def _hurry_if_held(self, unseeded: Collection[Limit]) -> None:
        """A counter that an exchange of ours is on was known when that began: the store may have lost its memory."""
        lost = frozenset(unseeded)
        if not self._hurried.is_set() and any(not lost.isdisjoint(ask.limits) for ask in self._alive.values()):
            self.hurry()

    async def _reserve(self, counters: CounterStore, ask: Ask) -> Granted | Full:
        local = None if counters is self._counters else counters
        for _ in range(SEED_ATTEMPTS):
            question = counters.reserve(ask, self._moment(local))
            answer = await (self._noting(question) if local is None else question)
            if not isinstance(answer, Unseeded):
                return answer
            unseeded = [ask.limits[position] for position in answer.positions]
            if local is None:
                self._hurry_if_held(unseeded)
            await self._seed_all(counters, unseeded)
        raise StoreUnavailable("counters", "the ledger changes faster than it can be read")

    async def _seed_all(self, counters: CounterStore, limits: Sequence[Limit]) -> None:
        """Seed these, or wait for whoever seeds them already."""
        waits = []
        for limit in {limit.counter: limit for limit in limits}.values():
            name = f"{id(counters)}/{limit.counter}"
            task = self._seeding.get(name)
            if task is None:
                task = self._seeding[name] = asyncio.create_task(self._seed(counters, limit))
                task.add_done_callback(lambda _, name=name: self._seeding.pop(name, None))  # type: ignore[misc]
            waits.append(asyncio.shield(task))
        for outcome in await asyncio.gather(*waits, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _seed(self, counters: CounterStore, limit: Limit) -> None:
        local = None if counters is self._counters else counters
        token = secrets.token_hex(8)
        unbooked = await counters.begin_seed(limit, token, self._moment(local))
        if unbooked is None:
            # Another process was quicker, or reads the ledger just now.
            await asyncio.sleep(SEED_PAUSE_SECONDS)
            return
        try:
            settled = await within(TRUTH_SECONDS, self._truth.settled(limit, self._now(), unbooked))
        except TimeoutError:
            raise StoreUnavailable("ledger", f"no answer within {TRUTH_SECONDS} s") from None
        await counters.finish_seed(limit, token, settled, self._moment(local))

    async def _tell(self) -> None:
        """Tell the store what it has not heard of. What it does not hear stays for the next time."""
        while self._untold:
            batch = [self._untold.popleft() for _ in range(min(len(self._untold), AT_ONCE))]
            try:
                await self._noting(self._counters.booked(batch, self._moment()))
            except (StoreUnavailable, asyncio.CancelledError) as unheard:
                self._untold.extendleft(reversed(batch))
                if isinstance(unheard, StoreUnavailable):
                    return
                raise

    async def _adopt(self, orphan: Orphan, receipts: ReceiptSink) -> None:
        """Book an orphan by what it held, unless it is alive here: then its lease was only late."""
        if orphan.event_id in self._alive:
            return
        try:
            receipt = _estimated(orphan, self._now())
        except msgspec.DecodeError:
            # Nobody can book it: what it used is lost, and what its counters know is worth nothing any more.
            logger.exception("orphan_lost", extra={"event_id": orphan.event_id, "spend_nanos": orphan.held.nanos})
            self._untold.append(Booking(orphan.event_id, Amounts(), (), new=False))
            self.hurry()
            return
        logger.warning("orphan_booked", extra={"event_id": orphan.event_id, "spend_nanos": receipt.spend})
        await receipts.put(receipt)


def _estimated(orphan: Orphan, now: UnixMs) -> Receipt:
    """What is known of an exchange whose worker died: the draft, and that it had reserved this much."""
    draft = _drafts.decode(orphan.draft)
    output = max(0, orphan.held.tokens - draft.usage.input_tokens)
    usage = Usage(input_tokens=draft.usage.input_tokens, output_tokens=output)
    spend = None if draft.spend is None else orphan.held.nanos
    return msgspec.structs.replace(draft, ended_at=now, usage=usage, spend=spend, estimated=True, cut=True)


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return Amounts(one.tokens + other.tokens, one.nanos + other.nanos)
