"""What is said through real Envoy is stored masked and sealed, and shown to who may see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway.redacting import EMAIL, MASKED, answers, sdk, streams
from gateway.running_gateway import Gateway, bearer, running_gateway
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import Nursery
from pydantic import SecretStr

from extproc.model import SecretRef

KEY = SecretRef("literal", "", SecretStr("an-encryption-key"))


@pytest.fixture(scope="module")
async def storing(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    async with running_gateway(nursery, upstream, store_prompts=True, encryption_key=KEY) as found:
        await found.start_server()
        yield found


async def said(gateway: Gateway, key: str, request_id: str) -> dict[str, Any]:
    """What is shown of an exchange, once it is stored."""
    async with httpx.AsyncClient(base_url=gateway.http, headers=bearer(key), timeout=30) as client, asyncio.timeout(20):
        while True:
            answer = await client.get(f"/spend/logs/ui/{request_id}")
            if answer.status_code == 200 and answer.json()["messages"]:
                found: dict[str, Any] = answer.json()
                return found
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_exchange_is_stored_without_what_identifies_a_person(storing, upstream, stream):
    script = streams({"content": "Dear ann@comp"}, {"content": "any.com"}) if stream else answers({"content": EMAIL})
    model = upstream.plays(f"stored-{stream}", script)
    key = await storing.new_key()
    asked: Any = {"model": model, "messages": [{"role": "user", "content": f"I am {EMAIL}"}], "stream": stream}
    async with sdk(storing, key) as client:
        response = await client.chat.completions.with_raw_response.create(**asked)
        await response.http_response.aread()

    found = await said(storing, key, response.headers["x-litellm-call-id"])

    assert found["messages"] == [{"role": "user", "content": f"I am {MASKED}"}]
    content = found["response"]["choices"][0]["message"]["content"]
    assert content == (f"Dear {MASKED}" if stream else MASKED)


async def test_nothing_readable_is_in_the_database(storing, upstream):
    model = upstream.plays("sealed", answers({"content": "the walrus sleeps"}))
    key = await storing.new_key()
    async with sdk(storing, key) as client:
        response = await client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "the otter swims"}]
        )
    found = await said(storing, key, response.headers["x-litellm-call-id"])
    assert found["messages"] == [{"role": "user", "content": "the otter swims"}]

    # Booked, too: from then on no file of receipts goes away.
    await storing.settled()
    files = [path for path in Path(storing.layout.data_dir).rglob("*") if path.is_file()]
    assert any(path.name.startswith("extproc.db") for path in files)
    for path in files:
        assert not any(word in path.read_bytes() for word in (b"walrus", b"otter")), path
