"""An identity provider is asked over HTTPS or on the loopback, for some time, and for so much."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from extproc.errors import LoginFailed
from extproc.identity_providers.asking import MAX_ANSWER_BYTES, Asking
from extproc.policy.sso import Reason


@contextlib.asynccontextmanager
async def answering(*pieces: bytes, forever: bool = False) -> AsyncIterator[str]:
    """A server that says these pieces to whoever comes, and then nothing more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            if forever:
                await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    found = Asking(seconds=30)
    yield found
    await found.close()


@pytest.fixture
async def impatient() -> AsyncIterator[Asking]:
    """For those who never answer."""
    found = Asking(seconds=0.5)
    yield found
    await found.close()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


async def test_a_json_object_is_an_answer(asking):
    async with answering(HEAD, b'content-length: 7\r\n\r\n{"a":1}') as url:
        assert await asking.get(url) == {"a": 1}


@pytest.mark.parametrize("body", [b"[1]", b"hello", b"", b"[" * 2_000, b"\xff"])
async def test_anything_else_makes_no_sense(asking, body):
    async with answering(HEAD, b"content-length: %d\r\n\r\n" % len(body), body) as url:
        with pytest.raises(LoginFailed, match=Reason.PROVIDER_ANSWER):
            await asking.get(url)


async def test_no_more_is_read_than_an_answer_may_say(asking):
    async with answering(HEAD, b"\r\n", b" " * (MAX_ANSWER_BYTES + 1)) as url:
        with pytest.raises(LoginFailed, match=Reason.PROVIDER_ANSWER):
            await asking.get(url)


async def test_who_says_nothing_is_not_waited_for(impatient):
    async with answering(forever=True) as url:
        with pytest.raises(LoginFailed, match=Reason.PROVIDER_DOWN):
            await impatient.get(url)


async def test_who_goes_on_slowly_for_ever_is_not_listened_to(impatient):
    async with answering(HEAD, b"\r\n", b"{", forever=True) as url:
        with pytest.raises(LoginFailed, match=Reason.PROVIDER_DOWN):
            await impatient.get(url)


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_is_not_followed(asking, status):
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as elsewhere:
        told = f"HTTP/1.1 {status} X\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n"
        async with answering(told.encode()) as url:
            with pytest.raises(LoginFailed, match=Reason.PROVIDER_ANSWER):
                await asking.get(url)


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "file:///etc/passwd", "https://user:word@idp.example/"])
async def test_nobody_is_asked_where_secrets_are_not_safe(asking, url):
    for question in (asking.get(url), asking.post(url, {"secret": "word"})):
        with pytest.raises(LoginFailed, match=Reason.PROVIDER_ANSWER):
            await question


async def test_what_a_provider_would_have_remembered_is_not_sent_back(asking):
    """Its cookies would tie people together who have nothing in common, and could grow until it refuses them."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(HEAD + b"set-cookie: session=of-ada; Path=/\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asking.get(url)
        await asking.get(url)

    assert len(heard) == 2
    assert b"of-ada" not in heard[1]
