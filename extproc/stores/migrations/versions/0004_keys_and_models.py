"""Keys that go on under an older name for a while; stored models and credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("keys", "deleted_keys"):
        for name in ("rotate_at", "spend_set_at", "spend_set_to"):
            op.add_column(table, sa.Column(name, sa.BigInteger()))
    op.create_index("ix_keys_rotate_at", "keys", ["rotate_at"])
    op.create_table(
        "key_credentials",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("key_digest", sa.Text(), nullable=False),
        sa.Column("revoke_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("digest", name="pk_key_credentials"),
    )
    op.create_index("ix_key_credentials_key_digest", "key_credentials", ["key_digest"])
    op.create_table(
        "models",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("credential", sa.Text()),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text()),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_index("ix_models_model_name", "models", ["model_name"])
