"""Keys in SQL. `find` answers with everyone the key belongs to, in one statement.

A regenerated key keeps its row and its digest; `find` gets to it from a new credential's digest, in that statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.errors import AlreadyExists
from extproc.model import Budget, Key, Membership, Team, UnixMs, User
from extproc.stores.contract import KeyFilter, KeyPage
from extproc.stores.sql_audit import Change, SqlTrail
from extproc.stores.sql_rows import Deletion, changed_columns, columns_of, hold, to_columns, to_joined, to_struct
from extproc.stores.tables import budgets, deleted_keys, keys, memberships, teams, users
from extproc.stores.tables_models import key_credentials

COLUMNS = columns_of(Key, keys)
_NAMED_AT_ONCE = 1_000
_OWNED = (
    select(
        *COLUMNS,
        *columns_of(Team, teams, "team__"),
        *columns_of(User, users, "user__"),
        *columns_of(Membership, memberships, "membership__"),
        *columns_of(Budget, budgets, "budget__"),
    )
    .select_from(keys)
    .outerjoin(teams, teams.c.id == keys.c.team_id)
    .outerjoin(users, users.c.id == keys.c.user_id)
    .outerjoin(memberships, and_(memberships.c.user_id == keys.c.user_id, memberships.c.team_id == keys.c.team_id))
    .outerjoin(budgets, budgets.c.id == keys.c.budget_id)
)
#: What is known of the credential that is asked for, if its key was ever regenerated.
_CREDENTIAL = select(key_credentials).where(key_credentials.c.digest == bindparam("digest"))
_FIND = _OWNED.add_columns(
    _CREDENTIAL.with_only_columns(key_credentials.c.revoke_at).scalar_subquery().label("revoked_at")
).where(
    keys.c.digest
    == func.coalesce(
        _CREDENTIAL.with_only_columns(key_credentials.c.key_digest).scalar_subquery(), bindparam("digest", type_=Text)
    )
)
_FIND_BY_ALIAS = _OWNED.where(keys.c.alias == bindparam("alias"))
#: Databases take 32 767 parameters in one statement.
_MOST_PARAMETERS = 10_000
_CHANGEABLE = frozenset(Key.__struct_fields__) & {*keys.c.keys()} - {"digest", "role"}
#: `KeyFilter`'s fields that must match exactly, and their columns.
_FILTERS = {
    "user_id": keys.c.user_id,
    "team_id": keys.c.team_id,
    "organization_id": keys.c.organization_id,
    "budget_id": keys.c.budget_id,
    "digest": keys.c.digest,
    "alias": keys.c.alias,
}


class SqlKeys:
    """A `KeyAdmin`."""

    def __init__(self, trail: SqlTrail) -> None:
        self._trail = trail
        self._database = trail.database

    async def find(self, digest: str) -> Key | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(_FIND, {"digest": digest})).mappings().one_or_none()
        return _to_owned_key(row) if row else None

    async def find_by_alias(self, alias: str) -> Key | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(_FIND_BY_ALIAS, {"alias": alias})).mappings().one_or_none()
        return _to_owned_key(row) if row else None

    async def create(self, key: Key) -> Key:
        values = {**to_columns(keys, msgspec.structs.asdict(key)), "booked": 0}
        async with self._trail.changing() as change:
            await _refuse_taken(change.connection, key.digest, key.name, key_credentials)
            try:
                await change.connection.execute(insert(keys).values(values))
            except IntegrityError as error:
                raise _already_exists(error, key.name, key.alias) from None
            change.created("keys", key.digest, values)
        return key

    async def update(self, digest: str, changes: Mapping[str, Any]) -> Key | None:
        if unknown := changes.keys() - _CHANGEABLE:
            raise ValueError(f"these fields of a key cannot be changed: {sorted(unknown)}")
        async with self._trail.changing() as change:
            if (held := await _held(change.connection, digest)) is None:
                return None
            changed = await _update(change.connection, held, changes)
            change.updated("keys", digest, held, {**held, **changed}, changes)
        return to_key(changed)

    async def regenerate(
        self, digest: str, credential: str, changes: Mapping[str, Any], *, revoke_at: UnixMs, now: UnixMs
    ) -> Key | None:
        async with self._trail.changing() as change:
            if (held := await _held(change.connection, digest)) is None:
                return None
            changed = await _update(change.connection, held, changes)
            await _refuse_taken(change.connection, credential, changed["name"], keys, key_credentials)
            await replace_credential(change.connection, digest, credential, revoke_at=revoke_at, now=now)
            change.rotated("keys", digest, held, {**held, **changed})
        return to_key(changed)

    async def delete(self, digests: Sequence[str], *, deleted_by: str, now: UnixMs) -> tuple[str, ...]:
        wanted = tuple(dict.fromkeys(digests))
        async with self._trail.changing() as change:
            held = await hold(change.connection, keys, keys.c.digest.in_(wanted))
            if not held or len(held) != len(wanted):
                return ()
            await retire_keys(change, held, Deletion(deleted_by, now))
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

    async def named(self, digests: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
        found: dict[str, tuple[str | None, str | None]] = {}
        async with self._database.reading() as connection:
            for start in range(0, len(digests), _NAMED_AT_ONCE):
                chosen = keys.c.digest.in_(digests[start : start + _NAMED_AT_ONCE])
                rows = await connection.execute(select(keys.c.digest, keys.c.alias, keys.c.team_id).where(chosen))
                found |= {row[0]: (row[1], row[2]) for row in rows}
        return found

    async def was_deleted(self, alias: str) -> bool:
        statement = select(deleted_keys.c.id).where(deleted_keys.c.alias == alias).limit(1)
        async with self._database.reading() as connection:
            return await connection.scalar(statement) is not None

    async def count_by_user(self, user_ids: Sequence[str]) -> dict[str, int]:
        owner = keys.c.user_id
        statement = select(owner, func.count()).where(owner.in_(user_ids)).group_by(owner)
        async with self._database.reading() as connection:
            return {row[0]: row[1] for row in (await connection.execute(statement)).all()}


async def _held(connection: AsyncConnection, digest: str) -> dict[str, Any] | None:
    return next(iter(await hold(connection, keys, keys.c.digest == digest)), None)


async def _update(connection: AsyncConnection, held: Mapping[str, Any], changes: Mapping[str, Any]) -> RowMapping:
    """Change a row that is held; `COLUMNS` of it as they are now."""
    values, digest = changed_columns(keys, held, changes), held["digest"]
    statement = update(keys).where(keys.c.digest == digest).values(values).returning(*COLUMNS)
    try:
        return (await connection.execute(statement)).mappings().one()
    except IntegrityError as error:
        raise _already_exists(error, digest, changes.get("alias")) from None


async def _refuse_taken(connection: AsyncConnection, digest: str, name: str, *where: Table) -> None:
    for table in where:
        if await connection.scalar(select(table.c.digest).where(table.c.digest == digest)) is not None:
            raise AlreadyExists("key", name)


async def replace_credential(
    connection: AsyncConnection, digest: str, credential: str, *, revoke_at: UnixMs, now: UnixMs
) -> None:
    """Add a credential to a key whose row is held; the others count until `revoke_at`, or less long already. The key's
    first one is remembered for good, or its digest would let it in again; others only while they count."""
    of_key = key_credentials.c.key_digest == digest
    over = and_(of_key, key_credentials.c.digest != digest, key_credentials.c.revoke_at <= now)
    await connection.execute(delete(key_credentials).where(over))
    longer = or_(key_credentials.c.revoke_at.is_(None), key_credentials.c.revoke_at > revoke_at)
    await connection.execute(update(key_credentials).where(of_key, longer).values(revoke_at=revoke_at))
    added: list[dict[str, Any]] = [{"digest": credential, "key_digest": digest, "revoke_at": None}]
    if await connection.scalar(select(key_credentials.c.digest).where(key_credentials.c.digest == digest)) is None:
        added.append({"digest": digest, "key_digest": digest, "revoke_at": revoke_at})
    await connection.execute(insert(key_credentials), added)


def to_key(row: RowMapping) -> Key:
    """A key from the columns of `COLUMNS`."""
    return to_struct(Key, row)


def _to_owned_key(row: RowMapping) -> Key:
    return to_struct(
        Key,
        row,
        team=to_joined(Team, row, "team__", "id"),
        user=to_joined(User, row, "user__", "id"),
        membership=to_joined(Membership, row, "membership__", "user_id", "team_id"),
        budget=to_joined(Budget, row, "budget__", "id"),
    )


async def retire_keys(change: Change, held: Sequence[dict[str, Any]], deletion: Deletion) -> None:
    """Delete these keys and keep a copy of them aside."""
    if held:
        connection = change.connection
        copies = [{**row, "deleted_at": deletion.now, "deleted_by": deletion.deleted_by} for row in held]
        await connection.execute(insert(deleted_keys), copies)
        digests = [row["digest"] for row in held]
        for start in range(0, len(digests), _MOST_PARAMETERS):
            some = digests[start : start + _MOST_PARAMETERS]
            await connection.execute(delete(keys).where(keys.c.digest.in_(some)))
            await connection.execute(delete(key_credentials).where(key_credentials.c.key_digest.in_(some)))
        for row in held:
            change.deleted("keys", row["digest"], row)


def _matching(wanted: KeyFilter) -> ColumnElement[bool]:
    given = [column == value for name, column in _FILTERS.items() if (value := getattr(wanted, name)) is not None]
    if wanted.team_ids is not None:
        given.append(keys.c.team_id.in_(wanted.team_ids))
    if wanted.search is not None:
        given.append(keys.c.alias.icontains(wanted.search, autoescape=True))
    if wanted.has_alias:
        given.append(keys.c.alias.is_not(None))
    if wanted.due_at is not None:
        given.append(keys.c.rotate_at <= wanted.due_at)
    return and_(true(), *given)


def _already_exists(error: IntegrityError, name: str, alias: str | None) -> AlreadyExists:
    """Which unique name was taken: every database names the constraint or the column in its message."""
    if alias is not None and "alias" in str(error.orig):
        return AlreadyExists("key_alias", alias)
    return AlreadyExists("key", name)
