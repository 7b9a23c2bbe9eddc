"""Tables of the audit trail, and copies of deleted teams.

`audit` only grows. Each row holds a hash over itself and the hash of the row before it; `audit_head` has one row, which
says where the chain ends and is held while it grows. `before` and `after` are the very texts that were committed to.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from extproc.stores.tables import metadata, teams

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("changed_by_key", Text, nullable=False),
    Column("ip", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("previous", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("cover", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("uq_audit_id", "id", unique=True),
    Index("ix_audit_at", "at"),
    Index("ix_audit_object_id", "object_id"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

#: An id may be deleted, made again and deleted again, so each copy has a number of its own.
deleted_teams = Table(
    "deleted_teams",
    metadata,
    Column("copy", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    *(Column(column.name, column.type, nullable=column.nullable) for column in teams.c),
    Column("deleted_at", BigInteger, nullable=False),
    Column("deleted_by", Text, nullable=False),
    Index("ix_deleted_teams_id", "id"),
)
