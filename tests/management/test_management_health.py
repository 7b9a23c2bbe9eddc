"""Liveness asks nothing, readiness asks the stores, metrics ask for a key."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from extproc.errors import StoreUnavailable


class Slow:
    """A store that answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()

    async def ping(self) -> None:
        self.asked += 1
        await self.gate.wait()


class Broken:
    async def ping(self) -> None:
        raise StoreUnavailable("redis", "gone")


@pytest.fixture
async def nobody(gateway):
    async with gateway.caller(None) as client:
        yield client


@pytest.mark.parametrize("path", ["/health/liveliness", "/health/liveness"])
async def test_the_process_says_that_it_lives_whatever_the_database_does(gateway, nobody, path):
    await gateway.store.close()

    response = await nobody.get(path)
    assert (response.status_code, response.json()) == (200, "I'm alive!")


async def test_readiness_follows_the_database(gateway, nobody):
    up = await nobody.get("/health/readiness")
    await gateway.store.close()
    down = await nobody.get("/health/readiness")

    assert (up.status_code, up.json()) == (200, {"status": "healthy", "db": "connected"})
    assert (down.status_code, down.json()) == (503, {"status": "healthy", "db": "disconnected"})


async def test_every_store_must_answer(gateway):
    gateway.with_parts(health={"database": gateway.store, "redis": Broken()})
    async with gateway.caller(None) as nobody:
        response = await nobody.get("/health/readiness")

    assert response.status_code == 503
    assert response.json() == {"status": "healthy", "db": "connected", "redis": "disconnected"}


async def test_a_store_that_takes_too_long_does_not_answer(gateway):
    settings = msgspec.structs.replace(gateway.parts.settings, store_deadline_ms=10)
    gateway.with_parts(health={"database": Slow()}, settings=settings)
    async with gateway.caller(None) as nobody:
        assert (await nobody.get("/health/readiness")).status_code == 503


async def test_a_crowd_asks_the_stores_once(gateway):
    slow = Slow()
    gateway.with_parts(health={"database": slow})
    async with gateway.caller(None) as nobody:
        crowd = [asyncio.create_task(nobody.get("/health/readiness")) for _ in range(20)]
        for _ in range(100):
            await asyncio.sleep(0)
        crowd[0].cancel()
        slow.gate.set()
        answers = await asyncio.gather(*crowd[1:])
        assert {answer.status_code for answer in answers} == {200}
        assert slow.asked == 1

        await nobody.get("/health/readiness")
        assert slow.asked == 2


async def test_health_lists_deployments_and_where_they_lead_to_the_administrator_only(gateway, admin):
    made = await gateway.generate(models=["small"])
    async with gateway.caller(made["key"]) as owner:
        own = (await owner.get("/health")).json()
    everything = (await admin.get("/health")).json()

    assert own == {
        "healthy_endpoints": [{"model_name": "small", "model_id": "id-small"}], "unhealthy_endpoints": [],
        "healthy_count": 1, "unhealthy_count": 0, "probed": False,
    }  # fmt: skip
    assert everything["healthy_count"] == 4
    assert everything["healthy_endpoints"][2] == {
        "model_name": "small", "model_id": "id-small", "model": "openai/gpt-4o-mini",
        "api_base": "https://api.openai.com/v1",
    }  # fmt: skip


async def test_metrics_need_a_key(gateway, admin, nobody):
    made = await gateway.generate()
    async with gateway.caller(made["key"]) as owner:
        for client in (admin, owner):
            response = await client.get("/metrics")
            assert (response.status_code, response.text) == (200, "extproc_up 1\n")
            assert response.headers["content-type"].startswith("text/plain; version=")
    assert (await nobody.get("/metrics")).status_code == 401


async def test_metrics_can_be_opened_to_anyone(gateway):
    settings = msgspec.structs.replace(gateway.parts.settings, require_auth_for_metrics_endpoint=False)
    gateway.with_parts(settings=settings)
    async with gateway.caller(None) as nobody:
        assert (await nobody.get("/metrics")).status_code == 200
