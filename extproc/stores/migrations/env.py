"""Alembic's entry: runs the steps on the connection, and in the transaction, that the store hands in."""

from __future__ import annotations

from alembic import context

from extproc.stores import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
context.run_migrations()
