"""Writing what comes from another gateway's database: many rows at a time, by their names, as often as wanted.

A row that is not there is made. One that is there is brought up to date where the other side changed it later than we
did; else it stays, for somebody changed it here. What was spent is the other side's sum and what our own ledger has
booked since. Rows without a moment of their last change are only ever made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, and_, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.model import Nanos
from extproc.stores.sql_database import Database
from extproc.stores.sql_rows import to_columns
from extproc.stores.tables import budgets, end_users, keys, ledger, memberships, tags, teams, users

#: The tables that are written, by the name of what they hold; and the ledger's columns that name it.
_TABLES: Mapping[str, tuple[Table, tuple[str, ...]]] = {
    "budgets": (budgets, ()),
    "teams": (teams, ("team_id",)),
    "users": (users, ("user_id",)),
    "memberships": (memberships, ("user_id", "team_id")),
    "keys": (keys, ("key_digest",)),
    "end_users": (end_users, ("end_user",)),
    "tags": (tags, ()),
}
#: Names that only one may have, beside the primary key.
_UNIQUE = {"keys": "alias", "users": "email"}
_UNTOUCHED = frozenset({"booked", "created_at", "created_by"})


class Written(msgspec.Struct):
    """How many rows were made, changed, and left as they were; and whose name was taken by another."""

    made: int = 0
    changed: int = 0
    kept: int = 0
    taken: list[str] = []

    def __iadd__(self, other: Written) -> Written:
        self.made += other.made
        self.changed += other.changed
        self.kept += other.kept
        self.taken += other.taken
        return self


class SqlImports:
    """Writes batches. `prefix` begins the event ids of imported receipts: those are not our own bookings."""

    def __init__(self, database: Database, *, prefix: str, dry_run: bool = False, overwrite: bool = False) -> None:
        self._database = database
        self._prefix = prefix
        self._dry_run = dry_run
        self._overwrite = overwrite

    async def write(self, kind: str, values: Sequence[msgspec.Struct]) -> Written:
        """One batch, in one transaction. Raises `StoreUnavailable`."""
        table, named_by = _TABLES[kind]
        identity = [column.name for column in table.primary_key.columns]
        rows = {tuple(row[name] for name in identity): row for row in (_row(table, value) for value in values)}
        async with self._database.writing() as connection:
            there = await _there(connection, table, identity, rows)
            written = Written(taken=await _release_taken(connection, table, kind, identity, rows))
            made = [row for name, row in rows.items() if name not in there]
            later = [row for name, row in rows.items() if name in there and self._is_later(table, row, there[name])]
            if not self._dry_run:
                own = await self._own_spend(connection, named_by, later)
                await _make(connection, table, made)
                await _change(connection, table, identity, [_with_own(row, own, identity) for row in later])
        written.made, written.changed = len(made), len(later)
        written.kept = len(rows) - len(made) - len(later)
        return written

    async def unknown_events(self, event_ids: Collection[str]) -> int:
        """How many of these the ledger does not have."""
        async with self._database.reading() as connection:
            known = select(func.count()).select_from(ledger).where(ledger.c.event_id.in_(event_ids))
            return len(set(event_ids)) - int(await connection.scalar(known) or 0)

    def _is_later(self, table: Table, row: Mapping[str, Any], updated_at: int | None) -> bool:
        if self._overwrite:
            return True
        return updated_at is not None and table is not end_users and row["updated_at"] >= updated_at

    async def _own_spend(
        self, connection: AsyncConnection, named_by: tuple[str, ...], rows: Sequence[Mapping[str, Any]]
    ) -> dict[tuple[Any, ...], Nanos]:
        """What our own exchanges have booked on these."""
        if not named_by or not rows:
            return {}
        columns = [ledger.c[name] for name in named_by]
        identity = ("digest",) if named_by == ("key_digest",) else named_by if len(named_by) > 1 else ("id",)
        statement = (
            select(*columns, func.sum(ledger.c.spend))
            .where(
                columns[0].in_([row[identity[0]] for row in rows]),
                ~ledger.c.event_id.startswith(self._prefix, autoescape=True),
            )
            .group_by(*columns)
        )
        return {tuple(row[:-1]): int(row[-1] or 0) for row in (await connection.execute(statement)).all()}


def _row(table: Table, value: msgspec.Struct) -> dict[str, Any]:
    row = to_columns(table, msgspec.structs.asdict(value))
    if "booked" in table.c:
        row["booked"] = row["spend"]
    return row


async def _there(
    connection: AsyncConnection, table: Table, identity: Sequence[str], rows: Collection[tuple[Any, ...]]
) -> dict[tuple[Any, ...], int | None]:
    """Which of these rows there are, with the moment of their last change."""
    columns = [table.c[name] for name in identity]
    updated = table.c.updated_at if "updated_at" in table.c else columns[0]
    chosen = columns[0].in_({name[0] for name in rows})
    held = select(*columns, updated).where(chosen).order_by(*columns).with_for_update()
    found = (await connection.execute(held)).all()
    dated = "updated_at" in table.c
    return {tuple(row[:-1]): row[-1] if dated else None for row in found if tuple(row[:-1]) in rows}


async def _release_taken(
    connection: AsyncConnection, table: Table, kind: str, identity: Sequence[str], rows: Mapping[Any, dict[str, Any]]
) -> list[str]:
    """Take names from rows where somebody else here has them already; which ones."""
    if (unique := _UNIQUE.get(kind)) is None:
        return []
    wanted = {row[unique]: row for row in rows.values() if row[unique] is not None}
    column, owner = table.c[unique], table.c[identity[0]]
    holders = (await connection.execute(select(column, owner).where(column.in_(wanted)))).all()
    taken = [name for name, holder in holders if wanted[name][identity[0]] != holder]
    for name in taken:
        wanted[name][unique] = None
    return taken


async def _make(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        await connection.execute(insert(table), rows)


async def _change(
    connection: AsyncConnection, table: Table, identity: Sequence[str], rows: Sequence[dict[str, Any]]
) -> None:
    if rows:
        chosen = and_(*(table.c[name] == bindparam(f"_{name}") for name in identity))
        fixed = {*identity, *_UNTOUCHED}
        names = [name for name in rows[0] if name not in fixed]
        changed = update(table).where(chosen).values({name: bindparam(f"new_{name}") for name in names})
        bound = [
            {**{f"_{name}": row[name] for name in identity}, **{f"new_{name}": row[name] for name in names}}
            for row in rows
        ]
        await connection.execute(changed, bound)


def _with_own(row: dict[str, Any], own: Mapping[tuple[Any, ...], Nanos], identity: Sequence[str]) -> dict[str, Any]:
    booked = own.get(tuple(row[name] for name in identity), 0)
    return {**row, "spend": row["spend"] + booked} if booked else row
