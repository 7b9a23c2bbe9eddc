"""How soon is a blocked key refused? `python -m benchmarks.revocation`: the last success after the block's answer.

Real Envoy, two workers, PostgreSQL, Redis. One key asks at a steady rate, whatever the answers; in each round it is
blocked while it asks. A success counts from the moment at which its request was sent: what was on its way before the
answer is nobody's fault. Rounds are calm, or what tells the workers of changes is taken away right before the block.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import typer

from benchmarks.exactness import fleet
from benchmarks.exactness.fleet import Fleet
from benchmarks.exactness.tenants import body

BEFORE_SECONDS, AFTER_SECONDS = 1.0, 2.0
_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'llm-extproc' AND query IN ('SELECT 1', 'LISTEN extproc_changed')"
)


class Round(msgspec.Struct):
    """When requests were sent, by whether they succeeded, and when the block was answered; seconds of one clock."""

    succeeded: list[float]
    refused: list[float]
    blocked_at: float = 0.0

    @property
    def last_success(self) -> float:
        """Seconds from the block's answer to the last success; negative where none came after it."""
        return max(self.succeeded) - self.blocked_at


async def nothing(_: Fleet) -> None:
    """All is well."""


async def kill_listeners(running: Fleet) -> None:
    await running.postgres.execute(_LISTENERS)


async def restart_redis(running: Fleet) -> None:
    await asyncio.to_thread(running.redis.restart)


async def both(running: Fleet) -> None:
    await asyncio.gather(kill_listeners(running), restart_redis(running))


CASES: dict[str, Callable[[Fleet], Coroutine[Any, Any, None]]] = {
    "calm": nothing,
    "LISTEN killed": kill_listeners,
    "Redis restarted": restart_redis,
    "both": both,
}


def main(
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds of each case.")] = 5,
    rate: Annotated[int, typer.Option(min=1, max=2_000, help="Requests a second in all.")] = 200,
    workers: Annotated[int, typer.Option(min=1, max=8)] = 2,
) -> None:
    """Print the last success after the block's answer, for each round of each case."""
    with (
        tempfile.TemporaryDirectory(prefix="revoke-") as folder,
        fleet.started(Path(folder), workers=workers) as running,
    ):
        print(f"{workers} workers, {rate} requests a second; the last success after the block's answer\n")
        print("| case | rounds (ms) | worst (ms) | successes, refusals |\n|---|---|---|---|")
        for name, disturb in CASES.items():
            done = [asyncio.run(_round(running, rate, disturb)) for _ in range(rounds)]
            last = [round(each.last_success * 1_000) for each in done]
            counted = f"{sum(len(each.succeeded) for each in done)}, {sum(len(each.refused) for each in done)}"
            print(f"| {name} | {', '.join(map(str, last))} | {max(last)} | {counted} |", flush=True)


async def _round(running: Fleet, rate: int, disturb: Callable[[Fleet], Coroutine[Any, Any, None]]) -> Round:
    found = Round([], [])
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=running.url, timeout=30, limits=limits) as client:
        made = await client.post("/key/generate", json={}, headers=running.headers())
        key = made.raise_for_status().json()["key"]
        sending = asyncio.create_task(_send(client, key, rate, found))
        await asyncio.sleep(BEFORE_SECONDS)
        await disturb(running)
        (await client.post("/key/block", json={"key": key}, headers=running.headers())).raise_for_status()
        found.blocked_at = time.monotonic()
        await sending
    return found


async def _send(client: httpx.AsyncClient, key: str, rate: int, found: Round) -> None:
    """At the rate, never waiting for an answer, until a while after the block."""
    began, sent = time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while not found.blocked_at or time.monotonic() < found.blocked_at + AFTER_SECONDS:
            group.create_task(_ask(client, key, found))
            sent += 1
            await asyncio.sleep(max(0.0, began + sent / rate - time.monotonic()))


async def _ask(client: httpx.AsyncClient, key: str, found: Round) -> None:
    sent_at = time.monotonic()
    asked = body("revocation", 1, 1, stream=False, suffix="", model="truth")
    answer = await client.post("/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {key}"})
    (found.succeeded if answer.status_code == 200 else found.refused).append(sent_at)


if __name__ == "__main__":
    typer.run(main)
