"""Writing what comes from another gateway's database: many rows at a time, by their names, as often as wanted.

A row that is not there is made. One that is there is brought up to date where the other side changed it later than we
did; else it stays, for somebody changed it here. What was spent is the other side's sum and what our own ledger has
booked since. Rows without a moment of their last change are only ever made.

Each row that is made, and each in which anything is different afterwards, leaves an entry in the audit trail, in the
transaction of its batch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, and_, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.model import Nanos
from extproc.stores.sql_audit import Change, SqlTrail
from extproc.stores.sql_rows import hold, to_columns
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

    def __init__(self, trail: SqlTrail, *, prefix: str, dry_run: bool = False, overwrite: bool = False) -> None:
        self._trail = trail
        self._prefix = prefix
        self._dry_run = dry_run
        self._overwrite = overwrite

    async def write(self, kind: str, values: Sequence[msgspec.Struct]) -> Written:
        """One batch, in one transaction. Raises `StoreUnavailable`."""
        table, named_by = _TABLES[kind]
        identity = [column.name for column in table.primary_key.columns]
        rows = {tuple(row[name] for name in identity): row for row in (_row(table, value) for value in values)}
        async with self._trail.changing() as change:
            there = await _there(change.connection, table, identity, rows)
            written = Written(taken=await _release_taken(change.connection, table, kind, identity, rows))
            made = {name: row for name, row in rows.items() if name not in there}
            later = {name: rows[name] for name in there if self._is_later(table, rows[name], there[name])}
            if not self._dry_run:
                own = await self._own_spend(change.connection, named_by, [*later.values()])
                await _make(change, table, made)
                await _change(change, table, there, {name: _with_own(later[name], own.get(name, 0)) for name in later})
        written.made, written.changed = len(made), len(later)
        written.kept = len(rows) - len(made) - len(later)
        return written

    async def unknown_events(self, event_ids: Collection[str]) -> int:
        """How many of these the ledger does not have."""
        async with self._trail.database.reading() as connection:
            known = select(func.count()).select_from(ledger).where(ledger.c.event_id.in_(event_ids))
            return len(set(event_ids)) - int(await connection.scalar(known) or 0)

    def _is_later(self, table: Table, row: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
        is_dated = "updated_at" in table.c and table is not end_users
        return self._overwrite or (is_dated and row["updated_at"] >= there["updated_at"])

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
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Which of these rows there are, as they are."""
    found = await hold(connection, table, table.c[identity[0]].in_({name[0] for name in rows}))
    named = {tuple(row[name] for name in identity): row for row in found}
    return {name: row for name, row in named.items() if name in rows}


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


async def _make(change: Change, table: Table, rows: Mapping[tuple[Any, ...], dict[str, Any]]) -> None:
    if rows:
        await change.connection.execute(insert(table), [*rows.values()])
        for name, row in rows.items():
            change.created(table.name, ":".join(name), row)


async def _change(
    change: Change,
    table: Table,
    there: Mapping[tuple[Any, ...], dict[str, Any]],
    rows: Mapping[tuple[Any, ...], dict[str, Any]],
) -> None:
    if not rows:
        return
    identity = [column.name for column in table.primary_key.columns]
    chosen = and_(*(table.c[name] == bindparam(f"_{name}") for name in identity))
    fixed = {*identity, *_UNTOUCHED}
    names = [name for name in next(iter(rows.values())) if name not in fixed]
    changed = update(table).where(chosen).values({name: bindparam(f"new_{name}") for name in names})
    bound = [
        {**{f"_{name}": row[name] for name in identity}, **{f"new_{name}": row[name] for name in names}}
        for row in rows.values()
    ]
    await change.connection.execute(changed, bound)
    for name, row in rows.items():
        change.renewed(table.name, ":".join(name), there[name], {**there[name], **{each: row[each] for each in names}})


def _with_own(row: dict[str, Any], booked: Nanos) -> dict[str, Any]:
    return {**row, "spend": row["spend"] + booked} if booked else row
