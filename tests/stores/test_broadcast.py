"""The listener to what others change ends when it is told to, whatever its driver makes of that."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from extproc.stores import broadcast
from extproc.stores.broadcast import Broadcast


class Closing:
    """A client and its subscription, which cannot be closed in peace: an error takes the place of a cancellation."""

    def __init__(self) -> None:
        self.listening = asyncio.Event()

    def pubsub(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        raise ConnectionError("closed by somebody else")

    async def subscribe(self, _: str) -> None:
        self.listening.set()

    async def get_message(self, **_: float) -> None:
        await asyncio.sleep(3600)


async def test_a_cancellation_that_the_driver_swallows_ends_the_listener(monkeypatch):
    monkeypatch.setattr(broadcast, "RETRY_SECONDS", 0.01)
    client = Closing()
    heard = Broadcast(client, "changed", forget=lambda _: None, forget_all=lambda: None)
    task = asyncio.create_task(heard.listen_until_cancelled())
    await client.listening.wait()
    task.cancel()

    done, _ = await asyncio.wait([task], timeout=30)

    assert done == {task}
