"""Server processes for tests: started, signalled and waited for by process handles (pidfd), never by number alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MASTER_KEY = "sk-Master-0123456789-abcdefghijklmnop"
PROVIDER_KEY = "sk-provider-credential-0123456789"
ENVIRONMENT = {**os.environ, "EXTPROC_MASTER_KEY": MASTER_KEY, "PROVIDER_KEY": PROVIDER_KEY}


class Server:
    """A running server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._handle, self._end)

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    async def wait(self) -> None:
        await self._ended.wait()

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self._ended.set()


class Nursery:
    """The process that forks servers; see `gateway_program`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def start(self, arguments: Path, log: Path, *faults: str) -> Server:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(arguments), str(log), *faults]).encode() + b"\n")
        return Server(int(await self._process.stdout.readline()))


@contextlib.asynccontextmanager
async def running_nursery() -> AsyncIterator[Nursery]:
    """A nursery; when it goes, its servers go."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.gateway.gateway_program"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
