"""A whole gateway for tests: real Envoy, the real server in a process of its own, a scripted provider behind.

The server may be killed and started again on the same data directory and sockets while Envoy lives on. Everything that
a test asks the gateway goes through Envoy, except `settled`, which watches the server's own gauges.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import os
import pickle
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import MASTER_KEY, Nursery, Server
from running_envoy import LOGGED_WITHIN_SECONDS, RunningEnvoy, free_port, running_envoy, whole_lines

from extproc.envoyconfig import render
from extproc.model import Deployment, PriceOverride, SecretRef, Upstream
from extproc.settings import Layout, Settings
from extproc.supervisor import certificates, layout

CHAT = "/v1/chat/completions"
HELLO: Any = [{"role": "user", "content": "Say hello, please."}]
READY_WITHIN_SECONDS = 60
SETTLED_WITHIN_SECONDS = 60
STOPPED_WITHIN_SECONDS = 15
Row = dict[str, Any]


class Gateway:
    """Everything that runs. `http` and `https` are base URLs; `admin` speaks with the master key."""

    def __init__(self, settings: Settings, layout: Layout, envoy: RunningEnvoy, nursery: Nursery) -> None:
        self.settings = settings
        self.layout = layout
        self.envoy = envoy
        self._nursery = nursery
        self.http = f"http://127.0.0.1:{layout.http_port}"
        self.https = f"https://localhost:{layout.https_port}"
        self.admin = httpx.AsyncClient(base_url=self.http, headers=bearer(MASTER_KEY), timeout=30)
        self._server: Server | None = None
        self._faults: tuple[str, ...] = ()
        self._log = Path(layout.admin_socket).parent / "server.log"

    @property
    def authority(self) -> Path:
        """The PEM file that clients must trust."""
        found = certificates.paths(Path(self.layout.data_dir) / "tls").authority
        assert found is not None
        return found

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    @property
    def faulty(self) -> bool:
        """Whether the server is not running, or not as it should."""
        return self._server is None or not self._server.running or bool(self._faults)

    def log(self) -> str:
        """All that every server so far wrote."""
        return self._log.read_text()

    async def logged(self, text: str) -> str:
        """The first line that holds `text`, as soon as a server has written it."""
        async with asyncio.timeout(LOGGED_WITHIN_SECONDS):
            while True:
                for line in whole_lines(self.log()):
                    if text in line:
                        return line
                await asyncio.sleep(0.02)

    async def start_server(self, *faults: str) -> None:
        """Start the server and wait until it answers through Envoy."""
        arguments = Path(self.layout.admin_socket).parent / "arguments.pickle"
        arguments.write_bytes(pickle.dumps((self.settings, self.layout, 0)))
        self._server, self._faults = await self._nursery.start(arguments, self._log, *faults), faults
        await self._until_ready()

    async def kill_server(self) -> None:
        """SIGKILL: nothing that the server would like to do at its end is done."""
        if self._server is not None:
            self._server.signal(signal.SIGKILL)
            await self._server.wait()

    async def stop_server(self) -> None:
        """SIGTERM: the server drains."""
        if self._server is not None:
            self._server.signal(signal.SIGTERM)
            await self._server.wait()

    async def restart_server(self, *faults: str) -> None:
        """SIGKILL, then start."""
        await self.kill_server()
        await self.start_server(*faults)

    async def new_key(self, **fields: Any) -> str:
        """A fresh virtual key."""
        response = await self.admin.post("/key/generate", json=fields)
        assert response.status_code == 200, response.text
        return str(response.json()["key"])

    async def rows(self, request_id: str = "", **query: Any) -> list[Row]:
        """The ledger's rows when every exchange so far is over and booked: by an id of any kind, or another filter."""
        await self.settled()
        parameters = query | ({"request_id": request_id} if request_id else {})
        response = await self.admin.get("/spend/logs", params={"limit": 10_000} | parameters)
        assert response.status_code == 200, response.text
        found: list[Row] = response.json()
        return found

    async def only_row(self, request_id: str) -> Row:
        (row,) = await self.rows(request_id)
        return row

    async def gauge(self, name: str) -> float:
        transport = httpx.AsyncHTTPTransport(uds=self.layout.management_socket)
        async with httpx.AsyncClient(transport=transport, base_url="http://server", timeout=30) as client:
            text = (await client.get("/metrics", headers=bearer(MASTER_KEY))).text
        return next(float(line.split(" ")[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def settled(self) -> None:
        """No exchange is in flight and every receipt is booked."""
        async with asyncio.timeout(SETTLED_WITHIN_SECONDS):
            while await self.gauge("extproc_exchanges_in_flight") or await self.gauge("extproc_outbox_depth"):
                await asyncio.sleep(0.02)

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        """Hold every lock that SQLite needs for reading and writing in WAL mode (`wal.c`: bytes 120 to 127 of -shm)."""
        with (Path(self.layout.data_dir) / "extproc.db-shm").open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)
            yield

    def resident_bytes(self) -> int:
        """The memory that the server holds now."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def close(self) -> None:
        """Stop the server; one that cannot end, as on a disk that a failed test left full, is killed."""
        await self.admin.aclose()
        try:
            await asyncio.wait_for(self.stop_server(), STOPPED_WITHIN_SECONDS)
        except TimeoutError:
            await self.kill_server()

    async def _until_ready(self) -> None:
        async with (
            asyncio.timeout(READY_WITHIN_SECONDS),
            httpx.AsyncClient(base_url=self.http, timeout=READY_WITHIN_SECONDS) as client,
        ):
            while (await client.post(CHAT, json={})).status_code != 401:
                assert self.server.running, self.log()[-4000:]
                await asyncio.sleep(0.05)
            while (await client.get("/health/readiness")).status_code != 200:
                await asyncio.sleep(0.05)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@contextlib.asynccontextmanager
async def keyed_client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a virtual key of its own."""
    headers = bearer(await gateway.new_key())
    async with httpx.AsyncClient(base_url=gateway.http, headers=headers, timeout=30) as found:
        yield found


def deployments(port: int) -> tuple[Deployment, ...]:
    """What the gateway serves: a model of the catalogue, one priced here, one without a price, and any script.

    A script is reached by OpenAI's APIs as `scripted/NAME`, by Anthropic's as `claude/NAME`.
    """
    upstream = Upstream("provider", "http", "127.0.0.1", port, "/v1")
    own = PriceOverride(input_cost_per_token=Decimal("0.00000123456789"), output_cost_per_token=Decimal("0.0000098765"))
    credential = SecretRef("env", "PROVIDER_KEY")
    base = f"http://127.0.0.1:{port}/v1"

    def deployment(name: str, model: str, prices: PriceOverride | None = None, provider: str = "openai") -> Deployment:
        return Deployment(f"id-of-{name}", name, provider, model, upstream, base, credential, prices)

    return (
        deployment("gpt-4o-mini", "gpt-4o-mini"),
        deployment("embedder", "text-embedding-3-small"),
        deployment("homemade", "homemade", own),
        deployment("unpriced", "unpriced"),
        deployment("scripted/*", "*", own),
        deployment("claude/*", "*", own, "anthropic"),
        deployment("claude-sonnet-5-5", "claude-sonnet-5-5", None, "anthropic"),
    )


@contextlib.asynccontextmanager
async def running_gateway(
    nursery: Nursery, upstream: ScriptedUpstream, *, data_dir: Path | None = None, **changes: Any
) -> AsyncIterator[Gateway]:
    """A gateway in front of `upstream`, its server not yet started. `changes` are settings."""
    with tempfile.TemporaryDirectory(prefix="gw-") as directory:
        settings = Settings(**{"deployments": deployments(upstream.port), **changes})
        found = free_layout(settings, data_dir or Path(directory))
        async with running_envoy(render(settings, found), "--file-flush-interval-msec", "50") as envoy:
            gateway = Gateway(settings, found, envoy, nursery)
            try:
                yield gateway
            finally:
                await gateway.close()


def free_layout(settings: Settings, data_dir: Path, workers: int = 1) -> Layout:
    """A layout on free ports, its directories and certificates made."""
    ports = layout.Ports(http=free_port(), https=free_port(), https_address="127.0.0.1")
    found = layout.build(settings, data_dir, ports, drain_seconds=3, workers=workers)
    layout.prepare(found)
    certificates.ensure(data_dir / "tls", "localhost", datetime.datetime.now(datetime.UTC))
    return found
