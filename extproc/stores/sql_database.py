"""An engine, its transactions and its outages: what every SQL table of ours is reached through.

Reads are single statements outside any transaction. Writes are one transaction each, and on SQLite they say so at once
(`BEGIN IMMEDIATE`): a transaction that reads first and writes later could find another writer ahead of it and fail
without having waited. Inside one process writers stand in a fair queue; between processes SQLite's busy timeout waits.
PostgreSQL runs them side by side; whatever locks several rows does so in one order (`sql_ledger.py`).

`synchronous=FULL`: the outbox deletes its receipts once they are booked, so a booking must survive a power cut.
No error of a driver leaves this module, and none of its texts, for they may quote a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, NullPool, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from extproc.errors import ConfigError, StoreUnavailable
from extproc.stores import migrations, sql_url

NAME = "database"
BUSY_SECONDS = 5.0
#: How long a start waits for another process that is making or changing the tables.
_UPGRADE_SECONDS = 60.0
#: `INSERT … ON CONFLICT` is spelled alike in both, but SQLAlchemy has it in the dialects only.
INSERTS: dict[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_PRAGMAS = (
    f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1_000)}",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
)
#: Keeps other processes out while the tables change; on SQLite the transaction itself does.
_UPGRADE_LOCKS = {"postgresql": "SELECT pg_advisory_xact_lock(7240583119)"}


class Database:
    """One database. Every method raises `StoreUnavailable` where the database does not answer."""

    def __init__(self, engine: AsyncEngine, *, pooled_outside: bool = False) -> None:
        self._engine = engine
        self._readers = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._turn: contextlib.AbstractAsyncContextManager[object] = contextlib.nullcontext()
        self._closed = False
        if pooled_outside:
            # Preparing a statement and running it are two steps, which only a transaction keeps on one connection.
            self._readers = engine
        if self.dialect == "sqlite":
            # Our driver commits each statement by itself until a BEGIN says otherwise: nothing is to be set for reads.
            self._readers = engine.execution_options(begin="")
            self._turn = asyncio.Lock()
            event.listen(engine.sync_engine, "connect", _set_pragmas)
            event.listen(engine.sync_engine, "begin", _begin)

    @classmethod
    async def open(cls, url: str, *, pool_size: int | None = None) -> Database:
        """Connect, and bring the tables up to date.

        Raises `ConfigError` for a URL that cannot be used, and for tables newer than this program.
        """
        location = sql_url.read(url, pool_size)
        _keep_private(location.url)
        preparing = cls(_engine(location.url, location.arguments, poolclass=NullPool))
        try:
            await preparing._upgrade_patiently()
        finally:
            await preparing.close()
        engine = _engine(
            location.url,
            location.arguments | location.timeouts,
            pool_size=location.pool_size,
            max_overflow=0,
            pool_timeout=location.pool_seconds,
            pool_pre_ping=location.url.get_backend_name() == "postgresql",
        )
        return cls(engine, pooled_outside=location.pooled_outside)

    @classmethod
    def connect(cls, url: str) -> Database:
        """Somebody else's database: its tables are left as they are, and a statement may take as long as it takes.

        Raises `ConfigError` for a URL that cannot be used.
        """
        location = sql_url.read(url)
        engine = _engine(location.url, location.arguments, poolclass=NullPool)
        return cls(engine, pooled_outside=location.pooled_outside)

    @property
    def dialect(self) -> str:
        return self._engine.dialect.name

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement sees what is committed when it runs."""
        self._check_open()
        with _outages():
            async with self._readers.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed at the end, or rolled back by an exception."""
        self._check_open()
        with _outages():
            async with self._turn, self._engine.begin() as connection:
                yield connection

    async def revision(self) -> str:
        """The step of `migrations/` that the tables are at."""
        async with self.reading() as connection:
            return str(await connection.scalar(text("SELECT version_num FROM alembic_version")))

    async def close(self) -> None:
        """Let go of every connection; whatever is asked afterwards is an outage."""
        self._closed = True
        await self._engine.dispose()

    async def _upgrade_patiently(self) -> None:
        deadline = time.monotonic() + _UPGRADE_SECONDS
        while True:
            try:
                await self._upgrade()
            except StoreUnavailable as outage:
                # SQLite does not wait for a lock where waiting might never end, as on the way to WAL.
                if outage.reason not in {"SQLITE_BUSY", "SQLITE_LOCKED"} or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def _upgrade(self) -> None:
        if self.dialect == "sqlite":
            async with self.reading() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        async with self.writing() as connection:
            if lock := _UPGRADE_LOCKS.get(self.dialect):
                await connection.exec_driver_sql(lock)
            await connection.run_sync(upgrade)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(NAME, "closed")


def _engine(url: URL, arguments: dict[str, Any], **pool: Any) -> AsyncEngine:
    return create_async_engine(url, hide_parameters=True, connect_args=arguments, **pool)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the steps that this database has not seen, in the transaction of the connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, to)
    except CommandError:
        raise ConfigError(
            "the database was written by a newer version of this program; use that or a newer one"
        ) from None


@contextlib.contextmanager
def _outages() -> Iterator[None]:
    """Tell every failure of the driver as `StoreUnavailable`, by the name of the failure only."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(NAME, _reason(error)) from None


def _reason(error: BaseException) -> str:
    """The name of the failure itself, which SQLAlchemy and its adapters wrap."""
    cause = getattr(error, "orig", None) or error
    name = getattr(cause, "sqlite_errorname", None)
    return name or type(cause.__cause__ or cause).__name__


def _keep_private(location: URL) -> None:
    """Make SQLite's file readable for its owner only; its companions take their mode from it."""
    if location.get_backend_name() == "sqlite" and location.database:
        with contextlib.suppress(OSError):
            os.close(os.open(location.database, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get("begin", "BEGIN IMMEDIATE")
    if statement:
        connection.exec_driver_sql(statement)
