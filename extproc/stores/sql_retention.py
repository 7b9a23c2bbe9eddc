"""Rows of the ledger that are older than anybody wants to keep are purged; their sums stay.

A few rows a transaction, the oldest first, with a pause between two, so that no booking waits long. On PostgreSQL each
transaction takes an advisory lock; whoever does not get it leaves the work to the worker that has it. SQLite has one
process.

Counters are read from the ledger, so no row goes that a window may still count: nothing is younger than the longest
duration of any budget there is. A budget without one is read from what stands beside a name, or from the sums by day
(`sql_settled.py`), which are left alone, as the audit trail is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

import msgspec
from sqlalchemy import Table, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.errors import StoreUnavailable
from extproc.model import Allowance, UnixMs
from extproc.stores.sql_database import Database
from extproc.stores.tables import budgets, end_users, keys, ledger, ledger_tags, memberships, tags, teams, users
from extproc.stores.tables_contents import contents

logger = logging.getLogger(__name__)

_DAY_MS = 86_400_000
#: Limits of a minute and of a day are read from the ledger, too.
_LEAST_MS = 2 * _DAY_MS
_BATCH = 1_000
_PAUSE_SECONDS = 0.05
_LOCKS = {"postgresql": text("SELECT pg_try_advisory_xact_lock(7240583120)")}
_OWNERS = (keys, teams, users, memberships, end_users, tags, budgets)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long rows are kept, and how often is looked for older ones: milliseconds. `everybody` is the allowance of all
    requests together, which stands in no table; `most_ms` says how long a window of a duration may be. `report` is told
    how many rows went and when (Unix ms)."""

    keep_ms: int
    interval_ms: int
    everybody: Allowance
    most_ms: Callable[[str], int]
    now: Callable[[], UnixMs]
    report: Callable[[int, UnixMs], None]
    batch: int = _BATCH
    pause_seconds: float = _PAUSE_SECONDS


async def purge_until_cancelled(database: Database, retention: Retention) -> None:
    """Purge now, and again whenever the interval is over. An outage of the database is waited out."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            await purge(database, retention)
        await asyncio.sleep(retention.interval_ms / 1_000)


async def purge(database: Database, retention: Retention) -> int:
    """How many rows went. Raises `StoreUnavailable`; what was purged until then stays purged."""
    now, total = retention.now(), 0
    before = now - max(retention.keep_ms, _LEAST_MS, await _longest_window(database, retention))
    while True:
        async with database.writing() as connection:
            gone = await _purge_some(connection, before, retention.batch)
        total += gone or 0
        if gone is None or gone < retention.batch:
            break
        await asyncio.sleep(retention.pause_seconds)
    if gone is not None:
        logger.info("ledger_purged", extra={"rows": total, "older_than": before})
        retention.report(total, now)
    return total


async def _purge_some(connection: AsyncConnection, before: UnixMs, most: int) -> int | None:
    """How many rows went; `None` where another worker is at it."""
    lock = _LOCKS.get(connection.dialect.name)
    if lock is not None and not await connection.scalar(lock):
        return None
    oldest = select(ledger.c.event_id, ledger.c.ended_at).where(ledger.c.ended_at < before)
    found = (await connection.execute(oldest.order_by(ledger.c.ended_at).limit(most))).all()
    if found:
        await _delete(connection, [row[0] for row in found], found[0][1], found[-1][1])
    return len(found)


async def _delete(connection: AsyncConnection, events: list[str], first: UnixMs, last: UnixMs) -> None:
    """These receipts, which ended between the two moments, what `ledger_tags` has of them, and what was said."""
    ended = ledger_tags.c.ended_at.between(first, last)
    await connection.execute(delete(ledger_tags).where(ended, ledger_tags.c.event_id.in_(events)))
    await connection.execute(delete(contents).where(contents.c.event_id.in_(events)))
    await connection.execute(delete(ledger).where(ledger.c.event_id.in_(events)))


async def _longest_window(database: Database, retention: Retention) -> int:
    """Milliseconds that the longest window of any budget may have."""
    everybody = retention.everybody
    told = {everybody.budget_duration, *_durations(everybody.model_max_budget, everybody.budget_limits)}
    async with database.reading() as connection:
        for table in _OWNERS:
            told |= await _told(connection, table)
    return max((retention.most_ms(text) for text in told if text), default=0)


async def _told(connection: AsyncConnection, table: Table) -> set[str | None]:
    """Every duration that a table's budgets have."""
    plain = select(table.c.budget_duration).where(table.c.budget_duration.is_not(None)).distinct()
    found = {*(await connection.execute(plain)).scalars()}
    own = (table.c.model_max_budget, table.c.budget_limits)
    several = select(*own).where(own[0].is_not(None) | own[1].is_not(None))
    for models, limits in (await connection.execute(several)).all():
        found |= _durations(models or {}, limits or ())
    return found


def _durations(models: dict[str, tuple[int, str | None]], limits: Iterable[tuple[str, int]]) -> set[str | None]:
    """Those of `model_max_budget` and `budget_limits`."""
    return {duration for _, duration in models.values()} | {duration for duration, _ in limits}
