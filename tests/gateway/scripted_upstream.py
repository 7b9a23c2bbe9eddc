"""A provider for tests: a real HTTP/1.1 server on loopback that remembers every request and plays scripts.

The script is chosen by the model name of the request, as the provider sees it, so that every test of a shared gateway
can have a name, and a script, of its own. A script writes the response byte by byte where it likes: it may cut events
anywhere, pause, reset the connection or never answer. What was asked is kept exactly as it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

USAGE = {"prompt_tokens": 19, "completion_tokens": 7, "total_tokens": 26}
WORDS = ("Grüße", " from", " the", " provider", " 🦀", " and", " good", "bye")
#: SO_LINGER with a timeout of 0: closing sends a reset.
_RESET = struct.pack("ii", 1, 0)


class Asked(msgspec.Struct):
    """One request as the provider got it: header names in lower case, repeated ones repeated."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Answering:
    """The response, in the hands of a script."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def head(self, status: int = 200, *headers: tuple[str, str], kind: str = "application/json") -> None:
        lines = [
            f"HTTP/1.1 {status} Scripted",
            f"content-type: {kind}",
            *(f"{name}: {value}" for name, value in headers),
        ]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def stream_head(self, *headers: tuple[str, str]) -> None:
        await self.head(200, ("transfer-encoding", "chunked"), *headers, kind="text/event-stream; charset=utf-8")

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self, *trailers: tuple[str, str]) -> None:
        await self.raw(("0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers) + "\r\n").encode())

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()

    def remains(self) -> bool:
        """Whether the other side is still there."""
        return not self._reader.at_eof() and not self._writer.is_closing()


Script: TypeAlias = Callable[[Asked, Answering], Awaitable[None]]


class ScriptedUpstream:
    """`port` is where it listens. `asked` is every request in the order of arrival; `hung_up` counts broken scripts."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[Asked] = []
        self.playing = 0
        self.hung_up = 0
        self._scripts: dict[str, Script] = {}
        self._connections: set[asyncio.Task[None]] = set()

    def plays(self, model: str, script: Script) -> str:
        """Play `script` for this model from now on; gives the name under which clients of the gateway ask for it."""
        self._scripts[model] = script
        return f"scripted/{model}"

    def asked_for(self, model: str) -> list[Asked]:
        """The requests for a model, in the order of arrival."""
        return [asked for asked in self.asked if asked.body and asked.document.get("model") == model]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ScriptedUpstream]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=64 * 1024 * 1024, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up += 1
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (asked := await _read(reader)) is not None:
            self.asked.append(asked)
            self.playing += 1
            try:
                script = self._scripts.get(asked.document.get("model", ""), says(WORDS))
                await script(asked, Answering(reader, writer))
            finally:
                self.playing -= 1
            if writer.is_closing():
                return


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    """One request with its body, or `None` where the client has closed. Chunked bodies come joined."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    asked = Asked(method, target, headers, b"")
    if asked.values("transfer-encoding"):
        asked.body = b"".join([chunk async for chunk in _chunks(reader)])
    else:
        asked.body = await reader.readexactly(int((asked.values("content-length") or ["0"])[0]))
    return asked


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


_numbers = itertools.count(1)


def new_id() -> str:
    """A response id that was never given before."""
    return f"chatcmpl-{next(_numbers):08d}"


def event(document: object) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chat_events(
    model: str, words: Iterable[str], *, response_id: str, usage: object = USAGE
) -> tuple[list[bytes], bytes | None]:
    """The events of a streamed chat as OpenAI sends them, and the one with nothing but usage that follows them."""
    common = {"id": response_id, "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model}
    choice = {"index": 0, "finish_reason": None}
    events = [event(common | {"choices": [choice | {"delta": {"role": "assistant", "content": ""}}]})]
    events += [event(common | {"choices": [choice | {"delta": {"content": word}}]}) for word in words]
    events.append(event(common | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    return events, event(common | {"choices": [], "usage": usage}) if usage is not None else None


def chat_document(model: str, words: Iterable[str], *, response_id: str, usage: object = USAGE) -> dict[str, Any]:
    """A whole chat completion."""
    message = {"role": "assistant", "content": "".join(words)}
    return {
        "id": response_id,
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        **({"usage": usage} if usage is not None else {}),
    }


def says(
    words: Sequence[str],
    *,
    response_id: str | None = None,
    model: str | None = None,
    usage: object = USAGE,
    pause: float = 0.0,
) -> Script:
    """A well-behaved provider: a stream where one is asked for, else a document; usage in a stream only on request."""

    async def script(asked: Asked, answering: Answering) -> None:
        wanted = asked.document
        found, name = response_id or new_id(), model or wanted["model"]
        if not wanted.get("stream"):
            await document(chat_document(name, words, response_id=found, usage=usage))(asked, answering)
            return
        events, counted = chat_events(name, words, response_id=found, usage=usage)
        await answering.stream_head()
        for each in events:
            await answering.chunk(each)
            await asyncio.sleep(pause)
        if counted and (wanted.get("stream_options") or {}).get("include_usage"):
            await answering.chunk(counted)
        await answering.chunk(DONE)
        await answering.end()

    return script


def document(content: object, status: int = 200, *headers: tuple[str, str]) -> Script:
    """A JSON document with its length."""
    body = json.dumps(content).encode()

    async def script(_: Asked, answering: Answering) -> None:
        await answering.head(status, ("content-length", str(len(body))), *headers)
        await answering.raw(body)

    return script


def pieces(parts: Iterable[bytes], *, pause: float = 0.002) -> Script:
    """A stream whose bytes come in these pieces, each in a packet of its own."""

    async def script(_: Asked, answering: Answering) -> None:
        await answering.stream_head()
        for part in parts:
            await answering.chunk(part)
            await asyncio.sleep(pause)
        await answering.end()

    return script


async def never_answers(_: Asked, answering: Answering) -> None:
    """Take the request and be silent until the other side gives up."""
    while answering.remains():
        await asyncio.sleep(0.01)


async def resets_before_headers(_: Asked, answering: Answering) -> None:
    """Take the request and cut the connection."""
    answering.reset()


def resets_after(parts: Sequence[bytes], heard: asyncio.Event) -> Script:
    """Begin a stream, and cut the connection in the middle of it when all so far was heard: a reset overtakes bytes."""

    async def script(_: Asked, answering: Answering) -> None:
        await answering.stream_head()
        for part in parts:
            await answering.chunk(part)
        await heard.wait()
        answering.reset()

    return script


class Gate:
    """A provider that streams the first events and goes on when it is told to."""

    def __init__(self, words: Sequence[str] = WORDS) -> None:
        self._words = words
        self.begun = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        events, counted = chat_events(asked.document["model"], self._words, response_id=new_id())
        await answering.stream_head()
        for each in events[:2]:
            await answering.chunk(each)
        self.begun.set()
        await self.open.wait()
        for each in [*events[2:], counted or b"", DONE]:
            await answering.chunk(each)
        await answering.end()
