"""Teams, users, members, end users, tags and budgets in SQL.

Whatever locks rows of several tables does so in one order, that of the ledger's bookings: keys, teams, users, members;
within a table by id. So two transactions never wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.errors import AlreadyExists
from extproc.model import Budget, EndUser, Membership, StoredModel, Tag, Team, UnixMs, User
from extproc.stores import tables, tables_models
from extproc.stores.sql_database import Database
from extproc.stores.sql_keys import hold_keys, retire_keys
from extproc.stores.sql_rows import Deletion, SqlRows, T, columns_of, to_columns, to_struct
from extproc.stores.tables import keys, memberships


class SqlOwners(SqlRows[T]):
    """Rows whose deletion takes keys and memberships with it: teams and users."""

    async def _delete(self, connection: AsyncConnection, names: Sequence[str], deletion: Deletion) -> bool:
        column = {"teams": "team_id", "users": "user_id"}[self._table.name]
        owned = await hold_keys(connection, keys.c[column].in_(names))
        if not await super()._delete(connection, names, deletion):
            return False
        await retire_keys(connection, owned, deletion)
        await connection.execute(delete(memberships).where(memberships.c[column].in_(names)))
        return True


class SqlMembers:
    """`Memberships`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._select = select(*columns_of(Membership, memberships)).order_by(
            memberships.c.created_at, memberships.c.team_id, memberships.c.user_id
        )

    async def add(self, members: Sequence[Membership]) -> None:
        rows = [to_columns(memberships, msgspec.structs.asdict(member)) for member in members]
        rows.sort(key=lambda row: (row["user_id"], row["team_id"]))
        async with self._database.writing() as connection:
            for row in rows:
                try:
                    await connection.execute(insert(memberships).values(row))
                except IntegrityError:
                    raise AlreadyExists("member", row["user_id"]) from None

    async def update(self, user_id: str, team_id: str, changes: Mapping[str, Any]) -> Membership | None:
        changed = update(memberships).where(_of(user_id, team_id)).values(to_columns(memberships, changes))
        async with self._database.writing() as connection:
            if changes:
                await connection.execute(changed)
            row = (await connection.execute(self._select.where(_of(user_id, team_id)))).mappings().one_or_none()
        return to_struct(Membership, row) if row else None

    async def remove(self, user_id: str, team_id: str, *, deleted_by: str, now: UnixMs) -> bool:
        of_both = and_(keys.c.user_id == user_id, keys.c.team_id == team_id)
        async with self._database.writing() as connection:
            owned = await hold_keys(connection, of_both)
            removed = await connection.execute(delete(memberships).where(_of(user_id, team_id)))
            if removed.rowcount:
                await retire_keys(connection, owned, Deletion(deleted_by, now))
        return bool(removed.rowcount)

    async def of_teams(self, team_ids: Sequence[str]) -> tuple[Membership, ...]:
        return await self._list(memberships.c.team_id.in_(team_ids))

    async def of_users(self, user_ids: Sequence[str]) -> tuple[Membership, ...]:
        return await self._list(memberships.c.user_id.in_(user_ids))

    async def _list(self, where: ColumnElement[bool]) -> tuple[Membership, ...]:
        async with self._database.reading() as connection:
            rows = (await connection.execute(self._select.where(where))).mappings().all()
        return tuple(to_struct(Membership, row) for row in rows)


class SqlEntities:
    """`Entities`, and what the data path asks of them."""

    def __init__(self, database: Database) -> None:
        self.teams: SqlRows[Team] = SqlOwners(database, Team, tables.teams, {"": "team_id"})
        self.users: SqlRows[User] = SqlOwners(database, User, tables.users, {"email": "user_email", "": "user_id"})
        self.end_users = SqlRows(database, EndUser, tables.end_users, {"": "end_user_id"})
        self.tags = SqlRows(database, Tag, tables.tags, {"": "name"})
        self.budgets = SqlRows(database, Budget, tables.budgets, {"": "budget_id"})
        self.models = SqlRows(database, StoredModel, tables_models.models, {"": "model_id"})
        self.members = SqlMembers(database)

    async def find_end_user(self, end_user: str) -> EndUser | None:
        return await self.end_users.find(end_user)

    async def find_tags(self, names: Sequence[str]) -> tuple[Tag, ...]:
        wanted = tuple(dict.fromkeys(names))
        found = {tag.name: tag for tag in await self.tags.find_many(wanted)}
        return tuple(found[name] for name in wanted if name in found)


def _of(user_id: str, team_id: str) -> ColumnElement[bool]:
    return and_(memberships.c.user_id == user_id, memberships.c.team_id == team_id)
