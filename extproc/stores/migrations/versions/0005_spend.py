"""Spend by day, kept by the writer of the ledger, and filled from the rows that are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_DAY_MS = 86_400_000
_SLICE = 1_000
_WHO = ("key_digest", "user_id", "team_id", "organization_id", "end_user", "model_group", "model", "provider")
_NULLABLE = {"user_id", "team_id", "organization_id", "end_user"}
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_MEASURES = ("successful_requests", "failed_requests", *_TOKENS, "spend")


def upgrade() -> None:
    _create("daily_spend")
    _create("daily_tag_spend", sa.Column("tag", sa.Text(), nullable=False))
    _fill()
    op.create_index("ix_daily_spend_day", "daily_spend", ["day"])
    for name, column in {"key": "key_digest", "user": "user_id", "team": "team_id", "end_user": "end_user"}.items():
        op.create_index(f"ix_daily_spend_{name}", "daily_spend", [column, "day"])
    op.create_index("ix_daily_tag_spend_day", "daily_tag_spend", ["day"])
    op.create_index("ix_daily_tag_spend_tag", "daily_tag_spend", ["tag", "day"])


def _create(name: str, *more: sa.Column[Any]) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        *(sa.Column(each, sa.Text(), nullable=each in _NULLABLE) for each in _WHO),
        *(sa.Column(each, sa.BigInteger(), nullable=False) for each in _MEASURES),
        *more,
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
    )


def _fill() -> None:
    """Day after day, so that no more than one is in memory."""
    started: sa.ColumnClause[Any] = sa.column("started_at")
    ledger = sa.table("ledger", started, sa.column("event_id"), sa.column("status"), *map(sa.column, _all_but_counts()))
    tagged = sa.table("ledger_tags", sa.column("event_id"), sa.column("tag"))
    both = ledger.join(tagged, tagged.c.event_id == ledger.c.event_id)
    first = sa.select(sa.func.min(ledger.c.started_at))
    moment = op.get_bind().scalar(first)
    while moment is not None:
        day = moment // _DAY_MS
        within = (ledger.c.started_at >= day * _DAY_MS, ledger.c.started_at < (day + 1) * _DAY_MS)
        who = [ledger.c[name] for name in _WHO]
        _insert("daily_spend", day, _WHO, sa.select(*who, *_sums(ledger)).where(*within).group_by(*who))
        who.append(tagged.c.tag)
        select = sa.select(*who, *_sums(ledger)).select_from(both).where(*within).group_by(*who)
        _insert("daily_tag_spend", day, (*_WHO, "tag"), select)
        moment = op.get_bind().scalar(first.where(ledger.c.started_at >= (day + 1) * _DAY_MS))


def _all_but_counts() -> tuple[str, ...]:
    return (*_WHO, *_TOKENS, "spend")


def _sums(ledger: sa.TableClause) -> list[sa.ColumnElement[Any]]:
    succeeded = sa.case((ledger.c.status == "success", 1), else_=0)
    counted = {"successful_requests": succeeded, "failed_requests": 1 - succeeded}
    added = {name: sa.func.coalesce(ledger.c[name], 0) for name in (*_TOKENS, "spend")}
    return [sa.cast(sa.func.sum(value), sa.BigInteger()).label(name) for name, value in {**counted, **added}.items()]


def _insert(name: str, day: int, who: Sequence[str], select: sa.Select[Any]) -> None:
    columns = ("id", "day", *who, *_MEASURES)
    table, bind = sa.table(name, *map(sa.column, columns)), op.get_bind()
    found = [{"day": day, **row} for row in bind.execute(select).mappings()]
    rows = [{**row, "id": _id([row[each] for each in ("day", *who)])} for row in found]
    for start in range(0, len(rows), _SLICE):
        bind.execute(sa.insert(table), rows[start : start + _SLICE])


def _id(parts: Sequence[Any]) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
