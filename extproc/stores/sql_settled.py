"""What the ledger knows of a limit: what a counter starts from when it is new, or was lost.

A scope's kind says by which columns its rows are found; its id is split at the colon that cannot be part of what stands
before it (`model_per_key`, `model_per_team`: a digest, a team's id) or behind it (`team_member`: a team's id). That is
why the management API makes no team whose id has a colon.

A budget without a window is the `spend` of whoever has it, since that may be set by hand; who has no row there, or
none at all (a model, everyone), has what the sums by day add up to: they outlive the rows that are purged.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Select, Table, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.holds import ROLLING_MS, Limit, Measure, Scope, Span
from extproc.model import UnixMs
from extproc.stores.tables import end_users, keys, ledger, ledger_tags, memberships, tags, teams, users
from extproc.stores.tables_spend import daily_spend, daily_tag_spend

Conditions: TypeAlias = tuple[ColumnElement[bool], ...]
Listed: TypeAlias = Select[tuple[str]]

#: Where the spend of an endless budget stands.
_OWNERS = {
    "api_key": keys,
    "team": teams,
    "user": users,
    "team_member": memberships,
    "end_user": end_users,
    "tag": tags,
}
#: The ledger's columns that name a scope.
_COLUMNS = {
    "api_key": ("key_digest",),
    "team": ("team_id",),
    "user": ("user_id",),
    "team_member": ("user_id", "team_id"),
    "end_user": ("end_user",),
    "model": ("model_group",),
    "model_per_key": ("key_digest", "model_group"),
    "model_per_team": ("team_id", "model_group"),
    "tag": ("tag",),
    "global": (),
}


async def settled(
    connection: AsyncConnection, limit: Limit, now: UnixMs, without: Collection[str] = ()
) -> Sequence[tuple[UnixMs, int]]:
    """Moments and amounts, as `Ledger.settled` says. Raises `ValueError` for a kind of scope that no column names."""
    if limit.scope.kind not in _COLUMNS:
        raise ValueError(f"the ledger knows no scope {limit.scope.kind!r}")
    if limit.span is Span.GAUGE:
        return ()
    left_out = _listed(without, connection.dialect.name) if without else None
    if limit.span is Span.ROLLING:
        return await _last_minute(connection, limit, now, left_out)
    if limit.measure is Measure.SPEND and not limit.since and limit.until is None:
        spend = await _owners_spend(connection, limit.scope, left_out)
        if spend is None:
            spend = await _of_all_days(connection, limit.scope, left_out)
        return ((now, spend),)
    return ((limit.since or now, await _sum(connection, limit, left_out)),)


async def _last_minute(
    connection: AsyncConnection, limit: Limit, now: UnixMs, left_out: Listed | None
) -> Sequence[tuple[UnixMs, int]]:
    table = _table(limit.scope)
    moment, named = table.c.started_at, _named(limit.scope, table)
    if limit.measure is not Measure.REQUESTS:
        # Few rows ended in the last minute, whosever they are; the scope's own index would lead through all of them.
        moment, named = table.c.ended_at, _named(limit.scope, table, indexed=False)
    statement = (
        select(moment, _total(table, limit.measure))
        .where(*named, moment > now - ROLLING_MS, *_but(table, left_out))
        .group_by(moment)
        .order_by(moment)
    )
    return [(row[0], row[1]) for row in (await connection.execute(statement)).all()]


async def _sum(connection: AsyncConnection, limit: Limit, left_out: Listed | None) -> int:
    """Of what started in the window; where the spend was set by hand in it, that and what started since."""
    table = _table(limit.scope)
    since, base = await _set_by_hand(connection, limit) or (limit.since, 0)
    started = [table.c.started_at >= since] if since else []
    if limit.until is not None:
        started.append(table.c.started_at < limit.until)
    named = _named(limit.scope, table)
    statement = select(_total(table, limit.measure)).where(*named, *started, *_but(table, left_out))
    return base + (await connection.scalar(statement) or 0)


async def _set_by_hand(connection: AsyncConnection, limit: Limit) -> tuple[UnixMs, int] | None:
    """When the spend of a window was set last, and to what."""
    owner = {"api_key": keys, "team": teams}.get(limit.scope.kind)
    if owner is None or limit.measure is not Measure.SPEND:
        return None
    [identity], moment = owner.primary_key.columns, owner.c.spend_set_at
    within = [moment >= limit.since, *([moment < limit.until] if limit.until is not None else [])]
    statement = select(moment, owner.c.spend_set_to).where(identity == limit.scope.id, *within)
    row = (await connection.execute(statement)).one_or_none()
    return (row[0], row[1]) if row else None


async def _owners_spend(connection: AsyncConnection, scope: Scope, left_out: Listed | None) -> int | None:
    """One statement, so that the spend and what is taken off it are of the same moment."""
    owner = _OWNERS.get(scope.kind)
    if owner is None:
        return None
    named = (column == part for column, part in zip(owner.primary_key.columns, _parts(scope), strict=True))
    return await connection.scalar(select(owner.c.spend - _booked(scope, left_out)).where(*named))


async def _of_all_days(connection: AsyncConnection, scope: Scope, left_out: Listed | None) -> int:
    """In one statement, too."""
    days = daily_tag_spend if scope.kind == "tag" else daily_spend
    total = _total(days, Measure.SPEND) - _booked(scope, left_out)
    return await connection.scalar(select(total).where(*_named(scope, days))) or 0


def _booked(scope: Scope, left_out: Listed | None) -> ColumnElement[Any]:
    """What the receipts that are left out add up to."""
    if left_out is None:
        return literal(0)
    table = _table(scope)
    booked = select(_total(table, Measure.SPEND)).where(*_named(scope, table), table.c.event_id.in_(left_out))
    return booked.scalar_subquery()


def _listed(event_ids: Collection[str], dialect: str) -> Listed:
    """A selection of these: there may be more of them than a statement may have parameters."""
    if dialect == "postgresql":
        return select(func.unnest(literal(sorted(event_ids), ARRAY(Text))))
    return select(func.json_each(json.dumps(sorted(event_ids))).table_valued("value").c.value)


def _but(table: Table, left_out: Listed | None) -> Conditions:
    return () if left_out is None else (table.c.event_id.not_in(left_out),)


def _total(table: Table, measure: Measure) -> ColumnElement[int]:
    if measure is Measure.REQUESTS:
        return func.count()
    if measure is Measure.SPEND:
        amount: ColumnElement[Any] = table.c.spend
    else:
        amount = table.c.tokens if "tokens" in table.c else table.c.input_tokens + table.c.output_tokens
    return cast(func.coalesce(func.sum(amount), 0), BigInteger)


def _table(scope: Scope) -> Table:
    return ledger_tags if scope.kind == "tag" else ledger


def _named(scope: Scope, table: Table, *, indexed: bool = True) -> Conditions:
    columns: Iterable[ColumnElement[Any]] = (table.c[name] for name in _COLUMNS[scope.kind])
    if not indexed:
        columns = (func.coalesce(column, "") for column in columns)
    return tuple(column == part for column, part in zip(columns, _parts(scope), strict=True))


def _parts(scope: Scope) -> tuple[str, ...]:
    """The values of the columns that name the scope."""
    names = _COLUMNS[scope.kind]
    if len(names) < 2:
        return (scope.id,) if names else ()
    first, _, last = scope.id.rpartition(":") if scope.kind == "team_member" else scope.id.partition(":")
    return first, last
