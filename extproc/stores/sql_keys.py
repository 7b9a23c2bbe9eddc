"""Keys in SQL.

An update writes the columns it names and no others, so it cannot undo a booking that happens at the same time, nor
another update of other columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, and_, bindparam, delete, func, insert, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.errors import AlreadyExists
from extproc.model import Key, Role, UnixMs
from extproc.stores.contract import KeyFilter, KeyPage
from extproc.stores.sql_database import Database
from extproc.stores.tables import deleted_keys, keys

COLUMNS = tuple(keys.c[name] for name in Key.__struct_fields__)
_FIND = select(*COLUMNS).where(keys.c.digest == bindparam("digest"))
_FIND_BY_ALIAS = select(*COLUMNS).where(keys.c.alias == bindparam("alias"))
_CHANGEABLE = frozenset(Key.__struct_fields__) - {"digest", "role"}
#: `KeyFilter`'s fields that must match exactly, and their columns.
_FILTERS = {
    "user_id": keys.c.user_id,
    "team_id": keys.c.team_id,
    "organization_id": keys.c.organization_id,
    "digest": keys.c.digest,
    "alias": keys.c.alias,
}


class SqlKeys:
    """A `KeyAdmin`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, digest: str) -> Key | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(_FIND, {"digest": digest})).mappings().one_or_none()
        return to_key(row) if row else None

    async def find_by_alias(self, alias: str) -> Key | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(_FIND_BY_ALIAS, {"alias": alias})).mappings().one_or_none()
        return to_key(row) if row else None

    async def create(self, key: Key) -> Key:
        values = {**to_columns(msgspec.structs.asdict(key)), "booked": 0}
        async with self._database.writing() as connection:
            try:
                await connection.execute(insert(keys).values(values))
            except IntegrityError as error:
                raise _already_exists(error, key.name, key.alias) from None
        return key

    async def update(self, digest: str, changes: Mapping[str, Any]) -> Key | None:
        if unknown := changes.keys() - _CHANGEABLE:
            raise ValueError(f"these fields of a key cannot be changed: {sorted(unknown)}")
        async with self._database.writing() as connection:
            values = to_columns(changes)
            if "fields" in changes:
                values["fields"] = await _merged_fields(connection, digest, changes["fields"])
            statement = update(keys).where(keys.c.digest == digest).values(values).returning(*COLUMNS)
            try:
                row = (await connection.execute(statement)).mappings().one_or_none()
            except IntegrityError as error:
                raise _already_exists(error, digest, changes.get("alias")) from None
        return to_key(row) if row else None

    async def delete(self, digests: Sequence[str], *, deleted_by: str, now: UnixMs) -> tuple[str, ...]:
        wanted = tuple(dict.fromkeys(digests))
        chosen = keys.c.digest.in_(wanted)
        async with self._database.writing() as connection:
            rows = (await connection.execute(select(keys).where(chosen).with_for_update())).mappings().all()
            if not rows or len(rows) != len(wanted):
                return ()
            copies = [{**row, "deleted_at": now, "deleted_by": deleted_by} for row in rows]
            await connection.execute(insert(deleted_keys), copies)
            await connection.execute(delete(keys).where(chosen))
        return wanted

    async def list(self, wanted: KeyFilter, *, page: int, size: int, sort_by: str, descending: bool) -> KeyPage:
        where = _matching(wanted)
        column = keys.c[sort_by]
        order = (column.desc() if descending else column.asc()).nulls_last()
        statement = select(*COLUMNS).where(where).order_by(order, keys.c.digest).limit(size).offset((page - 1) * size)
        async with self._database.reading() as connection:
            total = await connection.scalar(select(func.count()).select_from(keys).where(where))
            rows = (await connection.execute(statement)).mappings().all()
        return KeyPage(tuple(to_key(row) for row in rows), total or 0)


def to_key(row: RowMapping) -> Key:
    """A key from the columns of `COLUMNS`."""
    values = {name: row[name] for name in Key.__struct_fields__}
    return Key(**{**values, "models": tuple(values["models"]), "role": Role(values["role"])})


def to_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a key as their columns hold them."""
    columns = dict(values)
    if "models" in columns:
        columns["models"] = [*columns["models"]]
    if "role" in columns:
        columns["role"] = str(columns["role"])
    return columns


async def _merged_fields(connection: AsyncConnection, digest: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The key's further fields with these set; `None` takes one away."""
    held = await connection.scalar(select(keys.c.fields).where(keys.c.digest == digest).with_for_update())
    merged = {**(held or {}), **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _matching(wanted: KeyFilter) -> ColumnElement[bool]:
    given = [column == value for name, column in _FILTERS.items() if (value := getattr(wanted, name)) is not None]
    if wanted.search is not None:
        given.append(keys.c.alias.icontains(wanted.search, autoescape=True))
    return and_(true(), *given)


def _already_exists(error: IntegrityError, name: str, alias: str | None) -> AlreadyExists:
    """Which unique name was taken: every database names the constraint or the column in its message."""
    if alias is not None and "alias" in str(error.orig):
        return AlreadyExists("key_alias", alias)
    return AlreadyExists("key", name)
