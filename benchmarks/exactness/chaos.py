"""Workers die, Redis forgets: what is left must add up. `python -m benchmarks.exactness.chaos`.

Three workers serve streams while one of them is killed (SIGKILL) every two seconds and started again. Then Redis is
told to forget everything, then it is restarted. Every stream is made for an end user of its own, so that the provider
can say what it generated for it: each stream that a client received to its end must have one row in the ledger with
exactly these tokens. At the end `extproc verify-ledger` must find nothing, and no place in parallel may be taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.exactness import fleet
from benchmarks.exactness.fleet import Fleet
from benchmarks.exactness.tenants import body
from benchmarks.processes import ROOT, Started, module
from extproc.holds import Limit, Measure, Scope, Span
from extproc.policy.credentials import digest
from extproc.stores.counters_redis import RedisCounters

STREAMS, PACE_MS, KILL_SECONDS = 16, 5, 2.0
#: For leases to run out, orphans to be booked and counters to be told.
SETTLE_SECONDS = 60.0


def main(
    seconds: Annotated[float, typer.Option(min=4, help="How long workers are killed.")] = 60,
) -> None:
    """Run it and print what was found; exit code 1 where something does not add up."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, fleet.started(Path(folder)) as running:
        try:
            found = asyncio.run(_run(running, seconds))
        finally:
            for worker in running.workers:
                worker.process.terminate()
                worker.process.wait()
    for name, value in found.items():
        print(f"{name}: {value}")
    sys.exit(1 if found["finished streams that do not add up"] or found["verify-ledger exit code"] else 0)


async def _run(running: Fleet, seconds: float) -> dict[str, Any]:
    told: Counter[str] = Counter()
    finished: list[str] = []
    async with httpx.AsyncClient(base_url=running.url, timeout=60, limits=httpx.Limits(max_connections=64)) as client:
        fields = {"max_budget": 1_000.0, "max_parallel_requests": 500, "rpm_limit": 1_000_000, "tpm_limit": 10**9}
        made = await client.post("/key/generate", json=fields, headers=running.headers())
        key = str(made.raise_for_status().json()["key"])
        kills = await _under_load(client, key, told, finished, _killing(running, seconds))
        await _under_load(client, key, told, finished, _forgetting(running))
        booked = await _settled(running, client, finished)
        wrong = [user for user in finished if booked[user] != (1, await _tokens(running, user))]
        code, said = await asyncio.to_thread(_verify, running)
        held = await _places(running, key)
    return {
        "kills": kills,
        "streams, as clients saw them": dict(told),
        "finished streams that do not add up": len(wrong),
        "places still taken": held,
        "verify-ledger exit code": code,
        "verify-ledger": said,
    }


async def _under_load(
    client: httpx.AsyncClient, key: str, told: Counter[str], finished: list[str], trouble: Any
) -> int:
    """Streams go on while `trouble` does; what it returns."""
    over = asyncio.Event()
    load = [asyncio.create_task(_stream_after_stream(client, key, told, finished, over)) for _ in range(STREAMS)]
    result: int = await trouble
    over.set()
    await asyncio.gather(*load)
    return result


async def _stream_after_stream(
    client: httpx.AsyncClient, key: str, told: Counter[str], finished: list[str], over: asyncio.Event
) -> None:
    while not over.is_set():
        user = f"stream-{time.monotonic_ns()}-{random.getrandbits(32)}"
        outcome = await _stream(client, key, user)
        told[outcome] += 1
        if outcome == "finished":
            finished.append(user)


async def _stream(client: httpx.AsyncClient, key: str, user: str) -> str:
    asked = body(user, random.randint(20, 200), PACE_MS, stream=True)
    end = b""
    try:
        headers = {"authorization": f"Bearer {key}"}
        async with client.stream("POST", "/v1/chat/completions", json=asked, headers=headers) as answer:
            async for piece in answer.aiter_raw():
                end = (end + piece)[-64:]
    except httpx.HTTPError:
        return "cut"
    return "finished" if end.endswith(b"[DONE]\n\n") else f"refused {answer.status_code}"


async def _killing(running: Fleet, seconds: float) -> int:
    kills, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        await asyncio.sleep(KILL_SECONDS)
        number = random.randrange(len(running.workers))
        dead = running.workers[number]
        dead.process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(dead.process.wait)
        running.workers[number] = _again(dead, running.environment)
        kills += 1
    return kills


def _again(dead: Started, environment: dict[str, str]) -> Started:
    """The same command, started anew."""
    with dead.log.open("ab") as output:
        process = subprocess.Popen(
            dead.process.args, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment
        )
    return Started(dead.name, process, dead.log)


async def _forgetting(running: Fleet) -> int:
    await asyncio.sleep(3)
    running.redis.client.flushall()
    await asyncio.sleep(5)
    await asyncio.to_thread(running.redis.restart)
    await asyncio.sleep(8)
    return 0


async def _settled(running: Fleet, client: httpx.AsyncClient, finished: list[str]) -> dict[str, tuple[int, int]]:
    """Rows and tokens of every end user, when all leases have run out."""
    await asyncio.sleep(SETTLE_SECONDS)
    rows: list[dict[str, Any]] = []
    answer = await client.get("/spend/logs", params={"limit": 10_000}, headers=running.headers())
    rows = answer.raise_for_status().json()
    counted: Counter[str] = Counter(row["end_user"] for row in rows)
    tokens: Counter[str] = Counter()
    for row in rows:
        tokens[row["end_user"]] += row["total_tokens"]
    return {user: (counted[user], tokens[user]) for user in finished}


async def _tokens(running: Fleet, user: str) -> int:
    if not _known:
        async with httpx.AsyncClient(timeout=30) as client:
            _known.update((await client.get(f"{running.generator_url}/tally")).json())
    told = _known[user]
    return int(told["prompt"]) + int(told["output"])


_known: dict[str, dict[str, int]] = {}


def _verify(running: Fleet) -> tuple[int, str]:
    done = subprocess.run(
        module("extproc", "verify-ledger", "--config", str(running.config)),
        cwd=ROOT, env=running.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]


async def _places(running: Fleet, key: str) -> int:
    limit = Limit(Scope("api_key", digest(key)), Measure.PARALLEL, Span.GAUGE, 500)
    counters = RedisCounters(running.redis.url, deadline_ms=2_000)
    with contextlib.suppress(IndexError):
        (level,) = await counters.levels([limit])
        await counters.close()
        return level.held if level else 0
    return -1


if __name__ == "__main__":
    typer.run(main)
