"""Whoever is revoked is refused by every worker within a second of the answer, also around an outage of what tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from gateway.running_fleet import WORKERS, Fleet, played, running_fleet, usage
from gateway.running_gateway import CHAT, HELLO, bearer
from gateway.scripted_upstream import WORDS, ScriptedUpstream, says
from gateway.server_processes import Nursery
from running_postgres import server

WITHIN_SECONDS = 1.0
LISTENERS = "FROM pg_stat_activity WHERE query IN ('SELECT 1', 'LISTEN extproc_changed') AND pid <> pg_backend_pid()"


class Subject(msgspec.Struct):
    """Somebody who asks until refused, and how to revoke them: a path of the management API and its body."""

    key: str
    revoke: tuple[str, dict[str, Any]]
    body: dict[str, Any] = {}
    succeeded_at: float = 0.0
    revoked_at: float = 0.0


@pytest.fixture(scope="module")
async def fleet(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Fleet]:
    # Keys that were deleted are unknown, and all come from one address.
    async with running_fleet(nursery, upstream, failed_login_attempts=0) as found:
        yield found


@pytest.fixture(scope="module")
def quick(upstream: ScriptedUpstream) -> str:
    return played(upstream, "revoked", says(WORDS, usage=usage(1)))


async def revoke(fleet: Fleet, subject: Subject) -> None:
    """A budget's counters must know, too: without Redis the answer is a 503 though the change is made."""
    path, body = subject.revoke
    answer = await fleet.admin.post(path, json=body)
    assert answer.status_code in {200, 503 if "max_budget" in body else 200}, answer.text
    subject.revoked_at = time.monotonic()


async def made(fleet: Fleet, path: str, **body: Any) -> dict[str, Any]:
    response = await fleet.admin.post(path, json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def subjects(fleet: Fleet, suffix: str) -> list[Subject]:
    blocked, deleted, paying = [await fleet.new_key() for _ in range(3)]
    team = (await made(fleet, "/team/new", team_alias=f"team-{suffix}"))["team_id"]
    user = (await made(fleet, "/user/new", user_id=f"user-{suffix}"))["user_id"]
    other = (await made(fleet, "/user/new", user_id=f"other-user-{suffix}"))["user_id"]
    await made(fleet, "/customer/new", user_id=f"customer-{suffix}")
    tag = f"tag-{suffix}"
    await made(fleet, "/tag/new", name=tag)
    return [
        Subject(blocked, ("/key/block", {"key": blocked})),
        Subject(deleted, ("/key/delete", {"keys": [deleted]})),
        Subject(await fleet.new_key(team_id=team), ("/team/block", {"team_id": team})),
        Subject(await fleet.new_key(user_id=user), ("/user/delete", {"user_ids": [user]})),
        Subject(await fleet.new_key(user_id=other), ("/user/block", {"user_id": other})),
        Subject(paying, ("/customer/block", {"user_ids": [f"customer-{suffix}"]}), {"user": f"customer-{suffix}"}),
        Subject(paying, ("/tag/update", {"name": tag, "max_budget": 0}), {"metadata": {"tags": [tag]}}),
    ]


async def ask(client: httpx.AsyncClient, subject: Subject, model: str) -> bool:
    asked_at = time.monotonic()
    answer = await client.post(
        CHAT, json={"model": model, "messages": HELLO, **subject.body}, headers=bearer(subject.key)
    )
    if answer.status_code == 200:
        subject.succeeded_at = asked_at
    return answer.status_code == 200


async def ask_on(client: httpx.AsyncClient, subject: Subject, model: str) -> None:
    """Until a while after a second after the revocation."""
    while not subject.revoked_at or time.monotonic() < subject.revoked_at + WITHIN_SECONDS + 0.3:
        await ask(client, subject, model)
        await asyncio.sleep(0.02)


async def nothing(_: Fleet) -> None:
    """All is well."""


async def kill_listeners(fleet: Fleet) -> None:
    killed = await server().execute(f"SELECT pg_terminate_backend(pid) {LISTENERS}", fleet.database.rpartition("/")[2])
    assert len(killed) >= WORKERS


async def restart_redis(fleet: Fleet) -> None:
    await asyncio.to_thread(fleet.redis.restart)


async def stop_redis_and_kill_listeners(fleet: Fleet) -> None:
    fleet.redis.kill()
    await kill_listeners(fleet)


@pytest.mark.parametrize("disturb", [nothing, kill_listeners, restart_redis, stop_redis_and_kill_listeners])
async def test_whoever_is_revoked_is_refused_everywhere_within_a_second(
    fleet: Fleet, quick: str, disturb: Callable[[Fleet], Awaitable[None]]
):
    everyone = await subjects(fleet, disturb.__name__)
    async with httpx.AsyncClient(base_url=fleet.http, timeout=30) as client:
        for subject in everyone:
            # Every worker knows them before they are revoked.
            assert all(await asyncio.gather(*(ask(client, subject, quick) for _ in range(4 * WORKERS))))
        asking = [asyncio.create_task(ask_on(client, subject, quick)) for subject in everyone]
        await disturb(fleet)
        for subject in everyone:
            await revoke(fleet, subject)
        await asyncio.gather(*asking)
    fleet.redis.restart()

    late = {subject.revoke[0]: subject.succeeded_at - subject.revoked_at for subject in everyone}
    assert max(late.values()) <= WITHIN_SECONDS, late
