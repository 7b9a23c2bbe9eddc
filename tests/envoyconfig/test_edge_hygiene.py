"""Real Envoy as the edge: what it refuses, what it adds, and that its own words are LiteLLM's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
from envoyconfig.edge import BODY, CHAT, MAX_REQUEST_BYTES, Edge, running_edge

from extproc.envoyconfig.routes import MANAGEMENT_BODY_BYTES

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
async def shared_edge() -> AsyncIterator[Edge]:
    async with running_edge() as found:
        yield found


@pytest.fixture
def edge(shared_edge: Edge) -> Edge:
    return shared_edge.reset()


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=edge.http, headers=JSON, timeout=30) as found:
        yield found


@pytest.fixture
async def tls_client(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cafile=edge.certificate)
    async with httpx.AsyncClient(base_url=edge.https, http2=True, verify=context, headers=JSON, timeout=30) as found:
        yield found


async def spoken(edge: Edge, request: bytes) -> bytes:
    """What Envoy answers to these bytes until it closes the connection."""
    address = httpx.URL(edge.http)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


async def answered_while_pouring(edge: Edge, length: str, chunk: bytes) -> bytes:
    """What Envoy answers to a chat request whose body never ends."""
    address = httpx.URL(edge.http)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{length}\r\n\r\n".encode())

    async def pour() -> None:
        while True:
            writer.write(chunk)
            await writer.drain()

    pouring = asyncio.create_task(pour())
    try:
        return await asyncio.wait_for(reader.readuntil(b"}}"), 30)
    finally:
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        writer.close()


def envelope(status: int, answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 %d " % status) and b'"code": "%d"' % status in body


async def test_http2_over_tls(edge, tls_client):
    response = await tls_client.post(CHAT, content=BODY)

    assert response.http_version == "HTTP/2"
    assert response.json() == {"answer": 42}
    assert response.headers["strict-transport-security"].startswith("max-age=")


async def test_http1_over_tls(edge):
    context = ssl.create_default_context(cafile=edge.certificate)
    async with httpx.AsyncClient(base_url=edge.https, verify=context, timeout=30) as client:
        response = await client.get("/v1/models")

    assert response.http_version == "HTTP/1.1"
    assert response.status_code == 200


async def test_every_answer_carries_the_security_headers(client):
    for path in ("/v1/models", "/nowhere", CHAT):
        headers = (await client.get(path)).headers

        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "frame-ancestors 'none'"
        assert "strict-transport-security" not in headers
        assert headers["server"] == "llm-extproc"


async def test_a_request_id_is_always_ours(edge, client):
    response = await client.get("/v1/models", headers={"x-request-id": "forged"})

    assert response.headers["x-request-id"] != "forged"
    assert edge.management.seen[0].headers["x-request-id"] == response.headers["x-request-id"]


async def test_a_client_cannot_command_envoy(edge, client):
    """`x-envoy-*` request headers set timeouts and retries, for those who are believed."""
    await client.get("/v1/models", headers={"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-retry-on": "5xx"})

    told = {name for name in edge.management.seen[0].headers if name.startswith("x-envoy-")}
    assert told == {"x-envoy-external-address"}


async def test_management_paths_reach_the_management_api_and_not_the_processor(edge, client):
    response = await client.get("/key/info?key=abc")

    assert response.json() == {"who": "management"}
    assert edge.management.seen[0].target == "/key/info?key=abc"
    assert edge.processor.events == []


async def test_an_unknown_path_is_litellms_404(edge, client):
    response = await client.get("/nowhere")

    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
    assert edge.processor.events == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_a_wrong_method_is_litellms_405(edge, client, method):
    response = await client.request(method, CHAT)

    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})
    assert response.headers["allow"] == "POST"
    assert edge.processor.events == []


@pytest.mark.parametrize("path", ["/v1%2Fmodels", "/v1%2fmodels", "/v1%5Cmodels", "/nowhere%2f..%2fv1/models"])
async def test_an_escaped_slash_is_refused(edge, path):
    assert envelope(400, await spoken(edge, b"GET %s HTTP/1.1\r\nhost: a\r\n\r\n" % path.encode()))
    assert edge.management.seen == []


async def test_dots_and_slashes_are_resolved_before_a_route_is_chosen(edge):
    await spoken(edge, b"GET //v1/./models/../../key//list HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")

    assert [seen.target for seen in edge.management.seen] == ["/key/list"]


@pytest.mark.parametrize(
    "line", [b"x_extproc_upstream: provider", b"no colon", b"transfer-encoding: chunked\r\ncontent-length: 3"]
)
async def test_what_is_not_plain_http_is_a_400(edge, line):
    assert envelope(400, await spoken(edge, b"GET /v1/models HTTP/1.1\r\nhost: a\r\n%s\r\n\r\n" % line))
    assert edge.management.seen == []


async def test_an_underscore_in_a_header_name_is_refused_over_http2_too(edge, tls_client):
    with pytest.raises(httpx.RemoteProtocolError):
        await tls_client.get("/v1/models", headers={"x_extproc_upstream": "provider"})

    assert edge.management.seen == []


async def test_headers_that_are_too_large_are_a_431(edge):
    request = b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx-a: %s\r\n\r\n" % (b"b" * 40_000)

    assert envelope(431, await spoken(edge, request))


async def test_an_upgrade_is_refused(edge):
    request = b"GET /v1/models HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"

    assert envelope(403, await spoken(edge, request))


async def test_a_body_at_the_limit_passes(edge, client):
    response = await client.post(CHAT, content=b"x" * MAX_REQUEST_BYTES)

    assert response.status_code == 200
    assert len(edge.provider.seen[0].body) == MAX_REQUEST_BYTES


async def test_a_body_one_byte_over_the_limit_is_refused_unread(edge):
    answer = await answered_while_pouring(edge, f"content-length: {MAX_REQUEST_BYTES + 1}", b"x" * 0x4000)

    assert envelope(413, answer)
    assert edge.processor.events == []


async def test_an_endless_body_is_refused_while_it_arrives(edge):
    """Its length is not declared, so Envoy stops reading when its buffer is full, and answers."""
    answer = await answered_while_pouring(edge, "transfer-encoding: chunked", b"4000\r\n" + b"x" * 0x4000 + b"\r\n")

    assert envelope(413, answer)
    assert edge.provider.seen == []


async def test_a_large_management_body_passes(edge, client):
    await client.post("/key/generate", content=b"x" * MANAGEMENT_BODY_BYTES)

    assert len(edge.management.seen[0].body) == MANAGEMENT_BODY_BYTES


async def test_a_management_body_is_bounded(edge, client):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MANAGEMENT_BODY_BYTES // 1024 + 64):
            yield b"x" * 1024

    response = await client.post("/key/generate", content=endless())

    assert response.status_code == 413
    assert edge.management.seen == []
