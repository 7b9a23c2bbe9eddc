"""A team's own runbook for LiteLLM, kept block by block in `seed/`, and what runs its blocks here.

A block runs as it is written, but for: the address `http://localhost:4000`, which is the test's own; `python`, which is
this interpreter; and what each test says that it puts in. `curl` is told to be quiet and to show the status.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from running_postgres import fresh_database
from running_redis import running_redis
from supervisor.running_up import Up, running_up

SEED = Path(__file__).parent / "seed"
MASTER = "sk-a7f9c8e2d1b4f6a8c9e3d2b5f7a9c1e4d3b6f8a2c5e7d9b4f6a8c1e3d5b7f9a2"
FERNET = "c2VlZC1zZWVkLXNlZWQtc2VlZC1zZWVkLXNlZWQtc2U="
#: What the blocks leave to the operator: names and values of the environment.
ENVIRONMENT = {"LITELLM_MASTER_KEY": MASTER, "SEALING_KEY": FERNET}
_CONFIG = """
general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
extproc_settings:
  payload_encryption: [{key: os.environ/SEALING_KEY, keys: [sealed]}]
"""
_SECONDS = 60


class Ran:
    """How a block ended: `status` is that of the last answer that `curl` had, `body` its JSON."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def status(self) -> int:
        return int(self.err.rpartition("HTTP ")[2])

    @property
    def body(self) -> Any:
        return json.loads(self.out)


class Runbook:
    """The blocks, before one gateway. `database` is the name of its PostgreSQL database, if that is what it has."""

    def __init__(self, up: Up, database: str | None) -> None:
        self.up = up
        self.database = database

    async def shell(self, block: str, **put_in: str) -> Ran:
        """Run a block of commands in the folder of the gateway."""
        quiet = 'curl() { command curl --silent --write-out "%{stderr}HTTP %{http_code}" "$@"; }\n'
        text = written(block, **{"http://localhost:4000": self.up.http, "python -c": f"{sys.executable} -c", **put_in})
        return await self._run("bash", "-c", quiet + text)

    async def python(self, block: str, key: str, *, before: str = "", after: str = "", **put_in: str) -> Ran:
        """Run a block of Python between some lines, as a client with this key."""
        text = f"{before}\n{written(block, **put_in)}\n{after}"
        return await self._run(sys.executable, "-c", text, OPENAI_API_KEY=key, OPENAI_BASE_URL=f"{self.up.http}/v1")

    async def _run(self, *command: str, **environment: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.up.folder, env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), _SECONDS)
        return Ran(process.returncode or 0, out.decode(), err.decode())


def written(block: str, **put_in: str) -> str:
    """The text of a block, with what is put in."""
    text = (SEED / block).read_text()
    for old, new in put_in.items():
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@contextlib.asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[Runbook]:
    """A gateway on SQLite."""
    (folder / "config.yaml").write_text(_CONFIG)
    async with running_up(folder, "--config", "config.yaml") as up:
        yield Runbook(up, None)


@contextlib.asynccontextmanager
async def shared(folder: Path) -> AsyncIterator[Runbook]:
    """A gateway of two workers on PostgreSQL and Redis."""
    async with fresh_database() as database:
        with running_redis() as redis:
            stores = f'database_url: "{database}"}}\nrouter_settings: {{redis_url: "{redis.url}"}}'
            (folder / "config.yaml").write_text(_CONFIG.replace("LITELLM_MASTER_KEY}", f"LITELLM_MASTER_KEY, {stores}"))
            async with running_up(folder, "--config", "config.yaml", "--workers", "2") as up:
                yield Runbook(up, database.rpartition("/")[2])
