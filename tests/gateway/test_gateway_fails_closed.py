"""Whatever breaks inside the gateway, nobody gets past it unchecked: a 5xx, and nothing reached the provider."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway.running_gateway import CHAT, HELLO, Gateway, bearer
from gateway.scripted_upstream import WORDS, ScriptedUpstream, says
from gateway.wire import answer, http1
from running_envoy import free_port, running_envoy

from extproc.envoyconfig import render

ASKING = {"model": "homemade", "messages": HELLO}


@pytest.fixture
async def nothing_passes(upstream: ScriptedUpstream) -> AsyncIterator[None]:
    """Holds when the test is over: the provider was not asked."""
    before = len(upstream.asked)
    yield
    assert len(upstream.asked) == before


def is_refusal(response: httpx.Response) -> bool:
    """A 5xx that clients of LiteLLM can read and that tells nothing of the inside."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "on purpose" not in response.text
    return response.status_code == 503 and error["code"] == "503"


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize("fault", ["fail-find", "die-in-find", "fail-choose", "fail-close"])
async def test_a_defect_before_the_verdict_is_no_verdict(fragile, fault):
    """The handler raises, or its process is killed: at the headers, at the body."""
    key = await fragile.new_key()
    await fragile.restart_server(fault)

    async with httpx.AsyncClient(base_url=fragile.http, headers=bearer(key), timeout=30) as client:
        response = await client.post(CHAT, json=ASKING)

    assert is_refusal(response)


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize("socket", ["there", "gone"])
async def test_nobody_passes_while_the_server_is_down(fragile, fragile_client, socket):
    await fragile.kill_server()
    if socket == "gone":
        Path(fragile.layout.processor_sockets[0]).unlink()

    assert is_refusal(await fragile_client.post(CHAT, json=ASKING))


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize("end", ["kill_server", "stop_server"])
async def test_a_request_whose_body_is_on_its_way_does_not_pass_when_the_server_ends(fragile, fragile_client, end):
    """The key was accepted, the verdict was not yet made; a drain that runs out of patience is no consent either."""
    whole = json.dumps(ASKING).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: {fragile_client.headers['authorization']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(whole)}\r\n\r\n"
    )

    async with http1(fragile) as (reader, writer):
        # Read as it comes: Envoy may answer at once and hang up, and then nobody can send the rest.
        answering = asyncio.create_task(answer(reader))
        writer.write(head.encode() + whole[:20])
        await until_in_flight(fragile)
        await getattr(fragile, end)()
        with contextlib.suppress(ConnectionError):
            writer.write(whole[20:])
            await writer.drain()
        found = await answering

    assert (found.status, found.error["code"]) == (503, "503")


async def until_in_flight(gateway: Gateway) -> None:
    async with asyncio.timeout(20):
        while not await gateway.gauge("extproc_exchanges_in_flight"):
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("nothing_passes")
async def test_nobody_passes_while_the_server_is_frozen(fragile, fragile_client):
    """It neither answers nor closes anything; Envoy waits for a verdict for a bounded time."""
    fragile.server.signal(signal.SIGSTOP)
    try:
        frozen = await fragile_client.post(CHAT, json=ASKING)
    finally:
        fragile.server.signal(signal.SIGCONT)
    thawed = await fragile_client.post(CHAT, json={})

    assert (frozen.status_code, frozen.json()["error"]["code"]) == (504, "504")
    assert thawed.status_code == 400


async def test_a_defect_in_one_exchange_harms_no_other(fragile, fragile_client, upstream):
    """The same server answers a wrong key, then a malformed body, then a request as it should be."""
    wrong = await fragile_client.post(CHAT, json=ASKING, headers=bearer("sk-wrong-0123456789abcdef"))
    malformed = await fragile_client.post(CHAT, content=b"{", headers={"content-type": "application/json"})
    right = await fragile_client.post(CHAT, json=ASKING)

    assert (wrong.status_code, malformed.status_code, right.status_code) == (401, 400, 200)


@pytest.mark.usefixtures("nothing_passes")
async def test_without_the_processors_cluster_nobody_passes(fragile, fragile_client):
    """Envoy starts all the same, and has nobody to ask."""
    bootstrap = render(fragile.settings, fragile.layout)
    clusters = bootstrap["static_resources"]["clusters"]
    bootstrap["static_resources"]["clusters"] = [cluster for cluster in clusters if cluster["name"] != "extproc"]
    port = listening_elsewhere(bootstrap)

    async with running_envoy(bootstrap):
        plain = await fragile_client.post(f"http://127.0.0.1:{port}{CHAT}", json=ASKING)
        forged = await fragile_client.post(
            f"http://127.0.0.1:{port}{CHAT}", json=ASKING, headers={"x-extproc-upstream": "provider"}
        )

    assert len(clusters) == len(bootstrap["static_resources"]["clusters"]) + 1
    assert is_refusal(plain)
    assert is_refusal(forged)


@pytest.mark.usefixtures("nothing_passes")
async def test_without_the_processors_filter_no_route_leads_to_a_provider(fragile):
    """Should somebody take the filter out of the chain, what is left serves nobody."""
    bootstrap = render(fragile.settings, fragile.layout)
    for listener in bootstrap["static_resources"]["listeners"]:
        for chain in listener["filter_chains"]:
            manager = chain["filters"][0]["typed_config"]
            manager["http_filters"] = [each for each in manager["http_filters"] if "ext_proc" not in each["name"]]
            for host in manager["route_config"]["virtual_hosts"]:
                for route in host["routes"]:
                    route.get("typed_per_filter_config", {}).pop("envoy.filters.http.ext_proc", None)
    port = listening_elsewhere(bootstrap)

    async with running_envoy(bootstrap), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        plain = await client.post(CHAT, json=ASKING)
        forged = await client.post(CHAT, json=ASKING, headers={"x-extproc-upstream": "provider"})

    assert plain.status_code == forged.status_code == 503


def listening_elsewhere(bootstrap: dict[str, Any]) -> int:
    """Change a bootstrap so that its Envoy can run beside the gateway's; gives the port for plaintext."""
    bootstrap["admin"]["address"]["pipe"]["path"] += ".2"
    ports = []
    for listener in bootstrap["static_resources"]["listeners"]:
        ports.append(free_port())
        listener["address"]["socket_address"]["port_value"] = ports[-1]
    return ports[0]


async def test_a_locked_database_stops_unknown_keys_and_lets_known_ones_go_on(fragile, fragile_client, upstream):
    model = upstream.plays("locked-database", says(WORDS))
    stranger = bearer("sk-never-seen-0123456789abcdef")

    with fragile.locked_database():
        known, unknown = await asyncio.gather(
            fragile_client.post(CHAT, json={"model": model, "messages": HELLO}),
            fragile_client.post(CHAT, json=ASKING, headers=stranger),
        )
        ready = await fragile_client.get("/health/readiness")
        alive = await fragile_client.get("/health/liveliness")
    again = await fragile_client.post(CHAT, json=ASKING, headers=stranger)

    assert known.status_code == 200
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (503, "no_db_connection")
    assert unknown.headers["retry-after"] == "1"
    assert (ready.status_code, alive.status_code) == (503, 200)
    assert again.status_code == 401
    assert len(await fragile.rows(known.json()["id"])) == 1
