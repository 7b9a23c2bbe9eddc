"""What a team has spent may be set, as what a key has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("teams", "deleted_teams"):
        for name in ("spend_set_at", "spend_set_to"):
            op.add_column(table, sa.Column(name, sa.BigInteger()))
