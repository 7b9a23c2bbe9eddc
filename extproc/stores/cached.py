"""A bounded cache in front of any key store: found keys and unknown digests, each in a room of its own.

The rooms are separate so that a flood of unknown keys cannot push out known ones. An entry lives for a short time and
is forgotten at once when the management API changes its key; a lookup that was already on its way when that happened
may be answered but not remembered. Lookups of the same digest at the same time share one question.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from extproc.model import Key, UnixMs
from extproc.stores.contract import KeyStore

T = TypeVar("T")


class CachedKeys:
    """A `KeyStore`. `ttl_ms` is how long an answer is believed; `size` the most keys, and unknown digests, kept."""

    def __init__(self, inner: KeyStore, *, ttl_ms: int, size: int, now: Callable[[], UnixMs]) -> None:
        self._inner = inner
        self._ttl_ms = ttl_ms
        self._size = size
        self._now = now
        self._known: OrderedDict[str, tuple[UnixMs, Key]] = OrderedDict()
        self._unknown: OrderedDict[str, UnixMs] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Key | None]] = {}

    async def find(self, digest: str) -> Key | None:
        now = self._now()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            self._known.move_to_end(digest)
            return known[1]
        if now < self._unknown.get(digest, 0):
            self._unknown.move_to_end(digest)
            return None
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(digest))
        # One caller's hang-up must not cancel the question that others wait for.
        return await asyncio.shield(asking)

    def forget(self, digest: str) -> None:
        """The key has changed: ask again next time, and do not remember what is being asked now."""
        self._known.pop(digest, None)
        self._unknown.pop(digest, None)
        self._asking.pop(digest, None)

    def forget_all(self) -> None:
        """Anything may have changed."""
        self._known.clear()
        self._unknown.clear()
        self._asking.clear()

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    async def _ask(self, digest: str) -> Key | None:
        task = asyncio.current_task()
        try:
            key = await self._inner.find(digest)
            if self._asking.get(digest) is task:
                self._remember(digest, key)
            return key
        finally:
            if self._asking.get(digest) is task:
                del self._asking[digest]

    def _remember(self, digest: str, key: Key | None) -> None:
        expiry = self._now() + self._ttl_ms
        if key is None:
            _put(self._unknown, digest, expiry, self._size)
            self._known.pop(digest, None)
        else:
            _put(self._known, digest, (expiry, key), self._size)
            self._unknown.pop(digest, None)


def _put(room: OrderedDict[str, T], digest: str, entry: T, size: int) -> None:
    room[digest] = entry
    room.move_to_end(digest)
    while len(room) > size:
        room.popitem(last=False)
