"""The real `extproc up` for tests: a process of its own, free ports, nothing of ours in its environment.

It starts in a fresh directory, as for somebody who tries it for the first time. Children are found through /proc and
held by pidfds, so that no test ever signals a process that is not its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from running_envoy import free_port

WITHIN_SECONDS = 120
#: What belongs to the shell that runs the tests, not to a first try.
FOREIGN = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "SSL_CERT_FILE", "MASTER_KEY")
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}


class Up:
    """A running `extproc up`. `out` and `err` are what it has written so far, `start` what was in `err` by then."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, http: int, https: int) -> None:
        self.process = process
        self.folder = folder
        self.data_dir = folder / "extproc-data"
        self.http = f"http://127.0.0.1:{http}"
        self.https = f"https://127.0.0.1:{https}"
        self.start = ""

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    @property
    def authority(self) -> Path:
        return self.data_dir / "tls" / "ca.pem"

    @property
    def master(self) -> dict[str, str]:
        """The administrator's header."""
        return bearer((self.data_dir / "master_key").read_text().strip())

    @property
    def sockets(self) -> list[Path]:
        """Every socket below the data directory."""
        return [path for path in self.data_dir.rglob("*") if path.is_socket()]

    def children(self) -> dict[str, int]:
        """Process ids by what runs: `envoy`, `serve`, `simulate-provider`."""
        found = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                name = arguments[4] if "extproc" in arguments else Path(arguments[0]).name
                found[name] = int(pid)
        return found

    async def kill(self, name: str) -> None:
        """SIGKILL to a child, and wait for its end."""
        handle = os.pidfd_open(self.children()[name])
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        await gone(handle)

    async def says(self, text: str) -> None:
        """Wait until stderr holds the text."""
        async with asyncio.timeout(WITHIN_SECONDS):
            while text not in self.err:
                assert self.process.returncode is None, self.err
                await asyncio.sleep(0.02)

    async def until_ready(self) -> None:
        async with asyncio.timeout(WITHIN_SECONDS):
            while "ready: " not in self.out:
                assert self.process.returncode is None, self.err
                await asyncio.sleep(0.02)

    async def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return await self.ended()

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), WITHIN_SECONDS)

    async def new_key(self) -> str:
        async with httpx.AsyncClient(base_url=self.http, timeout=30) as client:
            response = await client.post("/key/generate", json={}, headers=self.master)
            assert response.status_code == 200, response.text
            return str(response.json()["key"])

    async def chat_works(self, key: str) -> None:
        """Ask until an answer comes."""
        async with asyncio.timeout(WITHIN_SECONDS), httpx.AsyncClient(base_url=self.http, timeout=30) as client:
            while not await _answers(client, key):
                await asyncio.sleep(0.05)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def gone(handle: int) -> None:
    """Wait for the end of the process behind a pidfd, and close it."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), WITHIN_SECONDS)
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "extproc", "up", "--https-address", "127.0.0.1", *arguments)


def environment(pause_ms: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    pauses = {f"EXTPROC_SIMULATED_{name}_MS": str(pause_ms) for name in ("FIRST_TOKEN", "TOKEN")}
    return kept | pauses


@contextlib.asynccontextmanager
async def starting_up(folder: Path, *arguments: str, pause_ms: int = 0) -> AsyncIterator[Up]:
    """`extproc up` in `folder`, not yet ready; stopped at the end unless it has ended. Tokens come every `pause_ms`."""
    http, https = free_port(), free_port()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *command("--http-port", str(http), "--https-port", str(https), *arguments),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment(pause_ms),
        )
    up = Up(process, folder, http, https)
    try:
        yield up
    finally:
        if process.returncode is None:
            process.terminate()
            await up.ended()


@contextlib.asynccontextmanager
async def running_up(folder: Path, *arguments: str, pause_ms: int = 0) -> AsyncIterator[Up]:
    """The same, ready."""
    async with starting_up(folder, *arguments, pause_ms=pause_ms) as up:
        await up.until_ready()
        up.start = up.err
        yield up


async def _answers(client: httpx.AsyncClient, key: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await client.post("/v1/chat/completions", json=HELLO, headers=bearer(key))).status_code == 200
    return False
