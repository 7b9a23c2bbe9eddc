"""Unknown keys from one address are slowed down; whoever shares the address with them is not."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from gateway.running_gateway import CHAT, HELLO, Gateway, bearer, running_gateway
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import Nursery
from gateway.test_gateway_floods import asking, flood, rows
from gateway.wire import answer, http1

from extproc.policy.failures import TRICKLE_MS

MIB = 1024 * 1024
ATTEMPTS = 10


@pytest.fixture(scope="module")
async def gateway(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    """One with the settings that everybody has."""
    async with running_gateway(nursery, upstream) as found:
        await found.start_server()
        yield found


@pytest.fixture(scope="module")
async def served(gateway: Gateway) -> str:
    """A key that is in use when its address is blocked, by whoever shares it."""
    key = await gateway.new_key()
    async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as client:
        assert (await ask(client, key)).status_code == 200
    await flood(gateway, 100)
    return key


async def ask(client: httpx.AsyncClient, key: str) -> httpx.Response:
    return await client.post(CHAT, json={"model": "homemade", "messages": HELLO}, headers=bearer(key))


async def test_of_5000_unknown_keys_hardly_any_is_looked_up_and_none_leaves_a_trace(gateway, served):
    rows_before, memory_before = await rows(gateway), gateway.resident_bytes()
    looked_up = await gateway.gauge("extproc_cached_keys")

    began = time.monotonic()
    statuses = await flood(gateway, 5_000)
    took_ms = (time.monotonic() - began) * 1_000

    # As many as the trickle lets pass meanwhile, of a flood that a slow machine may need long for.
    assert statuses[401] <= took_ms / TRICKLE_MS + 1
    assert statuses[401] + statuses[429] == 5_000
    assert await gateway.gauge("extproc_cached_keys") - looked_up <= statuses[401] + 1
    assert gateway.resident_bytes() - memory_before < 8 * MIB
    assert await rows(gateway) == rows_before


async def test_a_key_in_use_is_served_in_the_middle_of_a_flood_from_its_own_address(gateway, served):
    flooding = asyncio.create_task(flood(gateway, 2_000))

    statuses = []
    async with http1(gateway) as (reader, writer):
        while not flooding.done():
            writer.write(asking(f"authorization: Bearer {served}"))
            statuses.append((await answer(reader)).status)

    await flooding
    assert set(statuses) == {200}
    assert len(statuses) > 10


async def test_a_new_key_of_a_blocked_address_is_served_beside_a_client_with_an_old_one(gateway, served):
    old = f"sk-{secrets.token_urlsafe(32)}"
    async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as client:
        async with asyncio.timeout(30):
            while (await ask(client, old)).status_code == 429:
                pass  # Its turn to be looked up has not come; from then on it is known that there is no such key.
        new = await gateway.new_key()
        async with asyncio.timeout(30):
            while (told := await ask(client, new)).status_code == 429:
                assert (await ask(client, old)).status_code == 429
        assert told.status_code == 200


async def test_both_ways_in_tell_when_to_come_back_and_the_master_key_always_passes(gateway, served):
    refused = []
    async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as client:
        for method, path in [("POST", CHAT), ("GET", "/key/info"), ("GET", "/metrics"), ("GET", "/v1/models")]:
            wrong = bearer(f"sk-{secrets.token_urlsafe(32)}")
            while (told := await client.request(method, path, headers=wrong)).status_code == 401:
                wrong = bearer(f"sk-{secrets.token_urlsafe(32)}")
            refused.append(told)

    for told in refused:
        assert told.status_code == 429
        assert 0 < int(told.headers["retry-after"]) <= 300
        assert told.json()["error"]["type"] == "auth_error"
    assert (await gateway.admin.get("/key/list")).status_code == 200


async def test_the_administrator_sees_where_failures_come_from_and_no_more_of_a_key_than_its_beginning(gateway, served):
    secret = f"sk-{secrets.token_urlsafe(32)}"
    async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as client:
        # More often than any key of a flood.
        for _ in range(5):
            await ask(client, secret)
        assert (await client.get("/extproc/authentication-failures", headers=bearer(served))).status_code == 401

    response = await gateway.admin.get("/extproc/authentication-failures", params={"limit": 1_000})
    told = response.json()

    # The management API is told of a loopback address by another name, the machine's own.
    here = {source["source"]: source for source in told["sources"]}["127.0.0.1"]
    assert here["failures"] > ATTEMPTS
    assert here["blocked_until"] is not None
    assert secret[:7] in {each["prefix"] for each in told["prefixes"]}
    assert secret[:8] not in response.text
    assert secret[7:] not in gateway.log()


async def test_failures_are_counted_by_reason_and_a_block_is_logged_once(gateway, served):
    async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as client:
        await client.post(CHAT, json={})
        metrics = (await gateway.admin.get("/metrics")).text

    counted = dict(
        re.findall(r'^extproc_authentication_failures_total\{reason="(\w+)"\} ([\d.]+)$', metrics, re.MULTILINE)
    )
    assert {"unknown_key", "too_many_failures", "no_credential"} <= counted.keys()
    edges = [line for line in gateway.log().splitlines() if '"unknown_keys_slowed_down"' in line]
    assert len([line for line in edges if '"127.0.0.1"' in line]) == 1
