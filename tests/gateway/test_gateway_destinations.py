"""Models of hosts that Envoy was never told of, made, moved and deleted while three workers serve them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from gateway.running_fleet import WITHIN_SECONDS, WORKERS, Fleet, running_fleet
from gateway.running_gateway import CHAT, HELLO, running_gateway
from gateway.scripted_upstream import USAGE, WORDS, ScriptedUpstream, says
from gateway.server_processes import Nursery
from pydantic import SecretStr
from running_envoy import free_port

from extproc.model import SecretRef
from extproc.policy.destinations import Destinations, Pattern
from extproc.stored_models import REFRESH_SECONDS

#: For workers to read the models and look up a name, on a machine that does other things, too.
GRACE_SECONDS = 2.0
PRICES = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000003}
SPEND_NANOS = USAGE["prompt_tokens"] * 1_000 + USAGE["completion_tokens"] * 3_000


@pytest.fixture(scope="module")
async def fleet(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Fleet]:
    """It may lead to this machine, with and without TLS."""
    allowed = Destinations((Pattern("http"), Pattern("https")), ("127.0.0.1",))
    key = SecretRef("literal", "", SecretStr("an-encryption-key"))
    async with running_fleet(nursery, upstream, encryption_key=key, stored_model_hosts=allowed) as found:
        yield found


@pytest.fixture
async def new_host() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream().serving() as found:
        yield found


@pytest.fixture
async def another_host() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream().serving() as found:
        yield found


async def make(fleet: Fleet, name: str, api_base: str, **parameters: Any) -> str:
    """The id of a new model, which is its provider's, too."""
    body = {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": api_base, **parameters}}
    answer = await fleet.admin.post("/model/new", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model_id"])


async def statuses(fleet: Fleet, key: str, model: str) -> set[int]:
    """What a dozen requests meet: each worker gets some."""
    return {answer.status_code for answer in await fleet.at_once(key, 4 * WORKERS, model=model)}


async def seconds_until(fleet: Fleet, key: str, model: str, expected: set[int]) -> float:
    """How late the last request was that met another status: how long an answer takes does not count."""
    began = asked_at = late_at = time.monotonic()
    async with asyncio.timeout(WITHIN_SECONDS):
        while await statuses(fleet, key, model) != expected:
            late_at = asked_at
            await asyncio.sleep(0.05)
            asked_at = time.monotonic()
    return late_at - began


def credentials(host: ScriptedUpstream) -> set[str]:
    return {value for asked in host.asked for value in asked.values("authorization")}


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_every_worker_serves_a_model_of_a_new_host_within_two_seconds(fleet, new_host, name):
    key = await fleet.new_key()
    model = f"new-at-{name}"
    await make(fleet, model, f"http://{name}:{new_host.port}/deep/v1", api_key="sk-of-the-new-host")

    assert await seconds_until(fleet, key, model, {200}) <= REFRESH_SECONDS + GRACE_SECONDS
    asked = new_host.asked_for(model)[-1]
    assert (asked.method, asked.target) == ("POST", "/deep/v1/chat/completions")
    assert asked.values("host") == [f"{name}:{new_host.port}"]
    assert asked.values("accept-encoding") == ["identity"]
    assert not [header for header, _ in asked.headers if header.startswith(("x-extproc-", "x-litellm-", "x-envoy-"))]


async def test_a_model_moves_to_another_host_with_its_key_and_is_gone_when_it_is_deleted(
    fleet, upstream, new_host, another_host
):
    key = await fleet.new_key()
    asked_before = len(upstream.asked)
    model_id = await make(fleet, "moving", f"http://localhost:{new_host.port}/v1", api_key="sk-of-the-new-host")
    await seconds_until(fleet, key, "moving", {200})

    change = {"api_base": f"http://localhost:{another_host.port}/v1", "api_key": "sk-of-the-other"}
    body = {"model_info": {"id": model_id}, "litellm_params": change}
    changed = await fleet.admin.post("/model/update", json=body)
    assert changed.status_code == 200, changed.text
    await asyncio.sleep(REFRESH_SECONDS + GRACE_SECONDS)
    asked_of_the_first = len(new_host.asked)
    assert await statuses(fleet, key, "moving") == {200}
    assert len(new_host.asked) == asked_of_the_first
    assert credentials(new_host) == {"Bearer sk-of-the-new-host"}
    assert credentials(another_host) == {"Bearer sk-of-the-other"}
    assert len(upstream.asked) == asked_before

    await fleet.admin.post("/model/delete", json={"id": model_id})
    assert await seconds_until(fleet, key, "moving", {400}) <= REFRESH_SECONDS + GRACE_SECONDS


async def test_a_stream_of_a_new_host_through_openais_sdk_is_counted_and_priced(fleet, new_host):
    key = await fleet.new_key(max_budget=1)
    new_host.plays("streaming", says(WORDS))
    await make(fleet, "streaming", f"http://localhost:{new_host.port}/v1", api_key="sk-x", **PRICES)
    await seconds_until(fleet, await fleet.new_key(), "streaming", {200})

    async with openai.AsyncOpenAI(base_url=f"{fleet.http}/v1", api_key=key, max_retries=0) as client:
        stream = await client.chat.completions.create(model="streaming", messages=HELLO, stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]

    assert "".join(words) == "".join(WORDS)
    (row,) = await fleet.rows(key)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (USAGE["prompt_tokens"], USAGE["completion_tokens"])
    assert (row["spend_nanos"], row["metadata"]["estimated"]) == (SPEND_NANOS, False)


async def test_a_client_cannot_choose_the_host(fleet, new_host, another_host):
    key = await fleet.new_key()
    await make(fleet, "led", f"http://localhost:{new_host.port}/v1", api_key="sk-of-the-new-host")
    await seconds_until(fleet, key, "led", {200})
    asked = len(new_host.asked)
    elsewhere = f"127.0.0.1:{another_host.port}"
    headers = {
        "host": elsewhere,
        "x-extproc-upstream": "stored_http",
        "x-extproc-address": elsewhere,
        "x-extproc-authority": elsewhere,
        "x-extproc-base-path": "/other",
        "x-forwarded-host": elsewhere,
        "x-envoy-original-dst-host": elsewhere,
    }
    body = {"model": "led", "messages": HELLO, "api_base": f"http://{elsewhere}/v1", "base_url": f"http://{elsewhere}"}

    async with fleet.client(key) as client:
        by_headers = await client.post(CHAT, json={"model": "led", "messages": HELLO}, headers=headers)
        by_configured = await client.post(CHAT, json={"model": "fleet/x", "messages": HELLO}, headers=headers)
        by_body = await client.post(CHAT, json=body)
    # As a forward proxy is asked: the target is absolute.
    async with httpx.AsyncClient(proxy=fleet.http, timeout=WITHIN_SECONDS, trust_env=False) as proxied:
        absolute = await proxied.post(
            f"http://{elsewhere}{CHAT}",
            json={"model": "led", "messages": HELLO},
            headers={"authorization": f"Bearer {key}"},
        )

    assert (by_headers.status_code, by_configured.status_code, absolute.status_code) == (200, 200, 200)
    assert (by_body.status_code, by_body.json()["error"]["param"]) == (400, "api_base")
    assert len(new_host.asked) == asked + 2
    assert not another_host.asked
    assert {asked.target for asked in new_host.asked} == {"/v1/chat/completions"}


async def test_where_nothing_is_said_no_model_leads_to_this_machine_by_address_or_by_name(nursery, upstream):
    async with running_gateway(nursery, upstream) as gateway:
        await gateway.start_server()
        for host in ("127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "127.1", "10.0.0.1"):
            parameters = {"model": "openai/x", "api_base": f"https://{host}:{free_port()}/v1"}
            answer = await gateway.admin.post("/model/new", json={"model_name": "x", "litellm_params": parameters})
            assert answer.status_code == 400, host
            assert "stored_model_hosts" in answer.json()["error"]["message"]

        parameters = {"model": "openai/x", "api_base": "https://nowhere.invalid/v1"}
        answer = await gateway.admin.post("/model/new", json={"model_name": "unknown", "litellm_params": parameters})
        assert answer.status_code == 200, answer.text
        key = {"authorization": f"Bearer {await gateway.new_key()}"}
        async with httpx.AsyncClient(base_url=gateway.http, headers=key, timeout=WITHIN_SECONDS) as client:
            unavailable = await client.post(CHAT, json={"model": "unknown", "messages": HELLO})
        assert unavailable.status_code == 503
        assert unavailable.json()["error"]["type"] == "service_unavailable"
        assert "nowhere.invalid" in await gateway.logged("stored_model_host_unreachable")
