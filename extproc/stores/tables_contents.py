"""What was said in exchanges, where that is stored: a row for each, sealed; `ledger.event_id` names the exchange."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from extproc.stores.tables import metadata

contents = Table(
    "contents",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("ended_at", BigInteger, nullable=False),
    Column("sealed", Text, nullable=False),
    Index("ix_contents_ended_at", "ended_at"),
)
