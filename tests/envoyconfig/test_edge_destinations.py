"""Hosts that Envoy has no cluster for, on a real Envoy: the processor names the address, nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from envoyconfig.edge import BODY, CHAT, Edge, RecordingServer, choose, running_edge
from running_envoy import free_port

from extproc.events import PROCEED, Event, Reply
from extproc.model import Upstream
from extproc.policy import destinations
from extproc.policy.destinations import NAMES

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
    async with httpx.AsyncClient(base_url=edge.http, headers=JSON, timeout=20) as found:
        yield found


@pytest.fixture
async def plain() -> AsyncIterator[tuple[RecordingServer, int]]:
    """A provider without TLS, and its port."""
    server, port = RecordingServer(), free_port()
    async with server.serving(host="127.0.0.1", port=port):
        yield server, port


def to(scheme: str, address: str, host: str, port: int) -> Callable[[Event], Reply]:
    upstream = Upstream(NAMES[scheme], scheme, host, port, "/found/v1", stored=True)
    return choose(upstream.name, set_headers=destinations.headers(upstream, address))


async def spoken(edge: Edge, request: bytes) -> bytes:
    """What Envoy answers to these bytes until it closes the connection."""
    address = httpx.URL(edge.http)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_request_comes_with_the_hosts_name_and_path_and_nothing_of_ours(edge, client, host):
    edge.processor.decide = to("https", "127.0.0.1", host, edge.tls_port)

    answer = await client.post(CHAT, content=BODY)

    assert answer.status_code == 200, answer.text
    (seen,) = edge.tls_provider.seen
    assert (seen.target, seen.scheme) == ("/found/v1/chat/completions", "https")
    assert seen.headers["host"] == f"{host}:{edge.tls_port}"
    assert not [name for name in seen.headers if name.startswith(("x-extproc-", "x-envoy-", "x-forwarded-"))]


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.3", "localhost.example"])
async def test_a_certificate_must_be_the_hosts_own_whatever_the_address(edge, client, host):
    """Also right after a connection with another host was verified at the same address."""
    edge.processor.decide = to("https", "127.0.0.1", "localhost", edge.tls_port)
    assert (await client.post(CHAT, content=BODY)).status_code == 200
    edge.tls_provider.seen.clear()
    edge.processor.decide = to("https", "127.0.0.1", host, edge.tls_port)

    answer = await client.post(CHAT, content=BODY)

    assert answer.status_code == 503
    assert not edge.tls_provider.seen


async def test_plain_http_leads_to_the_address_and_port_that_are_named(edge, client, plain):
    provider, port = plain
    edge.processor.decide = to("http", "127.0.0.1", "vllm.internal", port)

    answer = await client.post(CHAT, content=BODY)

    assert answer.status_code == 200, answer.text
    (seen,) = provider.seen
    assert (seen.target, seen.scheme) == ("/found/v1/chat/completions", "http")
    assert seen.headers["host"] == f"vllm.internal:{port}"


async def test_where_nobody_listens_it_is_a_503_as_for_configured_hosts(edge, client):
    edge.processor.decide = choose("gone")
    configured = await client.post(CHAT, content=BODY)
    edge.processor.decide = to("http", "127.0.0.1", "gone.example", free_port())

    answer = await client.post(CHAT, content=BODY)

    assert (answer.status_code, answer.json()) == (configured.status_code, configured.json())
    assert answer.status_code == 503


async def test_a_second_attempt_leads_to_the_same_address(edge, client):
    names = [f"cluster.{NAMES['http']}.upstream_{what}" for what in ("rq_retry", "cx_connect_fail", "cx_none_healthy")]
    before = [await edge.envoy.counter(name) for name in names]
    edge.processor.decide = to("http", "127.0.0.1", "gone.example", free_port())

    await client.post(CHAT, content=BODY)

    now = [await edge.envoy.counter(name) for name in names]
    assert [after - known for after, known in zip(now, before, strict=True)] == [1, 2, 0]


@pytest.mark.parametrize("left_out", [destinations.ADDRESS_HEADER, destinations.AUTHORITY_HEADER])
async def test_without_an_address_or_a_name_it_leads_nowhere(edge, client, left_out):
    upstream = Upstream(NAMES["https"], "https", "localhost", edge.tls_port, "/v1", stored=True)
    told = tuple(header for header in destinations.headers(upstream, "127.0.0.1") if header[0] != left_out.encode())
    edge.processor.decide = choose(upstream.name, set_headers=told)

    assert (await client.post(CHAT, content=BODY)).status_code == 503
    assert not edge.tls_provider.seen


def names_of_a_client(port: int) -> dict[str, str]:
    return {
        "x-extproc-upstream": "stored_http",
        "x-extproc-address": f"127.0.0.1:{port}",
        "x-extproc-authority": "of-a-client.example",
        "x-extproc-base-path": "/of-a-client",
        "x-envoy-original-dst-host": f"127.0.0.1:{port}",
    }


@pytest.mark.parametrize("decide", [lambda _: PROCEED, choose("stored_http"), choose("stored_https")])
async def test_no_header_of_a_clients_leads_anywhere(edge, client, plain, decide):
    provider, port = plain
    edge.processor.decide = decide

    answer = await client.post(CHAT, content=BODY, headers=names_of_a_client(port))

    assert answer.status_code == 503
    assert not provider.seen


async def test_headers_of_a_clients_change_nothing_of_where_the_processor_leads(edge, client, plain):
    provider, port = plain
    edge.processor.decide = to("https", "127.0.0.1", "localhost", edge.tls_port)

    answer = await client.post(CHAT, content=BODY, headers=names_of_a_client(port) | {"host": f"127.0.0.1:{port}"})

    assert answer.status_code == 200, answer.text
    assert not provider.seen
    (seen,) = edge.tls_provider.seen
    assert (seen.target, seen.headers["host"]) == ("/found/v1/chat/completions", f"localhost:{edge.tls_port}")


async def test_an_absolute_target_changes_nothing_of_where_the_processor_leads(edge, plain):
    provider, port = plain
    edge.processor.decide = to("https", "127.0.0.1", "localhost", edge.tls_port)
    target = f"http://127.0.0.1:{port}{CHAT}"
    head = f"POST {target} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"

    answer = await spoken(edge, f"{head}connection: close\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not provider.seen
    assert edge.tls_provider.seen[0].headers["host"] == f"localhost:{edge.tls_port}"


async def test_connections_are_kept_and_never_shared_between_names(edge, client):
    """Two names at one address have a connection each, and each keeps its own."""

    async def both() -> None:
        for host in ("localhost", "127.0.0.1"):
            edge.processor.decide = to("https", "127.0.0.1", host, edge.tls_port)
            assert (await client.post(CHAT, content=BODY)).status_code == 200

    # Envoy opens more than one to an address that it meets for the first time.
    await both()
    before = await edge.envoy.counter("cluster.stored_https.upstream_cx_total")
    for _ in range(3):
        await both()

    assert await edge.envoy.counter("cluster.stored_https.upstream_cx_total") - before <= 2
    assert not await edge.envoy.counter("cluster.stored_https.ssl.session_reused")
