"""Whoever logs in is found by an index. What a provider calls a person moves out of the further fields."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NAME = "sso_user_id"
_USERS = sa.table("users", sa.column("id", sa.Text), sa.column("fields", sa.JSON), sa.column(_NAME, sa.Text))


def upgrade() -> None:
    op.add_column("users", sa.Column(_NAME, sa.Text()))
    _move()
    op.create_index("ix_users_sso_user_id", "users", [_NAME])
    op.create_index("ix_users_address", "users", [sa.text("lower(email)")])
    op.create_index("ix_deleted_keys_alias", "deleted_keys", ["alias"])


def _move() -> None:
    """Looked for in the text: PostgreSQL finds nothing in a document that has a zero in it."""
    connection = op.get_bind()
    having = sa.cast(_USERS.c.fields, sa.Text).contains(_NAME, autoescape=True)
    for user_id, fields in connection.execute(sa.select(_USERS.c.id, _USERS.c.fields).where(having)).all():
        rest = {name: value for name, value in fields.items() if name != _NAME}
        moved = {_NAME: fields.get(_NAME), "fields": rest}
        connection.execute(sa.update(_USERS).where(_USERS.c.id == user_id).values(moved))
