"""The provider's key is kept in Vault: rotated while the gateway serves, and there while Vault is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from gateway.running_gateway import CHAT, HELLO, Gateway, deployments, keyed_client, running_gateway
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import Nursery
from pydantic import SecretStr
from running_vault import ROOT_TOKEN, RunningVault, running_vault

from extproc.model import SecretRef
from extproc.secret_managers import Managers, VaultSettings

OPENAI = SecretRef("vault", "openai/api_key")


@pytest.fixture(scope="module")
def vault() -> Iterator[RunningVault]:
    with running_vault() as found:
        found.put("openai", api_key="sk-first")
        yield found


def settings(upstream: ScriptedUpstream, vault: RunningVault) -> dict[str, Any]:
    """Every deployment's key is in Vault, which is asked each second."""
    token = SecretRef("literal", "", SecretStr(ROOT_TOKEN))
    return {
        "deployments": tuple(msgspec.structs.replace(each, credential=OPENAI) for each in deployments(upstream.port)),
        "managers": Managers(vault=VaultSettings(address=vault.url, token=token), refresh_s=1),
        "secret_places": {str(OPENAI): "config.yaml:9:16"},
    }


@pytest.fixture(scope="module")
async def gateway(nursery: Nursery, upstream: ScriptedUpstream, vault: RunningVault) -> AsyncIterator[Gateway]:
    async with running_gateway(nursery, upstream, **settings(upstream, vault)) as found:
        await found.start_server()
        yield found


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with keyed_client(gateway) as found:
        yield found


async def sent_key(client: httpx.AsyncClient, upstream: ScriptedUpstream) -> str:
    """The key that the provider gets with a request."""
    assert (await client.post(CHAT, json={"model": "homemade", "messages": HELLO})).status_code == 200
    (value,) = upstream.asked[-1].values("authorization")
    return value.removeprefix("Bearer ")


async def logged_now(gateway: Gateway, text: str, before: int) -> None:
    async with asyncio.timeout(20):
        while text not in gateway.log()[before:]:
            await asyncio.sleep(0.01)


async def test_a_rotated_key_is_what_the_very_next_request_is_sent_with(gateway, client, upstream, vault):
    assert await sent_key(client, upstream) == "sk-first"
    before = len(gateway.log())

    vault.put("openai", api_key="sk-second")
    await logged_now(gateway, '"secret_changed"', before)

    assert await sent_key(client, upstream) == "sk-second"


async def test_an_outage_of_vault_stops_nobody_and_is_told_of(gateway, client, upstream, vault):
    key = await sent_key(client, upstream)
    before = len(gateway.log())
    vault.failing += [503] * 1_000

    await logged_now(gateway, '"secret_unavailable"', before)

    assert await sent_key(client, upstream) == key
    assert 'extproc_secret_up{reference="vault/openai/api_key"} 0.0' in (await gateway.admin.get("/metrics")).text
    vault.failing.clear()
    await logged_now(gateway, '"secret_available"', before)
    assert 'extproc_secret_up{reference="vault/openai/api_key"} 1.0' in (await gateway.admin.get("/metrics")).text


async def test_no_value_is_ever_logged(gateway, client, upstream, vault):
    await sent_key(client, upstream)

    assert "sk-first" not in gateway.log()
    assert "sk-second" not in gateway.log()
    assert ROOT_TOKEN not in gateway.log()


async def test_a_start_without_a_key_that_is_named_fails_with_its_place(nursery, upstream, vault):
    found = settings(upstream, vault)
    gone = SecretRef("vault", "gone/api_key")
    found["deployments"] = tuple(msgspec.structs.replace(each, credential=gone) for each in found["deployments"])
    found["secret_places"] = {str(gone): "config.yaml:9:16"}

    async with running_gateway(nursery, upstream, **found) as gateway:
        with contextlib.suppress(AssertionError):
            await gateway.start_server()
        await gateway.server.wait()

        assert "config.yaml:9:16: vault/gone/api_key: there is no such secret" in gateway.log()
