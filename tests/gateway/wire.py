"""Requests as no well-behaved client would send them: HTTP/1.1 byte by byte, HTTP/2 frame by frame.

Whatever is asked ends in an `Answer` within the time limit; a peer that neither answers nor closes raises
`TimeoutError`, and so fails the test: a hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec
from gateway.running_gateway import Gateway
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

Headers: TypeAlias = Sequence[tuple[str, str]]
WITHIN_SECONDS = 60


class Answer(msgspec.Struct):
    """`status` is 0 where the connection or the stream was closed without one."""

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""

    @property
    def error(self) -> dict[str, Any]:
        """The error of LiteLLM's envelope, which must be all that there is."""
        document = json.loads(self.body)
        assert set(document) == {"error"}
        error: dict[str, Any] = document["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["code"] == str(self.status)
        assert self.headers["content-type"] == "application/json"
        return error


@contextlib.asynccontextmanager
async def http1(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection over plaintext, on which everything must be over within the time limit."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.layout.http_port, limit=2**20)
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def spoken(gateway: Gateway, said: bytes) -> Answer:
    """The first answer to these bytes; interim answers are passed over."""
    async with http1(gateway) as (reader, writer):
        writer.write(said)
        return await answer(reader, to_head=said.startswith(b"HEAD "))


async def answer(reader: asyncio.StreamReader, *, to_head: bool = False) -> Answer:
    """The next final answer on an HTTP/1.1 connection; that to HEAD has no body, whatever it says of one."""
    found = Answer(status=100)
    while found.status == 100:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return Answer()
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        found = Answer(int(first.split(" ")[1]), headers)
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        found.body = b"" if to_head else await _body(reader, found.headers)
    return found


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "transfer-encoding" not in headers:
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


class Http2:
    """One HTTP/2 connection. Nothing that is sent is checked or changed on this side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        configuration = H2Configuration(
            client_side=True,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            header_encoding="latin-1",
        )
        self._h2 = H2Connection(configuration)
        self._h2.initiate_connection()
        self._answers: dict[int, Answer] = {}
        self._ended: set[int] = set()

    async def ask(self, headers: Headers, body: Iterable[bytes] = (), trailers: Headers = ()) -> Answer:
        """The answer to one request, as soon as it is whole, however much of the body was sent by then."""
        stream = self._h2.get_next_available_stream_id()
        self._answers[stream] = Answer()
        parts = list(body)
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                self._h2.send_headers(stream, headers, end_stream=not parts and not trailers)
                for index, part in enumerate(parts):
                    await self._send(stream, part, end=index == len(parts) - 1 and not trailers)
                if trailers and stream not in self._ended:
                    self._h2.send_headers(stream, trailers, end_stream=True)
                while stream not in self._ended:
                    await self._exchange()
        except (ConnectionError, ProtocolError):
            pass
        return self._answers[stream]

    async def hang_up(self, headers: Headers, body: bytes, seen: bytes) -> Answer:
        """Ask, and reset the stream as soon as `seen` has come."""
        stream = self._h2.get_next_available_stream_id()
        found = self._answers[stream] = Answer()
        async with asyncio.timeout(WITHIN_SECONDS):
            self._h2.send_headers(stream, headers)
            await self._send(stream, body, end=True)
            while seen not in found.body:
                await self._exchange()
            self._h2.reset_stream(stream, ErrorCodes.CANCEL)
            await self._flush()
        return found

    async def _send(self, stream: int, data: bytes, *, end: bool) -> None:
        view = memoryview(data)
        while stream not in self._ended:
            size = min(len(view), self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if size or not view:
                self._h2.send_data(stream, bytes(view[:size]), end_stream=end and size == len(view))
                view = view[size:]
                await self._flush()
                if not view:
                    return
            else:
                await self._exchange()

    async def _exchange(self) -> None:
        """Send what is due and take in what has come."""
        await self._flush()
        data = await self._reader.read(65536)
        if not data:
            self._ended.update(self._answers)
            return
        for event in self._h2.receive_data(data):
            self._take(event)
        await self._flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self._ended.update(self._answers)
        elif isinstance(event, ResponseReceived):
            found = self._answers[event.stream_id]
            found.headers = {str(name): str(value) for name, value in event.headers}
            found.status = int(found.headers.pop(":status"))
        elif isinstance(event, DataReceived):
            self._answers[event.stream_id].body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded | StreamReset):
            self._ended.add(event.stream_id)

    async def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())
        await self._writer.drain()


@contextlib.asynccontextmanager
async def http2(gateway: Gateway) -> AsyncIterator[Http2]:
    """A connection over TLS, agreed on by ALPN."""
    trusted = ssl.create_default_context(cafile=gateway.authority)
    trusted.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(
        "localhost", gateway.layout.https_port, ssl=trusted, family=2, limit=2**20
    )
    try:
        yield Http2(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


def pseudo(path: str, *, method: str = "POST", authority: str = "localhost") -> list[tuple[str, str]]:
    """The head of an HTTP/2 request."""
    return [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
