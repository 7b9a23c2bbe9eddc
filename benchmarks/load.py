"""The clients: keep-alive connections that send one request after the other, count, and time.

Run as a process: an `Order` as JSON on standard input, a `Tally` as JSON on standard output. A fixed number of requests
is sent, after a warm-up that is not counted, over raw sockets on uvloop: that costs a fraction of what is measured, and
is in the tally. Every answer is checked: status 200, complete, and a stream to its `[DONE]`.

The processor time of the other processes is read here too, at the moments between which the counted requests lie.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable
from typing import cast

import msgspec
import uvloop

from benchmarks.processes import cpu_seconds

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_DONE = b"data: [DONE]\n\n"
_END = b"0\r\n\r\n"


class Order(msgspec.Struct, frozen=True):
    """What to do. `watch` names the processes whose time is read; work that they put off gets `settle` seconds."""

    port: int
    request: bytes
    connections: int
    warm_up: int
    requests: int
    seconds: float
    watch: dict[str, int]
    settle: float = 0.5


class Tally(msgspec.Struct, frozen=True):
    """What came of it. `latencies` and `first_bytes` (of the body) are seconds, `cpu` is seconds of each process."""

    requests: int
    seconds: float
    latencies: list[float]
    first_bytes: list[float]
    cpu: dict[str, float]
    own_cpu: float


class Failed(Exception):
    """An answer was not what it must be: nothing measured here would mean anything."""


class Run:
    """One stretch of requests, shared by its connections. `seconds` bounds it where `requests` would take too long."""

    def __init__(self, requests: int, seconds: float) -> None:
        self._left = requests
        self._deadline = time.perf_counter() + seconds
        self.latencies: list[float] = []
        self.first_bytes: list[float] = []

    def take(self) -> bool:
        """Whether one more request is to be sent."""
        if self._left <= 0 or time.perf_counter() > self._deadline:
            return False
        self._left -= 1
        return True


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._run: Run | None = None
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._complete: Callable[[], bool] = self._whole_body
        self._buffer = b""
        self._body_at = 0
        self._length = 0
        self._sent_at = 0.0
        self._first_at = 0.0

    async def send_all(self, run: Run) -> None:
        """Send requests of `run`, one after the other, until there are none left."""
        self._run = run
        self._finished = self._loop.create_future()
        self._next()
        await self._finished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._finished.done():
            self._finished.set_exception(Failed(f"the connection was closed: {error}; last: {self._buffer[-500:]!r}"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._body_at and not self._read_head():
            return
        if not self._first_at and len(self._buffer) > self._body_at:
            self._first_at = time.perf_counter()
        if self._complete():
            self._count()
            self._next()

    def _read_head(self) -> bool:
        self._body_at = self._buffer.find(b"\r\n\r\n") + 4
        if self._body_at < 4:
            self._body_at = 0
            return False
        head = self._buffer[: self._body_at]
        if not head.startswith(b"HTTP/1.1 200 "):
            self._finished.set_exception(Failed(f"refused: {self._buffer[:1000]!r}"))
            return False
        length = _LENGTH.search(head)
        self._length = int(length[1]) if length else 0
        self._complete = self._whole_body if length else self._last_chunk
        return True

    def _whole_body(self) -> bool:
        return len(self._buffer) >= self._body_at + self._length

    def _last_chunk(self) -> bool:
        return self._buffer.endswith(_END)

    def _count(self) -> None:
        assert self._run is not None
        if self._request_streams and _DONE not in self._buffer[-200:]:
            self._finished.set_exception(Failed(f"not the end of a stream: {self._buffer[-500:]!r}"))
        self._run.latencies.append(time.perf_counter() - self._sent_at)
        self._run.first_bytes.append(self._first_at - self._sent_at)

    @property
    def _request_streams(self) -> bool:
        return b'"stream": true' in self._request

    def _next(self) -> None:
        assert self._run is not None
        assert self._transport is not None
        self._buffer, self._body_at, self._first_at = b"", 0, 0.0
        if self._run.take():
            self._sent_at = time.perf_counter()
            self._transport.write(self._request)
        elif not self._finished.done():
            self._finished.set_result(None)


async def carry_out(order: Order) -> Tally:
    """Warm up, then measure."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Client(order.request), "127.0.0.1", order.port)
        for _ in range(order.connections)
    ]
    clients = [client for _, client in made]
    await _all(clients, Run(order.warm_up, order.seconds))
    await asyncio.sleep(order.settle)
    before, own_before = {name: cpu_seconds(pid) for name, pid in order.watch.items()}, time.process_time()
    run = Run(order.requests, order.seconds)
    began = time.perf_counter()
    await _all(clients, run)
    seconds, own_cpu = time.perf_counter() - began, time.process_time() - own_before
    await asyncio.sleep(order.settle)
    cpu = {name: cpu_seconds(pid) - before[name] for name, pid in order.watch.items()}
    for client in clients:
        client.close()
    return Tally(len(run.latencies), seconds, run.latencies, run.first_bytes, cpu, own_cpu)


async def _all(clients: list[Client], run: Run) -> None:
    await asyncio.gather(*(client.send_all(run) for client in clients))


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        tally = uvloop.run(carry_out(order))
    except (Failed, OSError) as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(tally))


if __name__ == "__main__":
    main()
