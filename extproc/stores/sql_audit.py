"""The audit trail in SQL, and the only way to change what it tells of.

Whoever writes keys or their owners does it in `changing()`: one transaction for the change and its entries, so neither
is there without the other. The entries go in last, in the order in which they were noted, while the row of the head is
held: there the writers of all workers stand in one line, and numbers have no gaps. (SQLite has one writer anyway.)

Without a key nothing is written down.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, and_, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.model import UnixMs
from extproc.stores import audit_values
from extproc.stores.audit_chain import ERASED, Actor, AuditKey, Entry, Head, acting, new_cover
from extproc.stores.contract import AuditFilter, Page
from extproc.stores.sql_database import Database
from extproc.stores.tables_audit import audit, audit_head

logger = logging.getLogger(__name__)

_BATCH = 1_000
_HEAD = select(audit_head.c.seq, audit_head.c.hash).where(audit_head.c.id == 1)
_COLUMNS = [audit.c[name] for name in Entry.__struct_fields__]
_EXACT = ("changed_by", "changed_by_key", "action", "table_name", "object_id")


class Change:
    """A transaction on `connection`, and what it does."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.noted: list[tuple[str, str, str, str | None, str | None]] = []

    def created(self, table: str, name: str, row: Mapping[str, Any]) -> None:
        self._note("created", table, name, None, audit_values.text(audit_values.shown(table, row)))

    def deleted(self, table: str, name: str, row: Mapping[str, Any]) -> None:
        self._note("deleted", table, name, audit_values.text(audit_values.shown(table, row)), None)

    def updated(
        self, table: str, name: str, before: Mapping[str, Any], after: Mapping[str, Any], wanted: Mapping[str, Any]
    ) -> None:
        """`before` and `after` are whole rows, `wanted` is what was asked for: of `blocked` alone it is a block."""
        named = wanted.keys() - audit_values.STAMPS
        action = ("blocked" if wanted["blocked"] else "unblocked") if named == {"blocked"} else "updated"
        self._note(action, table, name, *audit_values.difference(table, before, after))

    def renewed(self, table: str, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Whole rows; nothing where they say the same."""
        old, new = audit_values.difference(table, before, after)
        if old != new:
            self._note("updated", table, name, old, new)

    def rotated(self, table: str, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self._note("rotated", table, name, *audit_values.difference(table, before, after))

    def read(self, table: str, name: str) -> None:
        """Shown to somebody; nothing has changed."""
        self._note(audit_values.READ, table, name, None, None)

    def forgotten(self, table: str, name: str, told: Mapping[str, Any] | None = None) -> None:
        """Deleted, without a word of what it was. `told` must tell of nobody."""
        self._note("deleted", table, name, None, audit_values.text(told) if told is not None else None)

    def erased(self, name: str, columns: Mapping[str, Sequence[str]]) -> None:
        """Columns of entries of this trail were, by the numbers of the entries."""
        self._note(ERASED, str(audit.name), name, None, audit_values.text(columns))

    def _note(self, action: str, table: str, name: str, before: str | None, after: str | None) -> None:
        self.noted.append((action, audit_values.TABLES.get(table, table), name, before, after))


class SqlTrail:
    """An `AuditTrail`, and what writes it. `now` is the wall clock."""

    def __init__(
        self,
        database: Database,
        key: AuditKey | None = None,
        now: Callable[[], UnixMs] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._database = database
        self._key = key
        self._now = now

    @property
    def database(self) -> Database:
        """Where it is, and what it tells of."""
        return self._database

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[Change]:
        """A transaction that is committed with its entries at the end, or rolled back by an exception."""
        entries: tuple[Entry, ...] = ()
        async with self._database.writing() as connection:
            change = Change(connection)
            yield change
            if self._key is not None and change.noted:
                entries = await self._append(connection, self._key, change.noted)
        for entry in entries:
            told = {"seq": entry.seq, "hash": entry.hash, "action": entry.action, "table": entry.table_name}
            logger.info("audit", extra=told)

    async def note_reading(self, table: str, name: str) -> None:
        async with self.changing() as change:
            change.read(table, name)

    def sign(self, content: str) -> tuple[str, str]:
        """The id of the key of now, and its signature of a text; both empty where there is no key."""
        return (self._key.id, self._key.sign(content)) if self._key is not None else ("", "")

    async def find(self, entry_id: str) -> Entry | None:
        async with self._database.reading() as connection:
            statement = select(*_COLUMNS).where(audit.c.id == entry_id)
            row = (await connection.execute(statement)).mappings().one_or_none()
        return _to_entry(row) if row else None

    async def list(self, wanted: AuditFilter, *, page: int, size: int, descending: bool) -> Page[Entry]:
        where = _matching(wanted)
        order = audit.c.seq.desc() if descending else audit.c.seq
        statement = select(*_COLUMNS).where(where).order_by(order).limit(size).offset((page - 1) * size)
        async with self._database.reading() as connection:
            total = await connection.scalar(select(func.count()).select_from(audit).where(where))
            rows = (await connection.execute(statement)).mappings().all()
        return Page(tuple(map(_to_entry, rows)), total or 0)

    async def batches(self, wanted: AuditFilter, *, after: int = 0) -> AsyncIterator[tuple[Entry, ...]]:
        where, last = _matching(wanted), after
        while True:
            statement = select(*_COLUMNS).where(where, audit.c.seq > last).order_by(audit.c.seq).limit(_BATCH)
            async with self._database.reading() as connection:
                rows = (await connection.execute(statement)).mappings().all()
            if rows:
                yield tuple(map(_to_entry, rows))
            if len(rows) < _BATCH:
                return
            last = rows[-1]["seq"]

    async def head(self) -> Head:
        """Where the chain ends, as the database has it. A head that was deleted is that of an empty chain."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_HEAD)).one_or_none()
        return Head(row[0], row[1]) if row else Head()

    async def _append(
        self, connection: AsyncConnection, key: AuditKey, noted: Sequence[tuple[str, str, str, str | None, str | None]]
    ) -> tuple[Entry, ...]:
        held = (await connection.execute(_HEAD.with_for_update())).one()
        head, actor, now = Head(held[0], held[1]), acting(), self._now()
        entries: tuple[Entry, ...] = ()
        for action, table, name, before, after in noted:
            entry = key.sealed(_entry(head, key, actor, now, (action, table, name, before, after)))
            entries += (entry,)
            head = entry.head
        await connection.execute(insert(audit), [msgspec.structs.asdict(entry) for entry in entries])
        await connection.execute(update(audit_head).where(audit_head.c.id == 1).values(seq=head.seq, hash=head.hash))
        return entries


def _entry(
    head: Head, key: AuditKey, actor: Actor, now: UnixMs, noted: tuple[str, str, str, str | None, str | None]
) -> Entry:
    action, table, name, before, after = noted
    return Entry(
        seq=head.seq + 1, id=str(uuid.uuid4()), at=now, changed_by=actor.name, changed_by_key=actor.key, ip=actor.ip,
        action=action, table_name=table, object_id=name, before=before, after=after,
        previous=head.hash, key_id=key.id, cover=new_cover(),
    )  # fmt: skip


def _to_entry(row: RowMapping) -> Entry:
    return Entry(**row)


def _matching(wanted: AuditFilter) -> ColumnElement[bool]:
    given = [audit.c[name] == value for name in _EXACT if (value := getattr(wanted, name)) is not None]
    if wanted.since is not None:
        given.append(audit.c.at >= wanted.since)
    if wanted.before is not None:
        given.append(audit.c.at < wanted.before)
    if wanted.search is not None:
        searched = (audit.c.object_id, audit.c.changed_by, audit.c.before, audit.c.after)
        given.append(or_(*(column.icontains(wanted.search, autoescape=True) for column in searched)))
    return and_(true(), *given)
