"""Teams, users, members, end users, tags and budgets in SQL.

Whatever locks rows of several tables does so in one order, that of the ledger's bookings: keys, teams, users, members;
within a table by id. So two transactions never wait for each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.errors import AlreadyExists
from extproc.model import Budget, EndUser, Membership, StoredModel, Tag, Team, UnixMs, User
from extproc.stores import tables, tables_models
from extproc.stores.sql_audit import Change, SqlTrail
from extproc.stores.sql_keys import retire_keys
from extproc.stores.sql_persons import SqlPersons
from extproc.stores.sql_reset import reset_spend
from extproc.stores.sql_rows import Deletion, SqlRows, T, changed_columns, columns_of, hold, to_columns, to_struct
from extproc.stores.tables import keys, memberships
from extproc.stores.tables_audit import deleted_teams

#: Of what a team gives its members, what counts as one: a budget has a window of its own.
_GIVEN_TOGETHER = (("max_budget", "budget_duration"), ("rpm_limit",), ("tpm_limit",))


class SqlOwners(SqlRows[T]):
    """Rows whose deletion takes keys and memberships with it: teams and users."""

    async def _delete(self, change: Change, names: Sequence[str], deletion: Deletion) -> bool:
        column = {"teams": "team_id", "users": "user_id"}[self._table.name]
        owned = await hold(change.connection, keys, keys.c[column].in_(names))
        if not await super()._delete(change, names, deletion):
            return False
        await retire_keys(change, owned, deletion)
        members = memberships.c[column].in_(names)
        for row in await hold(change.connection, memberships, members):
            change.deleted(memberships.name, _name(row), row)
        await change.connection.execute(delete(memberships).where(members))
        return True

    async def _keep_aside(
        self, connection: AsyncConnection, held: Sequence[dict[str, Any]], deletion: Deletion
    ) -> None:
        if self._table is tables.teams:
            copies = [{**row, "deleted_at": deletion.now, "deleted_by": deletion.deleted_by} for row in held]
            await connection.execute(insert(deleted_teams), copies)


class SqlTeams(SqlOwners[Team]):
    """`Teams`."""

    async def update_with_members(
        self, name: str, changes: Mapping[str, Any], given: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> Team | None:
        async with self._trail.changing() as change:
            rows = await self._update(change, name, changes)
            if rows is None:
                return None
            before, after = (given(row["fields"] or {}) for row in rows)
            for member in await hold(change.connection, memberships, memberships.c.team_id == name):
                await _follow(change, member, before, after)
            return await self._held(change, name)


class SqlMembers:
    """`Memberships`."""

    def __init__(self, trail: SqlTrail) -> None:
        self._trail = trail
        self._database = trail.database
        self._select = select(*columns_of(Membership, memberships)).order_by(
            memberships.c.created_at, memberships.c.team_id, memberships.c.user_id
        )

    async def add(self, members: Sequence[Membership]) -> None:
        rows = [to_columns(memberships, msgspec.structs.asdict(member)) for member in members]
        rows.sort(key=lambda row: (row["user_id"], row["team_id"]))
        async with self._trail.changing() as change:
            for row in rows:
                try:
                    await change.connection.execute(insert(memberships).values(row))
                except IntegrityError:
                    raise AlreadyExists("member", row["user_id"]) from None
                change.created(memberships.name, _name(row), row)

    async def update(self, user_id: str, team_id: str, changes: Mapping[str, Any]) -> Membership | None:
        async with self._trail.changing() as change:
            held = await hold(change.connection, memberships, _of(user_id, team_id))
            if not held:
                return None
            values = changed_columns(memberships, held[0], changes)
            if values:
                await change.connection.execute(update(memberships).where(_of(user_id, team_id)).values(values))
            change.updated(memberships.name, _name(held[0]), held[0], {**held[0], **values}, changes)
            row = (await change.connection.execute(self._select.where(_of(user_id, team_id)))).mappings().one()
        return to_struct(Membership, row)

    async def remove(self, user_id: str, team_id: str, *, deleted_by: str, now: UnixMs) -> bool:
        of_both = and_(keys.c.user_id == user_id, keys.c.team_id == team_id)
        async with self._trail.changing() as change:
            owned = await hold(change.connection, keys, of_both)
            held = await hold(change.connection, memberships, _of(user_id, team_id))
            if not held:
                return False
            await change.connection.execute(delete(memberships).where(_of(user_id, team_id)))
            change.deleted(memberships.name, _name(held[0]), held[0])
            await retire_keys(change, owned, Deletion(deleted_by, now))
        return True

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

    def __init__(self, trail: SqlTrail) -> None:
        self.teams = SqlTeams(trail, Team, tables.teams, {"": "team_id"})
        self.users: SqlRows[User] = SqlOwners(trail, User, tables.users, {"email": "user_email", "": "user_id"})
        self.end_users = SqlRows(trail, EndUser, tables.end_users, {"": "end_user_id"})
        self.tags = SqlRows(trail, Tag, tables.tags, {"": "name"})
        self.budgets = SqlRows(trail, Budget, tables.budgets, {"": "budget_id"})
        self.models = SqlRows(trail, StoredModel, tables_models.models, {"": "model_id"})
        self.members = SqlMembers(trail)
        self.persons = SqlPersons(trail)
        self._entities_trail = trail

    def reset_spend(self, *, by: str | None, now: UnixMs) -> AsyncIterator[tuple[str, str]]:
        return reset_spend(self._entities_trail, by=by, now=now)

    async def find_end_user(self, end_user: str) -> EndUser | None:
        return await self.end_users.find(end_user)

    async def find_tags(self, names: Sequence[str]) -> tuple[Tag, ...]:
        wanted = tuple(dict.fromkeys(names))
        found = {tag.name: tag for tag in await self.tags.find_many(wanted)}
        return tuple(found[name] for name in wanted if name in found)


async def _follow(
    change: Change, member: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    """Give a member what the team gives now, where the member has what it gave before."""
    values: dict[str, Any] = {}
    for names in _GIVEN_TOGETHER:
        old, new = ({name: given.get(name) for name in names} for given in (before, after))
        if old != new and all(member[name] == value for name, value in old.items()):
            values |= new
    if "max_budget" in values:
        values["budget_reset_at"] = after.get("budget_reset_at")
    if values:
        chosen = _of(member["user_id"], member["team_id"])
        await change.connection.execute(update(memberships).where(chosen).values(values))
        change.updated(memberships.name, _name(member), member, {**member, **values}, values)


def _name(row: Mapping[str, Any]) -> str:
    """How the audit trail names a member."""
    return f"{row['user_id']}:{row['team_id']}"


def _of(user_id: str, team_id: str) -> ColumnElement[bool]:
    return and_(memberships.c.user_id == user_id, memberships.c.team_id == team_id)
