"""Sums by day: added to by the writer of the ledger in its own transaction, and read by reports.

Only rows that were new to the ledger are added, so booking a receipt again changes nothing. One batch is summed up
first and upserted in the order of the ids: two writers never wait crosswise, and a day of one key is written once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    RowMapping,
    Table,
    and_,
    case,
    cast,
    delete,
    func,
    or_,
    select,
    true,
)  # fmt: skip
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.stores.spending import SpendSum, SumFilter, Whose
from extproc.stores.sql_database import INSERTS
from extproc.stores.tables_spend import daily_spend, daily_tag_spend

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)
_LARGEST_SUM = 2**63 - 1
#: A day beyond what a date holds is in no report.
_FIRST, _LAST = (date.min - _EPOCH).days, (date.max - _EPOCH).days
_WHO = ("key_digest", "user_id", "team_id", "organization_id", "end_user", "model_group", "model", "provider")
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
MEASURES = ("successful_requests", "failed_requests", *_TOKENS, "spend")


async def add(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]], tagged: Iterable[Mapping[str, Any]]
) -> None:
    """Add rows of the ledger to their days, and those of `ledger_tags` to the days of their tags."""
    await _upsert(connection, daily_spend, _summed((row, {}) for row in rows))
    by_event = {row["event_id"]: row for row in rows}
    labelled = ((by_event[each["event_id"]], {"tag": each["tag"]}) for each in tagged)
    await _upsert(connection, daily_tag_spend, _summed(labelled))


def _summed(rows: Iterable[tuple[Mapping[str, Any], dict[str, str]]]) -> list[dict[str, Any]]:
    """One row per combination, in the order of the ids."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row, more in rows:
        parts = (row["started_at"] // _DAY_MS, *(row[name] for name in _WHO), *more.values())
        held = found.get(parts)
        if held is None:
            named = dict(zip(("day", *_WHO, *more), parts, strict=True))
            held = found[parts] = {"id": _id(parts), **named, **dict.fromkeys(MEASURES, 0)}
        held["successful_requests" if row["status"] == "success" else "failed_requests"] += 1
        for name in (*_TOKENS, "spend"):
            held[name] = min(held[name] + (row[name] or 0), _LARGEST_SUM)
    return sorted(found.values(), key=lambda each: str(each["id"]))


async def rename(connection: AsyncConnection, old_names: Mapping[str, Collection[str]], new: str, *, most: int) -> int:
    """Put another name in place of these in the columns, in so many rows of each table; how many there were."""
    renamed = 0
    for table, more in ((daily_spend, ()), (daily_tag_spend, ("tag",))):
        theirs = or_(*(table.c[column].in_(names) for column, names in old_names.items()))
        held = select(table).where(theirs).order_by(table.c.id).limit(most).with_for_update()
        old = [dict(row) for row in (await connection.execute(held)).mappings()]
        await connection.execute(delete(table).where(table.c.id.in_([row["id"] for row in old])))
        for row in old:
            row |= {column: new for column, names in old_names.items() if row[column] in names}
            row["id"] = _id([row[name] for name in ("day", *_WHO, *more)])
        await _upsert(connection, table, sorted(old, key=lambda row: str(row["id"])))
        renamed += len(old)
    return renamed


async def _upsert(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        await connection.execute(_adding(connection.dialect.name, table), rows)


@cache
def _adding(dialect: str, table: Table) -> Executable:
    """The statement is made once: making it takes longer than running it."""
    statement = INSERTS[dialect](table)
    added = {name: _grown(table.c[name], statement.excluded[name]) for name in MEASURES}
    made: Executable = statement.on_conflict_do_update(index_elements=[table.c.id], set_=added)
    return made


def _grown(column: ColumnElement[int], more: ColumnElement[int]) -> ColumnElement[int]:
    """The sum, at most what the column holds."""
    return case((column > _LARGEST_SUM - more, _LARGEST_SUM), else_=column + more)


def _id(parts: Sequence[Any]) -> str:
    """Of a combination, as the migration makes it too."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


async def read(
    connection: AsyncConnection, by: Sequence[str], wanted: SumFilter, limit: int, offset: int, dearest_first: bool
) -> tuple[SpendSum, ...]:
    """As `Spending.sums` says."""
    table = daily_tag_spend if "tag" in by or "tag" in wanted.among else daily_spend
    groups = [table.c[name] for name in by]
    totals = [cast(func.coalesce(func.sum(table.c[name]), 0), BigInteger).label(name) for name in MEASURES]
    order = [totals[-1].desc(), *groups] if dearest_first else groups
    statement = select(*groups, *totals).where(_matching(table, wanted)).group_by(*groups).order_by(*order)
    found = (await connection.execute(statement.limit(limit).offset(offset))).mappings().all()
    return tuple(_to_sum(by, row) for row in found)


def _to_sum(by: Sequence[str], row: RowMapping) -> SpendSum:
    named = tuple(_date(row[name]) if name == "day" else row[name] for name in by)
    return SpendSum(by=named, **{name: row[name] for name in MEASURES})


def _matching(table: Table, wanted: SumFilter) -> ColumnElement[bool]:
    first = _FIRST if wanted.first is None else _day(wanted.first)
    last = _LAST if wanted.last is None else _day(wanted.last)
    among = [table.c[name].in_(values) for name, values in wanted.among.items()]
    mine = true() if wanted.whose is None else belonging(table, wanted.whose)
    return and_(table.c.day >= first, table.c.day <= last, mine, *among)


def belonging(table: Table, whose: Whose) -> ColumnElement[bool]:
    """What belongs to this key, user, or teams."""
    theirs = [table.c.key_digest == whose.digest]
    if whose.user_id is not None:
        theirs.append(table.c.user_id == whose.user_id)
    if whose.team_ids:
        theirs.append(table.c.team_id.in_(whose.team_ids))
    return or_(*theirs)


def _day(text: str) -> int:
    return (date.fromisoformat(text) - _EPOCH).days


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()
