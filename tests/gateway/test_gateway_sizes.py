"""Bodies and headers at every limit and beyond: served or refused, in both versions of HTTP, and never a hang."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest
from gateway.running_gateway import CHAT, Gateway, bearer
from gateway.scripted_upstream import Answering, Asked, ScriptedUpstream
from gateway.wire import Answer, Headers, answer, http1, http2, pseudo, spoken

MIB = 1024 * 1024
HEAD, TAIL = b'{"model":"homemade","messages":[{"role":"user","content":"', b'"}]}'


def body_of(size: int) -> bytes:
    """A valid request of exactly this size."""
    return HEAD + b"x" * (size - len(HEAD) - len(TAIL)) + TAIL


def head(key: str, *headers: str) -> bytes:
    """The head of a chat request over HTTP/1.1."""
    lines = (f"POST {CHAT} HTTP/1.1", "host: gateway", f"authorization: Bearer {key}", "content-type: application/json")
    return "\r\n".join((*lines, *headers, "\r\n")).encode()


def head2(key: str, *headers: tuple[str, str]) -> Headers:
    """The same over HTTP/2."""
    return [*pseudo(CHAT), ("authorization", f"Bearer {key}"), ("content-type", "application/json"), *headers]


async def poured(gateway: Gateway, key: str, framing: str, parts: Iterator[bytes]) -> Answer:
    """The answer over HTTP/1.1, read while the body is still on its way."""
    async with http1(gateway) as (reader, writer):
        pouring = asyncio.create_task(pour(writer, head(key, framing), parts, chunked="chunked" in framing))
        found = await answer(reader)
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        return found


async def pour(writer: asyncio.StreamWriter, begin: bytes, parts: Iterator[bytes], *, chunked: bool) -> None:
    writer.write(begin)
    for part in parts:
        writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        await writer.drain()
    writer.write(b"0\r\n\r\n" if chunked else b"")


async def sent(gateway: Gateway, key: str, version: str, body: bytes, *, declared: bool) -> Answer:
    """The answer to one body, over either version, with or without its length said first."""
    if version == "HTTP/2":
        headers = head2(key, *([("content-length", str(len(body)))] if declared else []))
        async with http2(gateway) as connection:
            return await connection.ask(headers, [body])
    framing = f"content-length: {len(body)}" if declared else "transfer-encoding: chunked"
    return await poured(gateway, key, framing, (body[i : i + MIB] for i in range(0, len(body), MIB)))


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_a_body_at_the_limit_is_served_and_one_byte_more_is_not(gateway, upstream, key, version, declared):
    limit = gateway.settings.max_request_bytes
    before = len(upstream.asked)

    served = await sent(gateway, key, version, body_of(limit), declared=declared)
    refused = await sent(gateway, key, version, body_of(limit + 1), declared=declared)

    assert served.status == 200
    assert refused.status == 413
    assert refused.error["param"] == "request_body"
    assert len(upstream.asked) == before + 1
    assert len(await gateway.rows(json.loads(served.body)["id"])) == 1


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_a_hundred_megabytes_of_unknown_length_are_a_413(gateway, upstream, key, version):
    before = len(upstream.asked)

    if version == "HTTP/2":
        async with http2(gateway) as connection:
            found = await connection.ask(head2(key), [b"x" * MIB] * 100)
    else:
        found = await poured(gateway, key, "transfer-encoding: chunked", iter([b"x" * MIB] * 100))

    assert found.status == 413
    assert found.error["type"] == "invalid_request_error"
    assert len(upstream.asked) == before


async def test_a_client_that_sends_before_it_reads_gets_its_413(gateway, key):
    """Python's synchronous client notices the answer only when its connection is cut."""

    def ask() -> httpx.Response:
        with httpx.Client(base_url=gateway.http, headers=bearer(key), timeout=60) as client:
            content = body_of(gateway.settings.max_request_bytes + MIB)
            return client.post(CHAT, content=content, headers={"content-type": "application/json"})

    response = await asyncio.to_thread(ask)

    assert (response.status_code, response.json()["error"]["code"]) == (413, "413")


async def test_the_next_request_on_an_http2_connection_does_not_suffer_from_one_that_was_too_large(gateway, key):
    async with http2(gateway) as connection:
        refused = await connection.ask(head2(key), [b"x" * MIB] * 20)
        served = await connection.ask(head2(key), [body_of(100)])

    assert (refused.status, served.status) == (413, 200)


@pytest.mark.parametrize("number", [60, 80, 85, 90, 95, 100, 110, 120, 130, 1000])
async def test_any_number_of_headers_is_either_served_or_a_431(gateway, upstream: ScriptedUpstream, key, number):
    body = body_of(100)
    before = len(upstream.asked)

    found = await spoken(
        gateway, head(key, *(f"x-{each}: 1" for each in range(number)), f"content-length: {len(body)}") + body
    )

    # Between these, what Envoy adds decides; a 503 would be a request that we let through and could not forward.
    assert found.status in ({200} if number <= 85 else {431} if number >= 100 else {200, 431})
    assert len(upstream.asked) == before + (found.status == 200)
    if found.status == 431:
        assert found.error["message"] == "The request headers are too large."


@pytest.mark.parametrize("name", ["x-a", "cookie", "user-agent"])
@pytest.mark.parametrize("size", [30_000, 32_200, 32_500, 33_000, 36_000, 36_864, 40_000, 1_000_000])
async def test_headers_of_any_size_are_either_served_or_a_431(gateway, upstream: ScriptedUpstream, key, name, size):
    body = body_of(100)
    before = len(upstream.asked)

    found = await spoken(gateway, head(key, f"{name}: {'a' * size}", f"content-length: {len(body)}") + body)

    # Between these, what Envoy adds and what we are shown decides.
    assert found.status in ({200} if size <= 32_200 else {431} if size >= 36_864 else {200, 431})
    assert len(upstream.asked) == before + (found.status == 200)


@pytest.mark.parametrize("headers", [[("x-a", "a" * 40_000)], [(f"x-{number}", "1") for number in range(1000)]])
async def test_too_many_or_too_large_headers_over_http2_end_the_stream(gateway, upstream, key, headers):
    before = len(upstream.asked)

    async with http2(gateway) as connection:
        found = await connection.ask(head2(key, *headers), [body_of(100)])

    assert found.status in {0, 431}
    assert len(upstream.asked) == before


@pytest.mark.parametrize("number", [90, 100, 110])
async def test_a_response_with_a_hundred_headers_finds_room_for_ours(gateway, upstream, client, number):
    async def script(_: Asked, answering: Answering) -> None:
        await answering.head(200, ("content-length", "2"), *((f"x-{each}", "1") for each in range(number)))
        await answering.raw(b"{}")

    response = await client.post(
        CHAT, json={"model": upstream.plays("many-headers", script), "messages": [{"role": "user"}]}
    )

    assert response.status_code == 200
    assert response.headers["x-litellm-model-group"] == "scripted/many-headers"
    assert response.headers[f"x-{number - 1}"] == "1"
