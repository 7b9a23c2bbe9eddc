"""What each key did lately, and what is usual for it: the facts that `policy/suspicion.py` judges.

The last hours are read from the ledger, by its index of moments; the week before from the sums by day. Addresses and
the last use before are asked for those keys only that did something, the dearest first, so the cost has a bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, and_, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.activity import Activity
from extproc.model import UnixMs
from extproc.stores.sql_database import Database
from extproc.stores.tables import ledger
from extproc.stores.tables_spend import daily_spend

MOST_KEYS = 500
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_USUAL_DAYS = 7


async def activities(database: Database, *, hours: int, now: UnixMs) -> list[Activity]:
    """The keys that were used in the last hours, the dearest first, at most `MOST_KEYS`."""
    since = now - hours * _HOUR_MS
    async with database.reading() as connection:
        recent = await _recent(connection, since)
        digests = [row["key_digest"] for row in recent]
        usual = await _usual(connection, digests, since)
        before = await _before(connection, digests, since)
        now_from = await _addresses(connection, digests, since, None)
        then_from = await _addresses(connection, digests, since - _USUAL_DAYS * _DAY_MS, since)
    return [
        Activity(
            **row,
            usual_requests=usual.get(row["key_digest"], (0, 0))[0] / (_USUAL_DAYS * 24),
            usual_spend=usual.get(row["key_digest"], (0, 0))[1] / (_USUAL_DAYS * 24),
            used_before=before.get(row["key_digest"]),
            addresses=len(now_from.get(row["key_digest"], ())),
            new_addresses=tuple(
                sorted(now_from.get(row["key_digest"], set()) - then_from.get(row["key_digest"], set()))
            ),
        )
        for row in recent
    ]


async def _recent(connection: AsyncConnection, since: UnixMs) -> list[dict[str, Any]]:
    spend = cast(func.coalesce(func.sum(ledger.c.spend), 0), BigInteger).label("spend")
    failures = cast(func.sum(case((ledger.c.status == "success", 0), else_=1)), BigInteger).label("failures")
    statement = (
        select(ledger.c.key_digest, func.count().label("requests"), failures, spend)
        .where(ledger.c.started_at >= since)
        .group_by(ledger.c.key_digest)
        .order_by(spend.desc(), ledger.c.key_digest)
        .limit(MOST_KEYS)
    )
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


async def _usual(connection: AsyncConnection, digests: Sequence[str], since: UnixMs) -> dict[str, tuple[int, int]]:
    """Requests and spend of the whole days of the week before."""
    day = since // _DAY_MS
    requests = func.sum(daily_spend.c.successful_requests + daily_spend.c.failed_requests)
    statement = (
        select(daily_spend.c.key_digest, cast(requests, BigInteger), cast(func.sum(daily_spend.c.spend), BigInteger))
        .where(daily_spend.c.key_digest.in_(digests), daily_spend.c.day >= day - _USUAL_DAYS, daily_spend.c.day < day)
        .group_by(daily_spend.c.key_digest)
    )
    return {row[0]: (row[1] or 0, row[2] or 0) for row in (await connection.execute(statement)).all()}


async def _before(connection: AsyncConnection, digests: Sequence[str], since: UnixMs) -> dict[str, UnixMs]:
    chosen = and_(ledger.c.key_digest.in_(digests), ledger.c.started_at < since)
    statement = select(ledger.c.key_digest, func.max(ledger.c.started_at)).where(chosen).group_by(ledger.c.key_digest)
    return {row[0]: row[1] for row in (await connection.execute(statement)).all()}


async def _addresses(
    connection: AsyncConnection, digests: Sequence[str], since: UnixMs, before: UnixMs | None
) -> dict[str, set[str]]:
    chosen = and_(ledger.c.key_digest.in_(digests), ledger.c.started_at >= since, ledger.c.requester_ip != "")
    if before is not None:
        chosen = and_(chosen, ledger.c.started_at < before)
    found: dict[str, set[str]] = {}
    pairs = select(ledger.c.key_digest, ledger.c.requester_ip).where(chosen)
    for digest, address in (await connection.execute(pairs.distinct())).all():
        found.setdefault(digest, set()).add(address)
    return found
