"""What tests of stores share: a store in each kind of database, and a Redis where each has a namespace of its own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from counting import NOW
from empty_sqlite import empty_sqlite
from running_postgres import bare_database, fresh_database
from running_redis import RunningRedis, running_redis

from extproc.stores.counters import CounterStore
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.counters_redis import RedisCounters
from extproc.stores.sql import SqlStore

Databases = dict[str, Callable[[Path], contextlib.AbstractAsyncContextManager[str]]]


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[str]:
    yield empty_sqlite(folder)


@contextlib.asynccontextmanager
async def bare_sqlite(folder: Path) -> AsyncIterator[str]:
    yield f"sqlite+aiosqlite:///{folder}/extproc.db"


#: The URL of each kind of database, without rows.
EMPTY: Databases = {"sqlite": sqlite, "postgresql": lambda _: fresh_database()}
#: The URL of each kind of database, without tables.
BARE: Databases = {"sqlite": bare_sqlite, "postgresql": lambda _: bare_database()}


@pytest.fixture(params=EMPTY)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with EMPTY[request.param](tmp_path) as url:
        opened = await SqlStore.open(url)
        yield opened
        await opened.close()


@pytest.fixture(params=BARE)
async def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with BARE[request.param](tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RunningRedis]:
    with running_redis() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def counters(request: pytest.FixtureRequest, redis_server: RunningRedis) -> AsyncIterator[CounterStore]:
    """An empty counter store of each kind."""
    if request.param == "memory":
        yield MemoryCounters(lambda: NOW)
        return
    opened = RedisCounters(redis_server.url, namespace=uuid.uuid4().hex, deadline_ms=10_000)
    yield opened
    await opened.close()
