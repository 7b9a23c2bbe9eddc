"""What one worker changed, every worker forgets: over Redis' publish and subscribe.

A message is the scope of whoever changed. A subscriber that was away may have missed some, so whenever it is connected
anew it forgets everything; until then the cache is told that nobody hears (`heard`). A server that was started again
has forgotten, too, so whoever counts on it is told of a new connection (`forget_all`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from extproc.holds import Scope

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
#: A subscription that hears nothing for so long asks whether the other side is still there.
SILENCE_SECONDS = 0.3
#: How long the last sign of life proves that every change has been heard of.
PROOF_SECONDS = 0.8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Scope).decode


class Broadcast:
    """`client` is a `redis.asyncio` client; `forget` and `forget_all` are the cache of this worker."""

    def __init__(
        self, client: Any, channel: str, *, forget: Callable[[Scope], None], forget_all: Callable[[], None]
    ) -> None:
        self._client = client
        self._channel = channel
        self._forget = forget
        self._forget_all = forget_all
        self._sending: set[asyncio.Task[None]] = set()
        self._proved_at = float("-inf")

    def heard(self) -> bool:
        """Whether every change that could be published until a moment ago has been heard of."""
        return time.monotonic() - self._proved_at < PROOF_SECONDS

    def tell(self, scope: Scope) -> None:
        """Forget here at once, and everywhere soon. Never raises."""
        self._forget(scope)
        task = asyncio.create_task(self._publish(scope))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def listen_until_cancelled(self) -> None:
        """Forget what others changed. An error of the driver's on the way out takes a cancellation's place, so that is
        asked for."""
        while not is_cancelled():
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - the driver's, the network's: each means "connect again"
                self._proved_at = float("-inf")
                logger.debug("broadcast_interrupted", extra={"reason": type(error).__name__})
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        async with self._client.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            silent = False
            while True:
                message = await subscription.get_message(timeout=SILENCE_SECONDS)
                if message is not None:
                    self._proved_at = time.monotonic()
                if message is None and silent:
                    raise ConnectionError("no answer to a ping")
                silent = message is None
                if message is None:
                    await subscription.ping()
                elif message["type"] == "subscribe":
                    self._forget_all()
                elif message["type"] == "message":
                    self._heard(message["data"])

    def _heard(self, data: bytes) -> None:
        try:
            self._forget(_decode(data))
        except msgspec.DecodeError:
            self._forget_all()

    async def _publish(self, scope: Scope) -> None:
        try:
            await self._client.publish(self._channel, _encode(scope))
        except Exception as error:  # noqa: BLE001 - what is not heard is forgotten at the next connection or in time
            logger.warning("broadcast_failed", extra={"reason": type(error).__name__})


def is_cancelled() -> bool:
    """Whether somebody wants the task that asks to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
