"""What exchanges ask about limits, on top of a counter store: reserve, extend, settle, and whatever may go wrong.

* A counter that is unseeded is seeded from the ledger, once for all who wait for it.
* Open exchanges are remembered here and told to the store from time to time, so that their leases live, and so that a
  store that lost its memory learns again what is held.
* What the ledger has booked is told to the store, again and again until it has heard it.
* Exchanges whose lease ran out, here or in another process that is gone, are booked by their estimate: what they held.

While the store is gone an exchange may be counted in this process alone (`reserve_alone`); whether it may is not
decided here. Those counters are made anew for every outage, and seeded from the ledger like any others.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from extproc.errors import StoreUnavailable
from extproc.holds import Amounts, Ask, Booking, Full, Granted, Limit, Orphan, Scope, Unseeded
from extproc.model import Receipt, UnixMs, Usage
from extproc.stores.contract import ReceiptSink
from extproc.stores.counters import CounterStore

logger = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
SWEEP_SECONDS = 5.0
ORPHANS_AT_ONCE = 100
#: Seeding is repeated when the ledger changed under it; under this many changes in a row something else is wrong.
SEED_ATTEMPTS = 8
#: Bookings that the store has not heard of yet; beyond them the oldest are left to the leases.
MAX_UNTOLD = 100_000

_drafts = msgspec.msgpack.Decoder(Receipt)


class Truth(Protocol):
    """What the ledger says a limit's counter should be."""

    async def settled(self, limit: Limit, now: UnixMs) -> Sequence[tuple[UnixMs, int]]: ...


class Reservations:
    """One for each process. `local` makes the counters of an outage. `scopes_of` tells what a receipt counts for."""

    def __init__(
        self,
        counters: CounterStore,
        truth: Truth,
        *,
        now: Callable[[], UnixMs],
        own_clock: bool,
        local: Callable[[], CounterStore],
        scopes_of: Callable[[Receipt], tuple[Scope, ...]],
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
        local = self._local = self._local or self._make_local()
        answer = await self._reserve(local, ask)
        if isinstance(answer, Granted):
            self._alone[ask.event_id] = local
        return answer

    async def extend(self, event_id: str, by: Amounts) -> Granted | Full:
        """Hold more. Raises `StoreUnavailable`: whether the stream may go on is not decided here."""
        local = self._alone.get(event_id)
        answer = await (local or self._counters).extend(event_id, by, self._moment(local))
        ask = self._alive.get(event_id)
        if ask is not None and isinstance(answer, Granted):
            self._alive[event_id] = msgspec.structs.replace(ask, amounts=_sum(ask.amounts, by))
        return answer

    async def settle(self, event_id: str, used: Amounts) -> None:
        """Give back what was held and count what was used. Never raises: what is not heard now is heard when booked."""
        local = self._alone.get(event_id)
        try:
            await (local or self._counters).settle(event_id, used, self._moment(local))
        except StoreUnavailable:
            return

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
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.renew()
            except StoreUnavailable:
                continue

    async def renew(self) -> None:
        """Once. Raises `StoreUnavailable`."""
        await self._tell()
        if asks := tuple(self._alive.values()):
            await self._counters.renew(asks, self._moment())

    async def sweep_until_cancelled(self, receipts: ReceiptSink) -> None:
        """Book orphans."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep(receipts)
            except StoreUnavailable:
                continue

    async def sweep(self, receipts: ReceiptSink) -> int:
        """Hand in a receipt for every orphan there is; how many. Raises `StoreUnavailable`."""
        count = 0
        while orphans := await self._counters.orphans(ORPHANS_AT_ONCE, self._moment()):
            for orphan in orphans:
                await self._adopt(orphan, receipts)
            count += len(orphans)
        return count

    # ------------------------------------------------------------------------------------------------------------------

    def _moment(self, local: CounterStore | None = None) -> UnixMs | None:
        return None if self._own_clock and local is None else self._now()

    async def _reserve(self, counters: CounterStore, ask: Ask) -> Granted | Full:
        local = None if counters is self._counters else counters
        for _ in range(SEED_ATTEMPTS):
            answer = await counters.reserve(ask, self._moment(local))
            if not isinstance(answer, Unseeded):
                return answer
            await self._seed_all(counters, [ask.limits[position] for position in answer.positions])
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
        await counters.begin_seed([limit], token)
        settled = await self._truth.settled(limit, self._now())
        await counters.finish_seed(limit, token, settled, self._moment(local))

    async def _tell(self) -> None:
        """Tell the store what it has not heard of. What it does not hear stays for the next time."""
        while self._untold:
            batch = [self._untold.popleft() for _ in range(min(len(self._untold), ORPHANS_AT_ONCE))]
            try:
                await self._counters.booked(batch, self._moment())
            except StoreUnavailable:
                self._untold.extendleft(reversed(batch))
                return

    async def _adopt(self, orphan: Orphan, receipts: ReceiptSink) -> None:
        """Book an orphan by what it held, unless it is alive here: then its lease was only late."""
        if orphan.event_id in self._alive:
            return
        receipt = _estimated(orphan, self._now())
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
