"""What the ledger knows of a limit: what a counter starts from when it is new, or was lost.

A scope's kind says by which columns its rows are found; its id is split at the colon that cannot be part of what stands
before it (`model_per_key`, `model_per_team`: a digest, a team's id) or behind it (`team_member`: a team's id). That is
why the management API makes no team whose id has a colon.

A budget without a window is the `spend` of whoever has it, since that may be set by hand; who has no row there, or
none at all (a model, everyone), has what the ledger sums up to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Table, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.holds import ROLLING_MS, Limit, Measure, Scope, Span
from extproc.model import UnixMs
from extproc.stores.tables import end_users, keys, ledger, ledger_tags, memberships, tags, teams, users

Conditions: TypeAlias = tuple[ColumnElement[bool], ...]

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


async def settled(connection: AsyncConnection, limit: Limit, now: UnixMs) -> Sequence[tuple[UnixMs, int]]:
    """Moments and amounts, as `Ledger.settled` says. Raises `ValueError` for a kind of scope that no column names."""
    if limit.scope.kind not in _COLUMNS:
        raise ValueError(f"the ledger knows no scope {limit.scope.kind!r}")
    if limit.span is Span.GAUGE:
        return ()
    if limit.span is Span.ROLLING:
        return await _last_minute(connection, limit, now)
    if limit.measure is Measure.SPEND and not limit.since and limit.until is None:
        spend = await _owners_spend(connection, limit.scope)
        if spend is not None:
            return ((now, spend),)
    return ((limit.since or now, await _sum(connection, limit)),)


async def _last_minute(connection: AsyncConnection, limit: Limit, now: UnixMs) -> Sequence[tuple[UnixMs, int]]:
    table = _table(limit.scope)
    moment, named = table.c.started_at, _named(limit.scope, table)
    if limit.measure is not Measure.REQUESTS:
        # Few rows ended in the last minute, whosever they are; the scope's own index would lead through all of them.
        moment, named = table.c.ended_at, _named(limit.scope, table, indexed=False)
    statement = (
        select(moment, _total(table, limit.measure))
        .where(*named, moment > now - ROLLING_MS)
        .group_by(moment)
        .order_by(moment)
    )
    return [(row[0], row[1]) for row in (await connection.execute(statement)).all()]


async def _sum(connection: AsyncConnection, limit: Limit) -> int:
    """Of what started in the window."""
    table = _table(limit.scope)
    started = [table.c.started_at >= limit.since] if limit.since else []
    if limit.until is not None:
        started.append(table.c.started_at < limit.until)
    statement = select(_total(table, limit.measure)).where(*_named(limit.scope, table), *started)
    return await connection.scalar(statement) or 0


async def _owners_spend(connection: AsyncConnection, scope: Scope) -> int | None:
    owner = _OWNERS.get(scope.kind)
    if owner is None:
        return None
    named = (column == part for column, part in zip(owner.primary_key.columns, _parts(scope), strict=True))
    return await connection.scalar(select(owner.c.spend).where(*named))


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
