"""The ledger in SQL: receipts are inserted once, and only what was new is added to all that it names, at once.

A booking must never fail because of what a receipt says: the whole batch would wait behind it for ever. So numbers
beyond what 53 bits hold are cut, and so are texts that no index holds; characters that no database stores are replaced.

Whatever a booking locks it locks in one order, that of `_OWNERS` and within a table by id, receipts by event: two
bookings never wait crosswise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    RowMapping,
    Table,
    Update,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.activity import Activity
from extproc.holds import Limit
from extproc.model import Nanos, Receipt, UnixMs, Usage
from extproc.stores import sql_daily, sql_suspicion
from extproc.stores.contract import DaySpend, KeySpend, LedgerRow, SpendFilter
from extproc.stores.spending import LogFilter, SpendSum, SumFilter
from extproc.stores.sql_database import INSERTS, Database
from extproc.stores.sql_keys import COLUMNS as KEY_COLUMNS
from extproc.stores.sql_keys import to_key
from extproc.stores.sql_settled import settled
from extproc.stores.tables import end_users, keys, ledger, ledger_tags, memberships, tags, teams, users

#: The largest whole number that every reader of JSON keeps; nine million dollars in nanos.
LARGEST = 2**53 - 1
_LARGEST_SUM = 2**63 - 1
#: PostgreSQL's indexes hold entries of at most 2704 bytes. The management API takes no longer name.
LONGEST = 256
_INDEXED = ("call_id", "provider_response_id", "key_digest", "user_id", "team_id", "end_user", "model_group")
#: Rows are made on the loop that also serves exchanges: so many at a time, in milliseconds.
_SLICE = 100
_DAY_MS = 86_400_000
_FIELDS = tuple(name for name in Receipt.__struct_fields__ if name != "usage")
_NEWEST_FIRST = (ledger.c.started_at.desc(), ledger.c.event_id.desc())


def _grown(column: ColumnElement[int]) -> ColumnElement[int]:
    """`column + :amount`, at most what the column holds."""
    amount = bindparam("amount", type_=BigInteger)
    return case((column > _LARGEST_SUM - amount, _LARGEST_SUM), else_=column + amount)


def _addition(table: Table, **more: ColumnElement[int]) -> Update:
    """Add `:amount` to the row of `:key_0` and, where a key has two columns, `:key_1`."""
    named = (column == bindparam(f"key_{place}") for place, column in enumerate(table.primary_key.columns))
    return update(table).where(*named).values(spend=_grown(table.c.spend), **more)


_USED = case(
    (keys.c.last_active > bindparam("ended_at", type_=BigInteger), keys.c.last_active),
    else_=bindparam("ended_at", type_=BigInteger),
)
_ADD_TO_KEY = _addition(keys, booked=_grown(keys.c.booked), last_active=_USED)
#: Who is booked beside the key: how, and the ledger's columns that name them.
_OWNERS = (
    (_addition(teams), ("team_id",)),
    (_addition(users), ("user_id",)),
    (_addition(memberships), ("user_id", "team_id")),
    (_addition(end_users), ("end_user",)),
)
_ADD_TO_TAG = _addition(tags)
_ADD_LEDGER_TAGS = insert(ledger_tags)


class SqlLedger:
    """A `Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, receipts: Sequence[Receipt], *, now: UnixMs) -> frozenset[str]:
        first = {receipt.event_id: receipt for receipt in reversed(receipts)}
        distinct = [first[event_id] for event_id in sorted(first)]
        if not distinct:
            return frozenset()
        new: list[dict[str, Any]] = []
        async with self._database.writing() as connection:
            for start in range(0, len(distinct), _SLICE):
                rows = [_to_row(receipt, now) for receipt in distinct[start : start + _SLICE]]
                new += await self._insert(connection, rows)
            await _add_spend(connection, new)
        return frozenset(row["event_id"] for row in new)

    async def settled(self, limit: Limit, now: UnixMs, without: Collection[str] = ()) -> Sequence[tuple[UnixMs, int]]:
        async with self._database.reading() as connection:
            return await settled(connection, limit, now, without)

    async def rows(self, wanted: SpendFilter, *, limit: int) -> tuple[LedgerRow, ...]:
        statement = select(ledger).where(_matching(wanted)).order_by(*_NEWEST_FIRST).limit(limit)
        async with self._database.reading() as connection:
            found = (await connection.execute(statement)).mappings().all()
        return tuple(LedgerRow(to_receipt(row), row["booked_at"]) for row in found)

    async def log_page(
        self, wanted: LogFilter, *, page: int, size: int, sort_by: str, descending: bool
    ) -> tuple[LedgerRow, ...]:
        places = (ledger.c[sort_by], *(() if sort_by == "started_at" else (ledger.c.started_at,)), ledger.c.event_id)
        order = (place.desc() if descending else place.asc() for place in places)
        ordered = select(ledger).where(_logged(wanted)).order_by(*order)
        async with self._database.reading() as connection:
            found = (await connection.execute(ordered.limit(size).offset((page - 1) * size))).mappings().all()
        return tuple(LedgerRow(to_receipt(row), row["booked_at"]) for row in found)

    async def log_count(self, wanted: LogFilter, *, most: int) -> int:
        counted = select(ledger.c.started_at).where(_logged(wanted)).limit(most).subquery()
        async with self._database.reading() as connection:
            return await connection.scalar(select(func.count()).select_from(counted)) or 0

    async def activities(self, *, hours: int, now: UnixMs) -> list[Activity]:
        return await sql_suspicion.activities(self._database, hours=hours, now=now)

    async def sums(
        self, by: Sequence[str], wanted: SumFilter, *, limit: int, offset: int = 0, dearest_first: bool = False
    ) -> tuple[SpendSum, ...]:
        async with self._database.reading() as connection:
            return await sql_daily.read(connection, by, wanted, limit, offset, dearest_first)

    async def by_key(self, *, limit: int) -> tuple[KeySpend, ...]:
        statement = select(*KEY_COLUMNS, keys.c.booked).order_by(keys.c.booked.desc(), keys.c.digest).limit(limit)
        async with self._database.reading() as connection:
            found = (await connection.execute(statement)).mappings().all()
        return tuple(KeySpend(to_key(row), row["booked"]) for row in found)

    async def by_day(self, wanted: SpendFilter) -> tuple[DaySpend, ...]:
        day = (ledger.c.started_at // _DAY_MS).label("day")
        spend = cast(func.coalesce(func.sum(ledger.c.spend), 0), BigInteger).label("spend")
        who = (ledger.c.key_digest, func.coalesce(ledger.c.user_id, "").label("user_id"), ledger.c.model)
        statement = select(day, *who, spend).where(_matching(wanted)).group_by(day, *who).order_by(day)
        async with self._database.reading() as connection:
            found = (await connection.execute(statement)).mappings().all()
        return _days(found)

    async def _insert(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the rows that were not there yet."""
        inserted = set((await connection.execute(_adding(self._database.dialect), rows)).scalars())
        return [row for row in rows if row["event_id"] in inserted]


@cache
def _adding(dialect: str) -> Executable:
    insert = INSERTS[dialect](ledger).on_conflict_do_nothing(index_elements=[ledger.c.event_id])
    adding: Executable = insert.returning(ledger.c.event_id)
    return adding


async def _add_spend(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Add what the rows cost to all that they name."""
    ends: dict[str, UnixMs] = defaultdict(int)
    for row in rows:
        ends[row["key_digest"]] = max(ends[row["key_digest"]], row["ended_at"])
    used = _sums(((row["key_digest"],), row["spend"]) for row in rows)
    await _execute(connection, _ADD_TO_KEY, [{**each, "ended_at": ends[each["key_0"]]} for each in used])
    for addition, names in _OWNERS:
        named = ((tuple(row[name] for name in names), row["spend"]) for row in rows)
        await _execute(connection, addition, _spent(_sums(named)))
    tagged = [entry for row in rows for entry in _tag_rows(row)]
    await _execute(connection, _ADD_TO_TAG, _spent(_sums(((row["tag"],), row["spend"]) for row in tagged)))
    await _execute(connection, _ADD_LEDGER_TAGS, tagged)
    await sql_daily.add(connection, rows, tagged)


async def _execute(connection: AsyncConnection, statement: Executable, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        await connection.execute(statement, rows)


def _sums(named: Iterable[tuple[tuple[str | None, ...], Nanos | None]]) -> list[dict[str, Any]]:
    """The amount of each name, by name. What has no name, or half of one, is nobody's."""
    amounts: dict[tuple[Any, ...], Nanos] = defaultdict(int)
    for name, amount in named:
        if None not in name:
            amounts[name] += amount or 0
    return [
        {"amount": amounts[name], **{f"key_{place}": part for place, part in enumerate(name)}}
        for name in sorted(amounts)
    ]


def _spent(sums: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in sums if each["amount"]]


def _tag_rows(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of `ledger_tags` for one of the ledger."""
    shared = {name: row[name] for name in ("started_at", "event_id", "ended_at", "spend")}
    tokens = row["input_tokens"] + row["output_tokens"]
    return [
        {**shared, "tokens": tokens, "tag": tag} for tag in sorted({_storable(tag)[:LONGEST] for tag in row["tags"]})
    ]


def _matching(wanted: SpendFilter) -> ColumnElement[bool]:
    given = []
    if wanted.key_digest is not None:
        given.append(ledger.c.key_digest == wanted.key_digest)
    if wanted.user_id is not None:
        given.append(ledger.c.user_id == wanted.user_id)
    if wanted.request_id is not None:
        ids = (ledger.c.provider_response_id, ledger.c.call_id, ledger.c.event_id)
        given.append(or_(*(column == wanted.request_id for column in ids)))
    if wanted.since is not None:
        given.append(ledger.c.started_at >= wanted.since)
    if wanted.before is not None:
        given.append(ledger.c.started_at < wanted.before)
    if isinstance(wanted, LogFilter) and wanted.whose is not None:
        given.append(sql_daily.belonging(ledger, wanted.whose))
    return and_(true(), *given)


def _logged(wanted: LogFilter) -> ColumnElement[bool]:
    names = ("team_id", "end_user", "model_group", "model_id", "key_alias", "status")
    given = [ledger.c[name] == value for name in names if (value := getattr(wanted, name)) is not None]
    if wanted.minimum is not None:
        given.append(ledger.c.spend >= wanted.minimum)
    if wanted.maximum is not None:
        given.append(ledger.c.spend <= wanted.maximum)
    return and_(_matching(wanted), *given)


def _to_row(receipt: Receipt, now: UnixMs) -> dict[str, Any]:
    row = msgspec.structs.asdict(receipt)
    row |= msgspec.structs.asdict(row.pop("usage"))
    for name, value in row.items():
        # Nearly every value may be stored as it is, so that is asked first, and cheaply.
        kind = type(value)
        if (kind is str and not (value.isascii() and "\0" not in value)) or (kind is int and abs(value) > LARGEST):
            row[name] = _storable(value)
    for name in _INDEXED:
        if (value := row[name]) is not None and len(value) > LONGEST:
            row[name] = value[:LONGEST]
    row["tags"], row["booked_at"] = [*receipt.tags], now
    return row


def written(name: str | None) -> str | None:
    """A name as a row of the ledger has it."""
    return None if name is None else _storable(name)[:LONGEST]


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return max(-LARGEST, min(value, LARGEST))


def to_receipt(row: RowMapping) -> Receipt:
    """A receipt from all columns of the ledger."""
    values = {name: row[name] for name in _FIELDS}
    usage = Usage(**{name: row[name] for name in Usage.__struct_fields__})
    return Receipt(**{**values, "tags": tuple(values["tags"]), "usage": usage})


def _days(found: Iterable[RowMapping]) -> tuple[DaySpend, ...]:
    """One value per day from rows of day, key, user, model and spend, ordered by day."""
    days: dict[int, DaySpend] = {}
    for row in found:
        day, spend = row["day"], row["spend"]
        held = days.get(day) or DaySpend(_date(day), 0, {}, {}, {})
        for sums, who in ((held.keys, "key_digest"), (held.users, "user_id"), (held.models, "model")):
            sums[row[who]] = sums.get(row[who], 0) + spend
        days[day] = msgspec.structs.replace(held, spend=held.spend + spend)
    return tuple(days.values())


def _date(day: int) -> str:
    """Days since the epoch as `YYYY-MM-DD`."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()
