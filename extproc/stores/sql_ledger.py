"""The ledger in SQL: receipts are inserted once, and only what was new is added to its key, in one transaction.

A booking must never fail because of what a receipt says: the whole batch would wait behind it for ever. So numbers
beyond what 53 bits hold are cut, and characters that no database stores are replaced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    RowMapping,
    and_,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.model import Nanos, Receipt, UnixMs, Usage
from extproc.stores.contract import DaySpend, KeySpend, LedgerRow, SpendFilter
from extproc.stores.sql_database import Database
from extproc.stores.sql_keys import COLUMNS as KEY_COLUMNS
from extproc.stores.sql_keys import to_key
from extproc.stores.tables import keys, ledger

#: The largest whole number that every reader of JSON keeps; nine million dollars in nanos.
LARGEST = 2**53 - 1
_LARGEST_SUM = 2**63 - 1
#: Rows are made on the loop that also serves exchanges: so many at a time, in milliseconds.
_SLICE = 100
_DAY_MS = 86_400_000
_FIELDS = tuple(name for name in Receipt.__struct_fields__ if name != "usage")
#: `INSERT … ON CONFLICT` is spelled alike in both, but SQLAlchemy has it in the dialects only.
_INSERTS: dict[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_NEWEST_FIRST = (ledger.c.started_at.desc(), ledger.c.event_id.desc())


def _grown(column: ColumnElement[int]) -> ColumnElement[int]:
    """`column + :amount`, at most what the column holds."""
    amount = bindparam("amount", type_=BigInteger)
    return case((column > _LARGEST_SUM - amount, _LARGEST_SUM), else_=column + amount)


_ADD_SPEND = (
    update(keys)
    .where(keys.c.digest == bindparam("key_digest"))
    .values(
        spend=_grown(keys.c.spend),
        booked=_grown(keys.c.booked),
        last_active=case(
            (keys.c.last_active > bindparam("ended_at", type_=BigInteger), keys.c.last_active),
            else_=bindparam("ended_at", type_=BigInteger),
        ),
    )
)


class SqlLedger:
    """A `Ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, receipts: Sequence[Receipt], *, now: UnixMs) -> int:
        distinct = [*{receipt.event_id: receipt for receipt in reversed(receipts)}.values()]
        if not distinct:
            return 0
        new: list[dict[str, Any]] = []
        async with self._database.writing() as connection:
            for start in range(0, len(distinct), _SLICE):
                rows = [_to_row(receipt, now) for receipt in distinct[start : start + _SLICE]]
                new += await self._insert(connection, rows)
            await _add_spend(connection, new)
        return len(new)

    async def rows(self, wanted: SpendFilter, *, limit: int) -> tuple[LedgerRow, ...]:
        statement = select(ledger).where(_matching(wanted)).order_by(*_NEWEST_FIRST).limit(limit)
        async with self._database.reading() as connection:
            found = (await connection.execute(statement)).mappings().all()
        return tuple(LedgerRow(_to_receipt(row), row["booked_at"]) for row in found)

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
        insert = _INSERTS[self._database.dialect](ledger).on_conflict_do_nothing(index_elements=[ledger.c.event_id])
        inserted = set((await connection.execute(insert.returning(ledger.c.event_id), rows)).scalars())
        return [row for row in rows if row["event_id"] in inserted]


async def _add_spend(connection: AsyncConnection, rows: Iterable[dict[str, Any]]) -> None:
    """Add what the rows cost to their keys, in the order of the digests so that two bookings never wait crosswise."""
    amounts: dict[str, Nanos] = defaultdict(int)
    ends: dict[str, UnixMs] = defaultdict(int)
    for row in rows:
        amounts[row["key_digest"]] += row["spend"] or 0
        ends[row["key_digest"]] = max(ends[row["key_digest"]], row["ended_at"])
    additions = [
        {"key_digest": digest, "amount": amounts[digest], "ended_at": ends[digest]} for digest in sorted(amounts)
    ]
    if additions:
        await connection.execute(_ADD_SPEND, additions)


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
    return and_(true(), *given)


def _to_row(receipt: Receipt, now: UnixMs) -> dict[str, Any]:
    values = {name: getattr(receipt, name) for name in _FIELDS} | msgspec.structs.asdict(receipt.usage)
    row = {name: _storable(value) for name, value in values.items()}
    return {**row, "tags": [*receipt.tags], "metadata": receipt.metadata, "booked_at": now}


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-LARGEST, min(value, LARGEST))
    return value


def _to_receipt(row: RowMapping) -> Receipt:
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
