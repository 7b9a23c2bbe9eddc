"""Three real workers behind a real Envoy, on a real PostgreSQL and a real Redis, with a scripted provider behind.

Everything that a test asks goes through Envoy, except what watches: the gauges of each worker at its own socket, and
the counters in Redis. A provider's prices are simple: nothing for the prompt, a tenth of a cent for each token of the
answer.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import json
import pickle
import re
import signal
import tempfile
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from gateway.running_gateway import CHAT, HELLO, Row, bearer, free_layout
from gateway.scripted_upstream import Script, ScriptedUpstream
from gateway.server_processes import MASTER_KEY, Nursery, Server
from pydantic import SecretStr
from running_envoy import RunningEnvoy, running_envoy, whole_lines
from running_postgres import fresh_database
from running_redis import RunningRedis, running_redis

from extproc.bodies import request
from extproc.envoyconfig import render
from extproc.holds import Level, Limit, Measure, Scope, Span
from extproc.model import Deployment, PriceOverride, SecretRef, Upstream
from extproc.providers import openai_chat
from extproc.settings import Layout, Settings
from extproc.stores.counters_redis import RedisCounters

WORKERS = 3
WITHIN_SECONDS = 60
#: Nanos of an output token.
TOKEN = 1_000_000


class Fleet:
    """Everything that runs. `admin` speaks with the master key."""

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        envoy: RunningEnvoy,
        nursery: Nursery,
        redis: RunningRedis,
        database: str,
    ) -> None:
        self.settings = settings
        self.layout = layout
        self.redis = redis
        self.database = database
        self.http = f"http://127.0.0.1:{layout.http_port}"
        self.admin = httpx.AsyncClient(base_url=self.http, headers=bearer(MASTER_KEY), timeout=WITHIN_SECONDS)
        self.counters = RedisCounters(redis.url, deadline_ms=10_000)
        self.workers: dict[int, Server] = {}
        self._envoy = envoy
        self._nursery = nursery
        self._folder = Path(layout.admin_socket).parent

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log lines of all workers about this, each with its `worker`."""
        found = (self._log(worker) for worker in range(WORKERS))
        texts = (path.read_text() for path in found if path.exists())
        records = (json.loads(line) for text in texts for line in whole_lines(text) if line.startswith("{"))
        return [record for record in records if record["event"] == event]

    async def start(self, *workers: int) -> None:
        """Start these, and wait until each serves. Sockets do not tell: one that was killed has left them behind."""
        served = {worker: self._served(worker) for worker in workers}
        for worker in workers:
            arguments = self._folder / f"arguments-{worker}.pickle"
            arguments.write_bytes(pickle.dumps((self.settings, self.layout, worker)))
            self.workers[worker] = await self._nursery.start(arguments, self._log(worker))
        async with asyncio.timeout(WITHIN_SECONDS):
            for worker in workers:
                while self._served(worker) == served[worker]:
                    assert self.workers[worker].running, self._log(worker).read_text()[-4000:]
                    await asyncio.sleep(0.02)

    async def kill(self, worker: int) -> None:
        """SIGKILL: nothing that the worker would like to do at its end is done."""
        self.workers[worker].signal(signal.SIGKILL)
        await self.workers[worker].wait()

    async def new_key(self, **fields: Any) -> str:
        response = await self.admin.post("/key/generate", json=fields)
        assert response.status_code == 200, response.text
        return str(response.json()["key"])

    def client(self, key: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.http, headers=bearer(key), timeout=WITHIN_SECONDS, limits=httpx.Limits(max_connections=None)
        )

    async def at_once(self, key: str, count: int, **body: Any) -> list[httpx.Response]:
        """So many requests at the same time."""
        async with self.client(key) as client:
            asked = (client.post(CHAT, json={"messages": HELLO, **body}) for _ in range(count))
            return await asyncio.gather(*asked)

    async def gauges(self, worker: int) -> dict[str, float]:
        """A worker's own metrics that have no label; nothing where it is gone, which one that is slow is not."""
        transport = httpx.AsyncHTTPTransport(uds=self.layout.management_sockets[worker])
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url="http://worker", timeout=WITHIN_SECONDS
            ) as client:
                text = (await client.get("/metrics/worker")).text
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return {}
        return {name: float(value) for name, value in re.findall(r"^(\w+) ([-+.e\d]+)$", text, re.MULTILINE)}

    async def settled(self) -> None:
        """No exchange is in flight anywhere and every receipt is booked."""
        async with asyncio.timeout(WITHIN_SECONDS):
            for worker in range(WORKERS):
                while True:
                    gauges = await self.gauges(worker)
                    if not gauges or not (gauges["extproc_exchanges_in_flight"] or gauges["extproc_outbox_depth"]):
                        break
                    await asyncio.sleep(0.02)

    async def rows(self, key: str) -> list[Row]:
        """The ledger's rows of a key when all is settled."""
        await self.settled()
        response = await self.admin.get("/spend/logs", params={"api_key": digest(key), "limit": 10_000})
        assert response.status_code == 200, response.text
        found: list[Row] = response.json()
        return found

    async def spent(self, key: str) -> int:
        """Nanos that the ledger has of a key."""
        return sum(row["spend_nanos"] for row in await self.rows(key))

    async def level(self, key: str, measure: Measure, span: Span) -> Level | None:
        """How full a counter of the key is; `None` for one that will be read from the ledger."""
        (level,) = await self.counters.levels([Limit(Scope("api_key", digest(key)), measure, span, 0)])
        return level

    async def level_becomes(self, expected: Level, key: str, measure: Measure, span: Span) -> None:
        level = None
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                while (level := await self.level(key, measure, span)) != expected:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{measure} is {level}, not {expected}") from None

    async def reconciles(self, key: str, model: str, within_seconds: float = WITHIN_SECONDS) -> None:
        """The counter of the key's budget is what the ledger says, and nothing is held. One that will be read from the
        ledger is asked for."""
        async with asyncio.timeout(within_seconds):
            while (level := await self.level(key, Measure.SPEND, Span.WINDOW)) != Level(await self.spent(key), 0):
                if level is None:
                    await self.at_once(key, 1, model=model)

    async def close(self) -> None:
        await self.admin.aclose()
        await self.counters.close()
        for worker in self.workers.values():
            worker.signal(signal.SIGTERM)
        for worker in self.workers.values():
            await worker.wait()

    def _served(self, worker: int) -> int:
        """How often a worker has begun to serve."""
        return sum(line["worker"] == worker for line in self.lines("serving"))

    def _log(self, worker: int) -> Path:
        return self._folder / f"worker-{worker}.log"


@contextlib.asynccontextmanager
async def running_fleet(nursery: Nursery, upstream: ScriptedUpstream, **changes: Any) -> AsyncIterator[Fleet]:
    """A fleet whose workers all run. `changes` are settings."""
    with tempfile.TemporaryDirectory(prefix="fl-") as directory, running_redis() as redis:
        async with fresh_database() as database:
            settings = Settings(
                deployments=_deployments(upstream.port),
                database_url=_literal(database),
                redis_url=_literal(redis.url),
                **{"counter_deadline_ms": 2_000, **changes},
            )
            place = free_layout(settings, Path(directory), WORKERS)
            async with running_envoy(render(settings, place)) as envoy:
                fleet = Fleet(settings, place, envoy, nursery, redis, database)
                try:
                    await fleet.start(*range(WORKERS))
                    yield fleet
                finally:
                    await fleet.close()


def played(upstream: ScriptedUpstream, model: str, script: Script) -> str:
    """Play this script for a model of the fleet; the name to ask for."""
    upstream.plays(model, script)
    return f"fleet/{model}"


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    return dict(collections.Counter(answer.status_code for answer in answers))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def prompt_tokens() -> int:
    """What `HELLO` counts here."""
    body = json.dumps({"model": "m", "messages": HELLO}).encode()
    return request.read(openai_chat, body, None).prompt.tokens()


def usage(output: int) -> dict[str, int]:
    prompt = prompt_tokens()
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def _deployments(port: int) -> tuple[Deployment, ...]:
    upstream = Upstream("provider", "http", "127.0.0.1", port, "/v1")
    prices = PriceOverride(input_cost_per_token=Decimal(0), output_cost_per_token=Decimal("0.001"))
    base = f"http://127.0.0.1:{port}/v1"
    return (Deployment("id", "fleet/*", "openai", "*", upstream, base, SecretRef("env", "PROVIDER_KEY"), prices),)


def _literal(text: str) -> SecretRef:
    return SecretRef("literal", "", SecretStr(text))
