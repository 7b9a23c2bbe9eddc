"""What was said, on its way to where it is kept: masked and sealed in a thread, then stored in batches.

`put` is what the exchange calls: synchronous, never raises, keeps nobody waiting. Other than a receipt, what is put is
not promised to be kept: it is held in memory, in bounded amounts, until the database has it. What is beyond them, and
what a crash finds there, is lost; but for a crash that is counted. An envelope is bound to its own exchange, so that no
row can be shown as another's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from extproc.bodies.content import Content
from extproc.bodies.redaction import Redaction
from extproc.encryption import Keyring
from extproc.errors import RedactionFailed, SecretUnavailable, StoreUnavailable
from extproc.model import Receipt
from extproc.stores.contents import ContentStore, SealedContent

logger = logging.getLogger(__name__)

#: What may wait: exchanges, and bytes of them.
MOST_WAITING = 2_000
MOST_WAITING_BYTES = 64 * 1024 * 1024
BATCH = 50
RETRY_SECONDS = 1.0
#: How long the rest may take when the process ends.
LAST_SECONDS = 5.0


class Contents:
    """`storing` makes a redaction for what is stored, `keyring` gives what seals it (it may raise
    `SecretUnavailable`). `report` hears how many were stored, or of a reason for which they were not."""

    def __init__(
        self,
        store: ContentStore,
        keyring: Callable[[], Keyring | None],
        storing: Callable[[], Redaction],
        deadline_ms: int,
        report: Callable[[str, int], None],
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._storing = storing
        self._deadline_ms = deadline_ms
        self._report = report
        self._waiting: deque[tuple[Receipt, Content]] = deque()
        self._bytes = 0
        self._sealed: list[SealedContent] = []
        self._work = asyncio.Event()
        self._down = False

    def put(self, receipt: Receipt, content: Content) -> None:
        """Take what was said in the exchange of a receipt."""
        content.end()
        size = content.size
        if len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            self._report("too_many", 1)
            return
        self._waiting.append((receipt, content))
        self._bytes += size
        self._work.set()

    async def store_until_cancelled(self) -> None:
        """Store what is put, and go on trying while the database is away."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting or self._sealed:
                if not await self._store_some():
                    await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Store what can be stored now."""
        deadline = time.monotonic() + LAST_SECONDS
        while (self._waiting or self._sealed) and time.monotonic() < deadline:
            if not await self._store_some():
                break
        if left := len(self._waiting) + len(self._sealed):
            self._report("stopped", left)

    async def _store_some(self) -> bool:
        """Seal and store a batch; `False` where the database is away."""
        if not self._sealed:
            await self._seal_some()
        try:
            await self._store.keep(self._sealed)
        except StoreUnavailable as outage:
            self._log_edge(outage.reason)
            return False
        self._log_edge("")
        self._report("stored", len(self._sealed))
        self._sealed = []
        return True

    async def _seal_some(self) -> None:
        while self._waiting and len(self._sealed) < BATCH:
            receipt, content = self._waiting[0]
            try:
                sealed = await asyncio.to_thread(self._seal, receipt.event_id, content)
                self._sealed.append(
                    SealedContent(receipt.event_id, receipt.ended_at, sealed, receipt.user_id, receipt.end_user)
                )
            except SecretUnavailable as error:
                logger.error("content_not_sealed", extra={"reason": str(error)})  # noqa: TRY400 - no traceback
                self._report("no_key", 1)
            except Exception as error:  # noqa: BLE001 - what nobody foresaw must stop neither this nor the process
                # Without its text: it may quote what it was given.
                logger.error("content_not_sealed", extra={"reason": type(error).__name__})  # noqa: TRY400
                self._report("failed", 1)
            # Only now, so that whoever is cancelled in the middle has lost nothing.
            self._waiting.popleft()
            self._bytes -= content.size

    def _seal(self, event_id: str, content: Content) -> str:
        ring = self._keyring()
        if ring is None:
            raise SecretUnavailable("no encryption key is configured")
        redaction, deadline = self._storing(), time.monotonic() + self._deadline_ms / 1_000

        def checkpoint() -> None:
            if time.monotonic() > deadline:
                raise RedactionFailed("timeout")

        redaction.checkpoint = checkpoint
        return ring.seal(content.told(redaction).decode(), place(event_id))

    def _log_edge(self, reason: str) -> None:
        """One line when the database goes, one when it comes back."""
        if reason and not self._down:
            logger.error("contents_not_stored", extra={"reason": reason})
        elif self._down and not reason:
            logger.warning("contents_stored_again")
        self._down = bool(reason)


def place(event_id: str) -> str:
    """What the envelope of an exchange's content is bound to."""
    return f"contents/{event_id}/sealed"


async def opened(
    store: ContentStore, keyring: Callable[[], Keyring | None], event_ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What was said in these exchanges, for those of which it was stored: `request` and `response`, decoded. One that
    cannot be opened says so in their place. Raises `StoreUnavailable`."""
    sealed = await store.sealed_of(event_ids)
    return await asyncio.to_thread(lambda: {name: _open(keyring, name, envelope) for name, envelope in sealed.items()})


def _open(keyring: Callable[[], Keyring | None], event_id: str, sealed: str) -> dict[str, Any]:
    try:
        ring = keyring()
        if ring is not None:
            found: dict[str, Any] = msgspec.json.decode(ring.open(sealed, place(event_id)))
            return found
    except SecretUnavailable as error:
        logger.warning("content_not_opened", extra={"event_id": event_id, "reason": str(error)})
    return {name: {"left_out": "sealed_with_another_key"} for name in ("request", "response")}
