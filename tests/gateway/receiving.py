"""A response that is read as it comes, for tests in which it may break off, and the moments they wait for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx
from gateway.running_gateway import CHAT, HELLO, SETTLED_WITHIN_SECONDS, Gateway

#: What was received of a response that then broke off, or never began.
BROKEN = (httpx.RemoteProtocolError, httpx.ReadError)


class Receiving:
    """A request whose response is read as it comes, until its end or until it breaks."""

    def __init__(self, client: httpx.AsyncClient, model: str, *, stream: bool = True) -> None:
        self.status = 0
        self.call_id = ""
        self.received = b""
        self.whole = False
        self._body = {"model": model, "messages": HELLO, "stream": stream}
        self._client = client
        self.task = asyncio.create_task(self._read())

    @property
    def complete(self) -> bool:
        """Whether the client has all of the answer, whatever became of the connection."""
        if self._body["stream"]:
            return b"data: [DONE]" in self.received
        with contextlib.suppress(ValueError):
            return self.status == 200 and "choices" in json.loads(self.received)
        return False

    @property
    def response_id(self) -> str:
        start = self.received.partition(b'"id": "')[2]
        return start.partition(b'"')[0].decode()

    async def _read(self) -> None:
        with contextlib.suppress(*BROKEN):
            async with self._client.stream("POST", CHAT, json=self._body) as response:
                self.status = response.status_code
                self.call_id = response.headers["x-request-id"]
                async for data in response.aiter_raw():
                    self.received += data
                self.whole = True


async def until_receipt_waits(gateway: Gateway, receiving: Receiving) -> None:
    """The response's receipt was handed over; it cannot become durable before the test lets it."""
    async with asyncio.timeout(SETTLED_WITHIN_SECONDS):
        while not await gateway.gauge("extproc_outbox_depth"):
            assert not receiving.task.done(), (receiving.status, receiving.received)
            await asyncio.sleep(0.01)


async def until_held(gate: Path, receiving: Receiving) -> None:
    """The response's receipt is on its way to the disk, as far as the gate; what comes before is done."""
    async with asyncio.timeout(SETTLED_WITHIN_SECONDS):
        while not Path(f"{gate}.reached").exists():
            assert not receiving.task.done(), (receiving.status, receiving.received)
            await asyncio.sleep(0.01)
