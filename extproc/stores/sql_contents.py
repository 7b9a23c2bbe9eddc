"""What was said in exchanges, in SQL: kept sealed, handed out sealed, purged by age.

A row goes with the exchange's row of the ledger where that is purged, and where the person is erased.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.errors import StoreUnavailable
from extproc.model import UnixMs
from extproc.stores.contents import SealedContent
from extproc.stores.sql_database import INSERTS, Database
from extproc.stores.sql_ledger import written
from extproc.stores.tables import ledger
from extproc.stores.tables_contents import contents

_BATCH = 500
_PAUSE_SECONDS = 0.05


class SqlContents:
    """A `ContentStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, rows: Sequence[SealedContent]) -> None:
        insert = INSERTS[self._database.dialect](contents).on_conflict_do_nothing()
        async with self._database.writing() as connection:
            erased = await _erased(connection, rows)
            kept = [
                {"event_id": row.event_id, "ended_at": row.ended_at, "sealed": row.sealed}
                for row in rows
                if row.event_id not in erased
            ]
            if kept:
                await connection.execute(insert, kept)

    async def sealed_of(self, event_ids: Sequence[str]) -> Mapping[str, str]:
        wanted = select(contents.c.event_id, contents.c.sealed).where(contents.c.event_id.in_(event_ids))
        async with self._database.reading() as connection:
            return {row[0]: row[1] for row in (await connection.execute(wanted)).all()}

    async def purge(self, before: UnixMs) -> int:
        """Forget what was said in exchanges that ended before then, some at a time; of how many."""
        oldest = select(contents.c.event_id).where(contents.c.ended_at < before).limit(_BATCH)
        gone = 0
        while True:
            async with self._database.writing() as connection:
                some = (await connection.execute(delete(contents).where(contents.c.event_id.in_(oldest)))).rowcount
            gone += some
            if some < _BATCH:
                return gone
            await asyncio.sleep(_PAUSE_SECONDS)


async def purge_until_cancelled(store: SqlContents, keep_ms: int, interval_ms: int, now: Callable[[], UnixMs]) -> None:
    """Purge now, and again whenever the interval is over. An outage of the database is waited out."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            await store.purge(now() - keep_ms)
        await asyncio.sleep(interval_ms / 1_000)


async def forget(connection: AsyncConnection, event_ids: Sequence[str]) -> None:
    """Forget what was said in these exchanges."""
    await connection.execute(delete(contents).where(contents.c.event_id.in_(event_ids)))


async def _erased(connection: AsyncConnection, rows: Sequence[SealedContent]) -> frozenset[str]:
    """The exchanges whose row in the ledger is somebody else's by now. The others stay theirs until the transaction
    ends: an erasure waits, and then finds what was kept."""
    whose = {row.event_id: (written(row.user_id), written(row.end_user)) for row in rows}
    known = select(ledger.c.event_id, ledger.c.user_id, ledger.c.end_user).where(ledger.c.event_id.in_(whose))
    held = known.order_by(ledger.c.event_id).with_for_update(read=True)
    found = (await connection.execute(held)).all()
    return frozenset(event_id for event_id, *names in found if tuple(names) != whose[event_id])
