"""The audit trail, and copies of deleted teams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        *(
            sa.Column(name, sa.BigInteger() if name == "at" else sa.Text(), nullable=name in {"before", "after"})
            for name in (
                "id", "at", "changed_by", "changed_by_key", "ip", "action", "table_name", "object_id", "before",
                "after", "previous", "key_id", "hash",
            )
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )  # fmt: skip
    op.create_index("uq_audit_id", "audit", ["id"], unique=True)
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_object_id", "audit", ["object_id"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": ""}])
    op.create_table(
        "deleted_teams",
        sa.Column("copy", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text()),
        sa.Column("organization_id", sa.Text()),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("spend", sa.BigInteger(), nullable=False),
        sa.Column("max_budget", sa.BigInteger()),
        sa.Column("soft_budget", sa.BigInteger()),
        sa.Column("budget_duration", sa.Text()),
        sa.Column("budget_reset_at", sa.BigInteger()),
        sa.Column("max_parallel_requests", sa.BigInteger()),
        sa.Column("rpm_limit", sa.BigInteger()),
        sa.Column("tpm_limit", sa.BigInteger()),
        sa.Column("tpd_limit", sa.BigInteger()),
        sa.Column("model_rpm_limit", sa.JSON()),
        sa.Column("model_tpm_limit", sa.JSON()),
        sa.Column("model_max_budget", sa.JSON()),
        sa.Column("budget_limits", sa.JSON()),
        sa.Column("temp_budget_increase", sa.BigInteger()),
        sa.Column("temp_budget_expiry", sa.BigInteger()),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("copy", name="pk_deleted_teams"),
    )
    op.create_index("ix_deleted_teams_id", "deleted_teams", ["id"])
