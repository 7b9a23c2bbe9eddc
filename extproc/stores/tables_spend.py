"""Tables of spend by day: sums of the ledger, which stay when its rows are purged.

Days are UTC, as LiteLLM's, and counted from 1970-01-01. A row is one combination of everything that reports group by,
named by a hash over it: the names themselves may be longer than an index takes.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from extproc.stores.tables import metadata


def _columns() -> list[Column[object]]:
    columns: list[Column[object]] = [
        Column("id", Text, primary_key=True),
        Column("day", Integer, nullable=False),
        Column("key_digest", Text, nullable=False),
        Column("user_id", Text),
        Column("team_id", Text),
        Column("organization_id", Text),
        Column("end_user", Text),
        Column("model_group", Text, nullable=False),
        Column("model", Text, nullable=False),
        Column("provider", Text, nullable=False),
        Column("successful_requests", BigInteger, nullable=False),
        Column("failed_requests", BigInteger, nullable=False),
        Column("input_tokens", BigInteger, nullable=False),
        Column("output_tokens", BigInteger, nullable=False),
        Column("cache_read_tokens", BigInteger, nullable=False),
        Column("cache_write_tokens", BigInteger, nullable=False),
        Column("spend", BigInteger, nullable=False),
    ]
    return columns


daily_spend = Table(
    "daily_spend",
    metadata,
    *_columns(),
    Index("ix_daily_spend_day", "day"),
    Index("ix_daily_spend_key", "key_digest", "day"),
    Index("ix_daily_spend_user", "user_id", "day"),
    Index("ix_daily_spend_team", "team_id", "day"),
    Index("ix_daily_spend_end_user", "end_user", "day"),
)

#: The same, once for each tag of a receipt: its sums are not to be added up over tags.
daily_tag_spend = Table(
    "daily_tag_spend",
    metadata,
    *_columns(),
    Column("tag", Text, nullable=False),
    Index("ix_daily_tag_spend_day", "day"),
    Index("ix_daily_tag_spend_tag", "tag", "day"),
)
