"""Where a request comes from is one address on both APIs, also for whoever is on the gateway's own machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway.running_gateway import CHAT, HELLO, Gateway, bearer, running_gateway
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import MASTER_KEY, Nursery

HERE, FAR = "127.0.0.1", "203.0.113.9"
BODY = {"model": "homemade", "messages": HELLO}


@pytest.fixture(scope="module")
async def bound(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    """For this machine only."""
    async with running_gateway(nursery, upstream, allowed_ips=(HERE,)) as found:
        await found.start_server()
        yield found


@pytest.fixture(scope="module")
async def behind(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    """Behind a proxy on the same machine."""
    async with running_gateway(nursery, upstream, trusted_proxy_ranges=(HERE,)) as found:
        await found.start_server()
        yield found


async def test_whoever_is_on_this_machine_comes_from_the_loopback_on_both_apis(bound):
    spoken = await bound.admin.post(CHAT, json=BODY)
    managed = await bound.admin.post("/key/generate", json={})

    assert (spoken.status_code, managed.status_code) == (200, 200)
    assert {entry["source_ip"] for entry in await audited(bound)} == {HERE}


@pytest.mark.parametrize(("forwarded", "client"), [(FAR, FAR), (f"198.51.100.1, {FAR}", FAR), (None, HERE)])
async def test_behind_a_proxy_on_this_machine_it_is_the_proxys_client_who_asks(behind, forwarded, client):
    headers = bearer(MASTER_KEY) | ({"x-forwarded-for": forwarded} if forwarded else {})
    async with httpx.AsyncClient(base_url=behind.http, headers=headers, timeout=30) as asking:
        spoken = await asking.post(CHAT, json=BODY)
        managed = await asking.post("/key/generate", json={"allowed_ips": [client]})
        key = bearer(managed.json()["key"])
        statuses = [
            (await asking.post(CHAT, json=BODY, headers=key)).status_code,
            (await asking.get("/key/info", headers=key)).status_code,
        ]

    assert statuses == [200, 200]
    assert (await behind.only_row(spoken.headers["x-litellm-call-id"]))["requester_ip_address"] == client
    assert (await audited(behind))[0]["source_ip"] == client


@pytest.mark.parametrize(
    "headers",
    [
        [("x-forwarded-for", FAR)],
        [("x-forwarded-for", FAR), ("X-Forwarded-For", FAR)],
        [("x-forwarded-for", f"{FAR},")],
        [("connection", "x-forwarded-for")],
        [("connection", "close, X-Forwarded-For"), ("x-forwarded-for", FAR)],
    ],
)
async def test_no_header_of_a_client_says_where_it_is(bound, headers):
    key = await bound.new_key(allowed_ips=[FAR])
    async with httpx.AsyncClient(base_url=bound.http, timeout=30) as client:
        asked = [*headers, ("authorization", f"Bearer {key}")]
        managed = await client.get("/key/info", headers=asked)
        spoken = await client.post(CHAT, json=BODY, headers=asked)

    assert {managed.status_code, spoken.status_code} <= {400, 403}


async def audited(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gateway.admin.get("/audit")).json()["audit_logs"]
    return found
