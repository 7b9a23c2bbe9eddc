"""One gateway for all tests that do it no harm, and one for each module that breaks things."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway.redacting import GUARDRAILS
from gateway.running_gateway import Gateway, bearer, keyed_client, running_gateway
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import Nursery, running_nursery

from extproc.settings.model import MEBIBYTE


@pytest.fixture(scope="session")
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream().serving() as found:
        yield found


@pytest.fixture(scope="session")
async def nursery() -> AsyncIterator[Nursery]:
    async with running_nursery() as found:
        yield found


@pytest.fixture(scope="session")
async def gateway(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    """The shared one: it meets nothing worse than bad requests and bad responses, all from one address."""
    async with running_gateway(nursery, upstream, max_response_bytes=4 * MEBIBYTE, failed_login_attempts=0) as found:
        await found.start_server()
        yield found


@pytest.fixture(scope="session")
async def key(gateway: Gateway) -> str:
    """A virtual key that may do everything."""
    return await gateway.new_key(key_alias="everything")


@pytest.fixture
async def anonymous(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a credential, over plaintext."""
    async with httpx.AsyncClient(base_url=gateway.http, timeout=30) as found:
        yield found


@pytest.fixture
async def client(anonymous: httpx.AsyncClient, key: str) -> httpx.AsyncClient:
    """A client with a virtual key, over plaintext."""
    anonymous.headers.update(bearer(key))
    return anonymous


@pytest.fixture(scope="module")
async def breakable(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    async with running_gateway(nursery, upstream, store_deadline_ms=500) as found:
        yield found


@pytest.fixture
async def fragile(breakable: Gateway) -> Gateway:
    """One whose server tests may break and kill; each finds it sound and running, with the rows of those before."""
    if breakable.faulty:
        await breakable.restart_server()
    return breakable


@pytest.fixture
async def fragile_client(fragile: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the fragile gateway with a virtual key, which its cache already knows."""
    async with keyed_client(fragile) as found:
        assert (await found.post("/v1/chat/completions", json={})).status_code == 400
        yield found


@pytest.fixture(scope="session")
async def redacting(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    """One with guardrails, which keys ask for by name."""
    settings: dict[str, Any] = {
        "guardrails": GUARDRAILS,
        "max_response_bytes": 4 * MEBIBYTE,
        "failed_login_attempts": 0,
    }
    async with running_gateway(nursery, upstream, **settings) as found:
        await found.start_server()
        yield found


@pytest.fixture(scope="session")
async def guarded(redacting: Gateway) -> dict[str, str]:
    """A key for each guardrail, by its name."""
    return {each.name: await redacting.new_key(guardrails=[each.name]) for each in GUARDRAILS}
