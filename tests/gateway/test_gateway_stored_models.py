"""Models that are made, changed and deleted while three workers serve them through Envoy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from gateway.running_fleet import WITHIN_SECONDS, Fleet, running_fleet, usage
from gateway.scripted_upstream import ScriptedUpstream, document
from gateway.server_processes import Nursery
from pydantic import SecretStr

from extproc.model import SecretRef

SECRET = "sk-provider-of-a-stored-model"
ANSWER = {"id": "resp", "object": "chat.completion", "choices": [], "usage": usage(10)}


@pytest.fixture(scope="module")
async def fleet(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Fleet]:
    key = SecretRef("literal", "", SecretStr("an-encryption-key"))
    async with running_fleet(nursery, upstream, encryption_key=key) as found:
        yield found


async def statuses(fleet: Fleet, key: str, model: str) -> set[int]:
    """What a dozen requests meet: each worker gets some."""
    return {answer.status_code for answer in await fleet.at_once(key, 12, model=model)}


async def become(fleet: Fleet, key: str, model: str, expected: set[int]) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while await statuses(fleet, key, model) != expected:
            await asyncio.sleep(0.1)


async def test_every_worker_serves_a_stored_model_with_its_own_credential_until_it_is_deleted(fleet, upstream):
    key = await fleet.new_key()
    upstream.plays("stored", document(ANSWER))
    upstream.plays("regenerated", document(ANSWER))
    parameters = {"model": "openai/stored", "api_base": f"http://127.0.0.1:{upstream.port}/v1", "api_key": SECRET}
    assert await statuses(fleet, key, "stored") == {400}

    made = await fleet.admin.post("/model/new", json={"model_name": "stored", "litellm_params": parameters})
    assert made.status_code == 200, made.text
    await become(fleet, key, "stored", {200})
    assert {value for asked in upstream.asked_for("stored") for value in asked.values("authorization")} == {
        f"Bearer {SECRET}"
    }

    deleted = await fleet.admin.post("/model/delete", json={"id": made.json()["model_id"]})
    assert deleted.status_code == 200, deleted.text
    await become(fleet, key, "stored", {400})


async def test_a_regenerated_key_is_the_same_budget_to_every_worker(fleet):
    key = await fleet.new_key(max_budget=100)
    assert await statuses(fleet, key, "fleet/regenerated") == {200}
    answer = await fleet.admin.post("/key/regenerate", json={"key": key})
    new = answer.json()["key"]

    await become(fleet, key, "fleet/regenerated", {401})
    assert await statuses(fleet, new, "fleet/regenerated") == {200}
    await fleet.settled()
    info = (await fleet.admin.get("/key/info", params={"key": new})).json()["info"]
    assert round(info["spend"] * 10**9) == await fleet.spent(key)
    assert len(await fleet.rows(key)) >= 24
