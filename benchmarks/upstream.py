"""The provider's place: answers every POST with bytes made before, fast enough never to be what is measured.

Run as a process: `python -m benchmarks.upstream PORT`. A request is a stream if its body says so. Every chunk of a
stream is written on its own, and the request's `x-bench-pace-ms` waits between two, so that Envoy reads them one by
one as it does from a provider; without a pause they would arrive together and be one message to the processor.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from typing import cast

import uvloop

from benchmarks import payloads

ANSWER = payloads.answer()
STREAM_HEAD = payloads.stream_head()
STREAM_CHUNKS = payloads.stream_chunks()
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PACE = re.compile(rb"\r\n" + payloads.PACE_HEADER + rb": *(\d+)", re.IGNORECASE)
_WANTS_STREAM = re.compile(rb'"stream" *: *true')


class Upstream(asyncio.Protocol):
    """One keep-alive connection. Requests carry a content-length and are not pipelined."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        length = _number(_LENGTH, self._buffer[:end])
        if len(self._buffer) < end + length:
            return
        head, body = self._buffer[:end], self._buffer[end : end + length]
        self._buffer = self._buffer[end + length :]
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if not _WANTS_STREAM.search(body):
            self._transport.write(ANSWER)
            return
        self._transport.write(STREAM_HEAD)
        self._send(0, _number(_PACE, head) / 1000)

    def _send(self, index: int, pace: float) -> None:
        if self._transport is None:
            return
        self._transport.write(STREAM_CHUNKS[index])
        if index + 1 < len(STREAM_CHUNKS):
            self._loop.call_later(pace, self._send, index + 1, pace)


def _number(pattern: re.Pattern[bytes], head: bytes) -> int:
    found = pattern.search(head)
    return int(found[1]) if found else 0


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Upstream, "127.0.0.1", port)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
