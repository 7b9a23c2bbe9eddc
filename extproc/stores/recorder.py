"""From the exchange to the outbox, and from the outbox to the ledger.

`put` is what the exchange calls: synchronous, never raises, never drops. `ship_until_cancelled` books what is durable
in batches, in the order in which it was written, and goes on trying while the ledger is out of reach: receipts wait on
disk meanwhile. A batch that was booked but not yet discarded when a crash came is booked again, and changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from extproc.errors import StoreUnavailable
from extproc.model import Receipt, UnixMs
from extproc.stores.contract import Ledger
from extproc.stores.outbox import Cursor, Outbox

logger = logging.getLogger(__name__)

BATCH = 500
#: How long a lone receipt waits for company before it is booked.
LINGER_SECONDS = 0.05
#: From one booking to the next: a transaction costs as much as forty rows, so a busy process books in larger batches.
REST_SECONDS = 0.2
RETRY_SECONDS = 1.0


#: Is told what the ledger has, with the event ids of what it did not have before; never raises.
Booked: TypeAlias = Callable[[Sequence[Receipt], frozenset[str]], Awaitable[None]]


class Recorder:
    """The `ReceiptSink` of a process, and the task that books what it took. `booked` is told of every booking."""

    def __init__(self, outbox: Outbox, ledger: Ledger, now: Callable[[], UnixMs], booked: Booked | None = None) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._now = now
        self._booked = booked
        self._cursor: Cursor = outbox.first
        #: The first segment that is this process's own; what an earlier one left is in those before it.
        self._own = outbox.durable.segment
        self._work = asyncio.Event()
        self._work.set()
        self._ledger_down = False
        self._depth = 0
        self._unreadable = 0

    @property
    def depth(self) -> int:
        """How many receipts are not booked yet. All that an earlier process left are one, for nobody has counted
        them."""
        return self._depth + (self._cursor.segment < self._own)

    @property
    def accepting(self) -> bool:
        return self._outbox.accepting

    def put(self, receipt: Receipt) -> Awaitable[None]:
        """Take a receipt; the awaitable ends when it is durable."""
        self._depth += 1
        future = self._outbox.append(receipt)
        future.add_done_callback(self._wake)
        return future

    async def ship_until_cancelled(self) -> None:
        """Book receipts as they become durable."""
        while True:
            await self._work.wait()
            await asyncio.sleep(LINGER_SECONDS)
            self._work.clear()
            if await self.ship():
                await asyncio.sleep(REST_SECONDS)
            else:
                await asyncio.sleep(RETRY_SECONDS)
                self._work.set()

    async def ship(self) -> bool:
        """Book everything that is durable now; `False` where the ledger is out of reach."""
        while True:
            own = self._cursor.segment >= self._own
            until = None if own else self._own
            receipts, behind = await asyncio.to_thread(self._outbox.read, self._cursor, BATCH, until)
            if receipts and not await self._book(receipts):
                return False
            self._cursor = behind
            await asyncio.to_thread(self._outbox.discard, behind)
            self._depth -= len(receipts) + self._outbox.unreadable - self._unreadable if own else 0
            self._unreadable = self._outbox.unreadable
            if own and len(receipts) < BATCH:
                return True

    async def close(self) -> None:
        """Flush the outbox; book what can be booked; leave the rest on disk for the next start."""
        await asyncio.to_thread(self._outbox.stop)
        await self.ship()
        await asyncio.to_thread(self._outbox.close, self._cursor)

    async def _book(self, receipts: list[Receipt]) -> bool:
        try:
            new = await self._ledger.record(receipts, now=self._now())
        except StoreUnavailable as outage:
            self._log_edge(down=True, reason=outage.reason)
            return False
        self._log_edge(down=False, reason="")
        if self._booked is not None:
            await self._booked(receipts, new)
        return True

    def _log_edge(self, *, down: bool, reason: str) -> None:
        """One line when the ledger goes, one when it comes back."""
        if down and not self._ledger_down:
            logger.error("ledger_unavailable", extra={"reason": reason})
        elif self._ledger_down and not down:
            logger.warning("ledger_available_again")
        self._ledger_down = down

    def _wake(self, _: asyncio.Future[None]) -> None:
        self._work.set()
