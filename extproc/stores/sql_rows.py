"""Rows of one kind: from columns to values and back, and the five things that are done with them.

A column has the name of its field, so nothing is listed twice. An update writes the columns it names and no others, so
it cannot undo a booking that happens at the same time, nor another update of other columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Select, Table, and_, delete, func, insert, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import KeyedColumnElement

from extproc.errors import AlreadyExists
from extproc.model import Budget, UnixMs
from extproc.stores.contract import Page
from extproc.stores.sql_audit import Change, SqlTrail
from extproc.stores.tables import budgets

T = TypeVar("T", bound=msgspec.Struct)

#: What stands before the columns of a row that was joined to another.
_BUDGET = "budget__"


def columns_of(kind: type[msgspec.Struct], table: Table, prefix: str = "") -> list[KeyedColumnElement[Any]]:
    """The columns that hold fields of this kind; with a prefix, under names of their own."""
    found = [table.c[name] for name in kind.__struct_fields__ if name in table.c]
    return [column.label(prefix + column.name) for column in found] if prefix else [*found]


def to_struct(kind: type[T], row: RowMapping, prefix: str = "", **joined: object) -> T:
    """A value from the columns of `columns_of`, and what was joined to it. An empty column is the field's default."""
    named = ((name, row.get(prefix + name)) for name in kind.__struct_fields__)
    value = msgspec.convert({name: value for name, value in named if value is not None}, kind)
    return msgspec.structs.replace(value, **joined) if joined else value


def to_joined(kind: type[T], row: RowMapping, prefix: str, *identity: str) -> T | None:
    """A value from an outer join, `None` where there was nothing to join."""
    if any(row[prefix + name] is None for name in identity):
        return None
    return to_struct(kind, row, prefix)


def to_columns(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as their columns hold them. What was joined has no column and is left out."""
    columns = {name: value for name, value in values.items() if name in table.c}
    if isinstance(columns.get("role"), StrEnum):
        columns["role"] = str(columns["role"])
    return columns


async def hold(connection: AsyncConnection, table: Table, chosen: ColumnElement[bool]) -> list[dict[str, Any]]:
    """Whole rows in the order of their names, held until the transaction ends."""
    statement = select(table).where(chosen).order_by(*table.primary_key.columns).with_for_update()
    return [{**row} for row in (await connection.execute(statement)).mappings()]


def changed_columns(table: Table, held: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that these changes set in a row. `fields` is merged name by name; `None` takes one away."""
    values = to_columns(table, changes)
    if "fields" in changes:
        merged = {**(held["fields"] or {}), **changes["fields"]}
        values["fields"] = {name: value for name, value in merged.items() if value is not None}
    return values


class Deletion(msgspec.Struct, frozen=True):
    """By whom, and when."""

    deleted_by: str
    now: UnixMs


class SqlRows(Generic[T]):
    """`Rows` of one table.

    `taken` gives LiteLLM's name of each unique field by a word of its constraint's name; `""` is the id's.
    """

    def __init__(self, trail: SqlTrail, kind: type[T], table: Table, taken: Mapping[str, str]) -> None:
        self._trail = trail
        self._database = trail.database
        self._kind = kind
        self._table = table
        [self._identity] = table.primary_key.columns
        self._taken = taken
        self._changeable = frozenset(kind.__struct_fields__) & {*table.c.keys()} - {self._identity.name}
        self._select = self._selection()

    async def find(self, name: str) -> T | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(self._select.where(self._identity == name))).mappings().one_or_none()
        return self._value(row) if row else None

    async def find_many(self, names: Sequence[str]) -> tuple[T, ...]:
        """Those that exist."""
        if not names:
            return ()
        async with self._database.reading() as connection:
            rows = (await connection.execute(self._select.where(self._identity.in_(names)))).mappings().all()
        return tuple(self._value(row) for row in rows)

    async def create(self, row: T) -> T:
        values = to_columns(self._table, msgspec.structs.asdict(row))
        async with self._trail.changing() as change:
            try:
                await change.connection.execute(insert(self._table).values(values))
            except IntegrityError as error:
                raise self._already_exists(error, values) from None
            change.created(self._table.name, values[self._identity.name], values)
        return row

    async def update(self, name: str, changes: Mapping[str, Any]) -> T | None:
        async with self._trail.changing() as change:
            if await self._update(change, name, changes) is None:
                return None
            return await self._held(change, name)

    async def delete(self, names: Sequence[str], *, deleted_by: str, now: UnixMs) -> tuple[str, ...]:
        wanted = tuple(sorted({*names}))
        async with self._trail.changing() as change:
            return wanted if await self._delete(change, wanted, Deletion(deleted_by, now)) else ()

    async def list(
        self,
        wanted: Mapping[str, Any],
        *,
        page: int = 1,
        size: int = 1_000,
        sort_by: str = "created_at",
        descending: bool = True,
    ) -> Page[T]:
        where = self._matching(wanted)
        column = self._table.c[sort_by]
        order = (column.desc() if descending else column.asc()).nulls_last()
        statement = self._select.where(where).order_by(order, self._identity).limit(size).offset((page - 1) * size)
        async with self._database.reading() as connection:
            total = await connection.scalar(select(func.count()).select_from(self._table).where(where))
            rows = (await connection.execute(statement)).mappings().all()
        return Page(tuple(self._value(row) for row in rows), total or 0)

    async def _update(
        self, change: Change, name: str, changes: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """The whole row as it was and as it is, held; `None` where there is none."""
        if unknown := changes.keys() - self._changeable:
            raise ValueError(f"these fields cannot be changed: {sorted(unknown)}")
        chosen = self._identity == name
        held = await hold(change.connection, self._table, chosen)
        if not held:
            return None
        values = changed_columns(self._table, held[0], changes)
        try:
            if values:
                await change.connection.execute(update(self._table).where(chosen).values(values))
        except IntegrityError as error:
            raise self._already_exists(error, {self._identity.name: name, **values}) from None
        changed = {**held[0], **values}
        change.updated(self._table.name, name, held[0], changed, changes)
        return held[0], changed

    async def _held(self, change: Change, name: str) -> T:
        found = await change.connection.execute(self._select.where(self._identity == name))
        return self._value(found.mappings().one())

    async def _delete(self, change: Change, names: Sequence[str], deletion: Deletion) -> bool:
        """Delete all of them or, if one is unknown, none and say so."""
        chosen = self._identity.in_(names)
        held = await hold(change.connection, self._table, chosen)
        if not names or len(held) != len(names):
            return False
        await change.connection.execute(delete(self._table).where(chosen))
        await self._keep_aside(change.connection, held, deletion)
        for row in held:
            change.deleted(self._table.name, row[self._identity.name], row)
        return True

    async def _keep_aside(
        self, connection: AsyncConnection, held: Sequence[dict[str, Any]], deletion: Deletion
    ) -> None:
        """Copies of what is deleted, where any are kept."""

    def _selection(self) -> Select[Any]:
        columns = columns_of(self._kind, self._table)
        if "budget_id" not in self._table.c:
            return select(*columns)
        joined = self._table.outerjoin(budgets, budgets.c.id == self._table.c.budget_id)
        return select(*columns, *columns_of(Budget, budgets, _BUDGET)).select_from(joined)

    def _value(self, row: RowMapping) -> T:
        if "budget_id" not in self._table.c:
            return to_struct(self._kind, row)
        return to_struct(self._kind, row, budget=to_joined(Budget, row, _BUDGET, "id"))

    def _matching(self, wanted: Mapping[str, Any]) -> ColumnElement[bool]:
        given = [
            self._table.c[name].in_(value) if isinstance(value, tuple) else self._table.c[name] == value
            for name, value in wanted.items()
        ]
        return and_(true(), *given)

    def _already_exists(self, error: IntegrityError, values: Mapping[str, Any]) -> AlreadyExists:
        """Which unique name was taken: every database names the constraint or the column in its message."""
        for word, field in self._taken.items():
            if word and word in str(error.orig):
                return AlreadyExists(field, values.get(word) or "")
        return AlreadyExists(self._taken[""], values[self._identity.name])
