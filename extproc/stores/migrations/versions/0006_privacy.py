"""What may tell of a person in the audit trail can be erased: the chain holds commitments only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit", sa.Column("cover", sa.Text(), nullable=False, server_default=""))
