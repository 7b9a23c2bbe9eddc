"""All that is kept of a person: told to them, and erased for them.

An erasure goes in steps that can be taken again, the account last: whatever stops it, the next call for the same
person goes on. Receipts and sums by day keep what was used and get a name drawn for this erasure in place of the
person's, so no sum of a team, a key or a model changes. Steps over large tables change a bounded number of rows each.

The audit trail keeps that something was changed. What it says of the person is erased wherever one of their names
stands by itself (id, address, alias, aliases of keys): rather too much than too little.

An end user of a user's e-mail address is the user. One of the user's id is, unless it is a customer with an account of
its own: applications name their customers as they like. So a customer's name may read like anybody's, and of the trail
only the entries about the customer's account tell of them: nobody can have others erased by naming themselves so.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, and_, case, delete, false, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.model import EndUser, UnixMs, User
from extproc.stores import audit_chain, audit_values, sql_contents, sql_daily
from extproc.stores.audit_chain import Actor, Entry, act_as, acting
from extproc.stores.audit_values import TABLES, text
from extproc.stores.contract import Erasure, LedgerRow
from extproc.stores.sql_audit import Change, SqlTrail
from extproc.stores.sql_ledger import to_receipt
from extproc.stores.sql_rows import columns_of, hold, to_struct
from extproc.stores.tables import budgets, deleted_keys, end_users, keys, ledger, memberships, tags, users
from extproc.stores.tables_audit import audit, deleted_teams
from extproc.stores.tables_models import key_credentials, models
from extproc.stores.tables_spend import daily_spend

#: Rows of one transaction.
MOST = 2_000
_PAGE = 500
#: More than one is too many already.
_NAMESAKES = 2
_STAMPS = ("created_by", "updated_by", "deleted_by")
_STAMPED = (keys, deleted_keys, budgets, tags, models, deleted_teams)
#: Of a receipt, what tells of the person beside their name.
_PERSONAL: Mapping[str, Any] = {"requester_ip": "", "user_agent": "", "metadata": {}}
#: How the trail calls accounts of customers.
_CUSTOMERS = TABLES["end_users"]
#: What stands there has a meaning of its own, even where it reads like somebody's name.
_NO_NAMES = frozenset({"role", "user_role", "status", "models"})


class Traces(msgspec.Struct, frozen=True):
    """By what somebody is known: the id of a user, `None` of a customer; the end users who they are; and, of a user,
    the names that they go by."""

    user_id: str | None
    served: frozenset[str]
    names: frozenset[str] = frozenset()


class SqlPersons:
    """`Persons`."""

    def __init__(self, trail: SqlTrail) -> None:
        self._trail = trail
        self._database = trail.database

    async def find(self, name: str) -> User | None:
        """By id, else by e-mail address."""
        async with self._database.reading() as connection:
            for column in (users.c.id, users.c.email):
                found = select(*columns_of(User, users)).where(column == name)
                if (row := (await connection.execute(found)).mappings().one_or_none()) is not None:
                    return to_struct(User, row)
        return None

    async def find_customer(self, name: str) -> EndUser | None:
        async with self._database.reading() as connection:
            found = select(*columns_of(EndUser, end_users)).where(end_users.c.id == name)
            if (row := (await connection.execute(found)).mappings().one_or_none()) is not None:
                return to_struct(EndUser, row)
            for table in (ledger, daily_spend):
                if await connection.scalar(select(table.c.end_user).where(table.c.end_user == name).limit(1)):
                    return EndUser(id=name)
        return None

    async def known_as(self, identities: Sequence[str], email: str) -> tuple[tuple[User, ...], tuple[User, ...]]:
        """By what single sign-on knows of them."""
        linked = users.c.sso_user_id.in_(identities)
        namesakes = func.lower(users.c.email) == email.lower()
        found = []
        async with self._database.reading() as connection:
            for where in (linked, namesakes):
                statement = select(*columns_of(User, users)).where(where).order_by(users.c.id).limit(_NAMESAKES)
                rows = (await connection.execute(statement)).mappings().all()
                found.append(tuple(to_struct(User, row) for row in rows))
        return found[0], found[1]

    async def link(self, user_id: str, identity: str, *, now: UnixMs) -> User | None:
        changes = {"sso_user_id": identity, "updated_at": now}
        async with self._trail.changing() as change:
            chosen = users.c.id == user_id
            held = await hold(change.connection, users, chosen)
            if not held or held[0]["sso_user_id"] not in {None, identity}:
                return None
            await change.connection.execute(update(users).where(chosen).values(changes))
            change.updated("users", user_id, held[0], {**held[0], **changes}, changes)
            found = await change.connection.execute(select(*columns_of(User, users)).where(chosen))
            return to_struct(User, found.mappings().one())

    async def block(self, user_id: str) -> None:
        """It is a part of the erasure, so the trail does not tell of it."""
        async with self._trail.changing() as change:
            for row in await hold(change.connection, users, users.c.id == user_id):
                blocked = {**row["fields"], "blocked": True}
                await change.connection.execute(update(users).where(users.c.id == user_id).values(fields=blocked))

    async def erase(self, person: User | EndUser, *, deleted_by: str) -> Erasure:
        """Forget the person. Raises `StoreUnavailable` in the middle of it; then it is to be called again."""
        tombstone = f"deleted-{uuid.uuid4().hex[:16]}"
        traces = await self._traces(person)
        if acting().name in traces.names:
            act_as(Actor(tombstone, acting().key))
        removed = {"audit": await self._erase_entries(traces, tombstone)}
        removed["ledger"] = await self._rename_receipts(traces, tombstone)
        removed["daily_spend"] = await self._rename_days(traces, tombstone)
        async with self._trail.changing() as change:
            by = tombstone if deleted_by in traces.names else deleted_by
            removed |= await _remove(change, traces)
            for table in _STAMPED if traces.names else ():
                await _rename_stamps(change.connection, table, traces.names, tombstone)
            kind = end_users.name if traces.user_id is None else users.name
            change.forgotten(kind, tombstone, {"removed": removed, "deleted_by": by})
        # Somebody may have changed the person's account in the meantime.
        removed["audit"] += await self._erase_entries(traces, tombstone)
        return Erasure(tombstone, removed)

    async def receipts(self, person: User | EndUser) -> AsyncIterator[tuple[LedgerRow, ...]]:
        """What the person used, and what others used for them, some rows at a time, the oldest first."""
        traces = await self._traces(person)
        for theirs in _used_by(traces):
            after: ColumnElement[bool] = ledger.c.started_at.is_not(None)
            while rows := await self._page(and_(theirs, after)):
                yield rows
                at, last = rows[-1].receipt.started_at, rows[-1].receipt.event_id
                after = or_(ledger.c.started_at > at, and_(ledger.c.started_at == at, ledger.c.event_id > last))

    async def entries(self, person: User | EndUser) -> AsyncIterator[tuple[Entry, ...]]:
        """The entries of the audit trail that the person made, or that name them."""
        traces, last = await self._traces(person), 0
        while found := await self._entries_after(traces, last):
            last = found[-1].seq
            yield tuple(entry for entry in found if _telling(entry, traces))

    async def _page(self, wanted: ColumnElement[bool]) -> tuple[LedgerRow, ...]:
        statement = select(ledger).where(wanted).order_by(ledger.c.started_at, ledger.c.event_id).limit(_PAGE)
        async with self._database.reading() as connection:
            found = (await connection.execute(statement)).mappings().all()
        return tuple(LedgerRow(to_receipt(row), row["booked_at"]) for row in found)

    async def _traces(self, person: User | EndUser) -> Traces:
        if isinstance(person, EndUser):
            return Traces(None, frozenset({person.id}))
        return Traces(person.id, frozenset(await self._served(person)), frozenset(await self._names(person)))

    async def _names(self, user: User) -> set[str]:
        """What the person goes by, with the aliases of their keys."""
        found = {user.id, user.email, user.alias, user.sso_user_id}
        async with self._database.reading() as connection:
            for table in (keys, deleted_keys):
                aliases = select(table.c.alias).where(table.c.user_id == user.id)
                found |= {*(await connection.execute(aliases)).scalars()}
        return {name for name in found if name}

    async def _served(self, user: User) -> set[str]:
        """The end users who are the person."""
        found = {name for name in (user.id, user.email) if name}
        async with self._database.reading() as connection:
            account = await connection.scalar(select(end_users.c.id).where(end_users.c.id == user.id))
        return found - {account} if "@" not in user.id else found

    async def _entries_after(self, traces: Traces, seq: int) -> list[Entry]:
        """Those that may tell of the person, at most `MOST`."""
        wanted = select(*(audit.c[name] for name in Entry.__struct_fields__)).where(
            audit.c.seq > seq, _may_tell(traces)
        )
        async with self._database.reading() as connection:
            found = (await connection.execute(wanted.order_by(audit.c.seq).limit(MOST))).mappings().all()
        return [_to_entry({**row}) for row in found]

    async def _erase_entries(self, traces: Traces, tombstone: str) -> int:
        erased, last = 0, 0
        while found := await self._entries_after(traces, last):
            last = found[-1].seq
            wanted = audit.c.seq.in_([entry.seq for entry in found if _telling(entry, traces)])
            async with self._trail.changing() as change:
                # Read again: another erasure may have been at them.
                held = [_to_entry(row) for row in await hold(change.connection, audit, wanted)]
                told = {str(entry.seq): columns for entry in held if (columns := _telling(entry, traces))}
                for entry in held:
                    await _write(change.connection, entry, told.get(str(entry.seq), []))
                if told:
                    change.erased(tombstone, told)
            erased += len(told)
        return erased

    async def _rename_receipts(self, traces: Traces, tombstone: str) -> int:
        for_them = ledger.c.end_user.in_(traces.served)
        own = 0
        if traces.user_id is not None:
            end_user = case((for_them, tombstone), else_=ledger.c.end_user)
            theirs = {"user_id": tombstone, "key_alias": None, "end_user": end_user}
            own = await self._change(ledger.c.user_id == traces.user_id, theirs)
        return own + await self._change(for_them, {"end_user": tombstone})

    async def _change(self, wanted: ColumnElement[bool], values: dict[str, Any]) -> int:
        """Change receipts so that they are wanted no more, some at a time, and forget what was said."""
        some = select(ledger.c.event_id).where(wanted).limit(MOST)
        changed = 0
        while True:
            async with self._trail.changing() as change:
                events = (await change.connection.execute(some)).scalars().all()
                chosen = ledger.c.event_id.in_(events)
                await change.connection.execute(
                    select(ledger.c.event_id).where(chosen).order_by(ledger.c.event_id).with_for_update()
                )
                await change.connection.execute(update(ledger).where(chosen).values({**_PERSONAL, **values}))
                # Whoever keeps more of it holds the row: so here is all there is, and more will not come.
                await sql_contents.forget(change.connection, events)
            changed += len(events)
            if len(events) < MOST:
                return changed

    async def _rename_days(self, traces: Traces, tombstone: str) -> int:
        names: dict[str, Collection[str]] = {"end_user": traces.served}
        if traces.user_id is not None:
            names["user_id"] = {traces.user_id}
        renamed = 0
        while True:
            async with self._trail.changing() as change:
                count = await sql_daily.rename(change.connection, names, tombstone, most=MOST)
            renamed += count
            if not count:
                return renamed


def _used_by(traces: Traces) -> list[ColumnElement[bool]]:
    """Receipts of the person, each once: their own, then those of others who served them."""
    served = ledger.c.end_user.in_(traces.served)
    if traces.user_id is None:
        return [served]
    others = or_(ledger.c.user_id.is_(None), ledger.c.user_id != traces.user_id)
    return [ledger.c.user_id == traces.user_id, and_(served, others)]


async def _remove(change: Change, traces: Traces) -> dict[str, int]:
    """The account and all that hangs on it, in the order in which everybody locks: keys, users, members, end users."""
    removed = {} if traces.user_id is None else await _remove_user(change, traces.user_id)
    accounts = delete(end_users).where(end_users.c.id.in_(traces.served))
    return {**removed, "end_users": (await change.connection.execute(accounts)).rowcount}


async def _remove_user(change: Change, user_id: str) -> dict[str, int]:
    connection, removed = change.connection, {}
    owned = await hold(connection, keys, keys.c.user_id == user_id)
    await hold(connection, users, users.c.id == user_id)
    of_owned = select(keys.c.digest).where(keys.c.user_id == user_id)
    await connection.execute(delete(key_credentials).where(key_credentials.c.key_digest.in_(of_owned)))
    for table in (keys, deleted_keys, users, memberships):
        column = table.c.id if table is users else table.c.user_id
        removed[str(table.name)] = (await connection.execute(delete(table).where(column == user_id))).rowcount
    for row in owned:
        change.forgotten("keys", row["digest"])
    return removed


async def _rename_stamps(connection: AsyncConnection, table: Table, names: Collection[str], tombstone: str) -> None:
    """Who made and changed what is somebody else's."""
    for column in (table.c[name] for name in _STAMPS if name in table.c):
        if table is keys:
            await hold(connection, table, column.in_(names))
        await connection.execute(update(table).where(column.in_(names)).values({column.name: tombstone}))


def _to_entry(row: Mapping[str, Any]) -> Entry:
    return Entry(**row)


async def _write(connection: AsyncConnection, entry: Entry, columns: Collection[str]) -> None:
    """Erase these columns of an entry that is held."""
    erased = entry.without(columns)
    values = {name: getattr(erased, name) for name in (*columns, "cover")}
    await connection.execute(update(audit).where(audit.c.seq == entry.seq).values(values))


def _may_tell(traces: Traces) -> ColumnElement[bool]:
    """Of which entries `_telling` is asked."""
    if traces.user_id is None:
        read = [audit_values.of_customer(name) for name in traces.served]
        account = and_(audit.c.table_name == _CUSTOMERS, audit.c.object_id.in_(traces.served))
        return or_(account, and_(audit.c.action == audit_values.READ, audit.c.object_id.in_(read)))
    written = [text(name)[1:-1] for name in traces.names]
    columns = [audit.c[name] for name in audit_chain.PERSONAL]
    return or_(false(), *(column.icontains(name, autoescape=True) for column in columns for name in written))


def _telling(entry: Entry, traces: Traces) -> list[str]:
    """The columns that tell of the person and are not erased."""
    found = _of_customer(entry) if traces.user_id is None else _of_user(entry, traces.names)
    return [name for name in found if name not in entry.erased_columns]


def _of_customer(entry: Entry) -> list[str]:
    return ["object_id", *(name for name in ("before", "after") if getattr(entry, name) is not None)]


def _of_user(entry: Entry, names: Collection[str]) -> list[str]:
    """Where they made the change, the address they made it from tells of them, too."""
    pattern = re.compile(
        rf"(?<![\w.@-])(?:{'|'.join(re.escape(name) for name in sorted(names, key=len, reverse=True))})(?![\w@-])",
        re.IGNORECASE,
    )
    found = [name for name in ("changed_by", "object_id") if pattern.search(getattr(entry, name))]
    if "changed_by" in found and entry.ip:
        found.append("ip")
    if entry.action == audit_chain.ERASED:
        return [name for name in found if name != "object_id"]
    for name in ("before", "after"):
        written = getattr(entry, name)
        if written is not None and _names(msgspec.json.decode(written), pattern):
            found.append(name)
    return found


def _names(value: Any, pattern: re.Pattern[str]) -> bool:
    """Whether the pattern is found in any text of a document, those that name its members included."""
    if isinstance(value, dict):
        return any(
            pattern.search(name) or (name not in _NO_NAMES and _names(each, pattern)) for name, each in value.items()
        )
    if isinstance(value, list):
        return any(_names(each, pattern) for each in value)
    return isinstance(value, str) and pattern.search(value) is not None
