"""Why the last exchanges were refused, for whoever asks: bounded, and gone after a while.

A refusal is worth no row in the ledger: a client in a loop would write thousands. In one process it is kept in memory,
the newest few thousand; where several share a Redis it is kept there for an hour, so that every worker can answer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

import msgspec

from extproc.errors import StoreUnavailable
from extproc.model import Explanation, UnixMs

KEPT = 10_000
KEPT_SECONDS = 3_600


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal, with the ids under which it can be asked for and the key that it was told to."""

    event_id: str
    call_id: str
    key_digest: str
    at: UnixMs
    status: int
    reason: str
    explanation: Explanation


class Explanations(Protocol):
    """Where refusals are kept."""

    async def put(self, explained: Explained) -> None:
        """Keep a refusal. Never raises: a refusal that cannot be explained is still one."""
        ...

    async def find(self, request_id: str) -> Explained | None:
        """By event id or call id. Raises `StoreUnavailable`."""
        ...


class MemoryExplanations:
    """The newest `kept` of this process."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._by_event: OrderedDict[str, Explained] = OrderedDict()
        self._events: dict[str, str] = {}

    async def put(self, explained: Explained) -> None:
        self._by_event[explained.event_id] = explained
        self._events[explained.call_id] = explained.event_id
        while len(self._by_event) > self._kept:
            _, oldest = self._by_event.popitem(last=False)
            if self._events.get(oldest.call_id) == oldest.event_id:
                del self._events[oldest.call_id]

    async def find(self, request_id: str) -> Explained | None:
        return self._by_event.get(self._events.get(request_id, request_id))


class RedisExplanations:
    """The refusals of the last hour of all who share a Redis. `client` is a `redis.asyncio` client."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def put(self, explained: Explained) -> None:
        packed = msgspec.msgpack.encode(explained)
        try:
            for name in {explained.event_id, explained.call_id}:
                await self._client.set(f"{self._prefix}{name}", packed, ex=KEPT_SECONDS)
        except Exception:  # noqa: BLE001 - the driver's, the loop's, the network's: none of them is worth a failure
            return

    async def find(self, request_id: str) -> Explained | None:
        try:
            packed = await self._client.get(f"{self._prefix}{request_id}")
        except Exception as error:  # noqa: BLE001
            raise StoreUnavailable("explanations", type(error).__name__) from None
        return msgspec.msgpack.decode(packed, type=Explained) if packed else None
