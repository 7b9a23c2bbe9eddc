"""Budgets, teams, users, members, end users, tags; limits of keys in columns of their own; what counters start from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LEDGER_INDEXES = {
    "ix_ledger_sum": ["started_at", "spend"],
    "ix_ledger_key_sum": ["key_digest", "started_at", "spend", "model_group"],
    "ix_ledger_user_sum": ["user_id", "started_at", "spend", "team_id"],
    "ix_ledger_team_sum": ["team_id", "started_at", "spend", "model_group"],
    "ix_ledger_end_user_sum": ["end_user", "started_at", "spend"],
    "ix_ledger_model_sum": ["model_group", "started_at", "spend"],
    "ix_ledger_ended_at": ["ended_at"],
}
#: What stood among a key's further fields until now.
_MOVED = (
    "budget_id",
    "model_rpm_limit",
    "model_tpm_limit",
    "model_max_budget",
    "budget_limits",
    "temp_budget_increase",
    "temp_budget_expiry",
)
#: PostgreSQL's indexes hold entries of at most 2704 bytes.
_LONGEST_TAG = 256
_SLICE = 1_000


def upgrade() -> None:
    for name in ("keys", "deleted_keys"):
        for column in (sa.Column("budget_id", sa.Text()), *_further_allowance()):
            op.add_column(name, column)
    _move("keys", "digest")
    _move("deleted_keys", "id")
    op.create_index("ix_keys_budget_id", "keys", ["budget_id"])
    _create_owners()
    _create_ledger_tags()
    for name in ("ix_ledger_key_digest_started_at", "ix_ledger_started_at", "ix_ledger_user_id_started_at"):
        op.drop_index(name, "ledger")
    for name, columns in _LEDGER_INDEXES.items():
        op.create_index(name, "ledger", columns)


def _further_allowance() -> list[sa.Column[Any]]:
    return [
        sa.Column("model_rpm_limit", sa.JSON(none_as_null=True)),
        sa.Column("model_tpm_limit", sa.JSON(none_as_null=True)),
        sa.Column("model_max_budget", sa.JSON(none_as_null=True)),
        sa.Column("budget_limits", sa.JSON(none_as_null=True)),
        sa.Column("temp_budget_increase", sa.BigInteger()),
        sa.Column("temp_budget_expiry", sa.BigInteger()),
    ]


def _allowance() -> list[sa.Column[Any]]:
    return [
        sa.Column("max_budget", sa.BigInteger()),
        sa.Column("soft_budget", sa.BigInteger()),
        sa.Column("budget_duration", sa.Text()),
        sa.Column("budget_reset_at", sa.BigInteger()),
        sa.Column("max_parallel_requests", sa.BigInteger()),
        sa.Column("rpm_limit", sa.BigInteger()),
        sa.Column("tpm_limit", sa.BigInteger()),
        sa.Column("tpd_limit", sa.BigInteger()),
        *_further_allowance(),
    ]


def _create_owners() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", sa.Text(), nullable=False),
        *_allowance(),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text()),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
    )
    op.create_table(
        "teams",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text()),
        sa.Column("organization_id", sa.Text()),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("spend", sa.BigInteger(), nullable=False),
        *_allowance(),
        *_described(),
        sa.PrimaryKeyConstraint("id", name="pk_teams"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text()),
        sa.Column("alias", sa.Text()),
        sa.Column("role", sa.Text()),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("spend", sa.BigInteger(), nullable=False),
        *_allowance(),
        *_described(),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
    )
    op.create_index("uq_users_email", "users", ["email"], unique=True)
    op.create_table(
        "memberships",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("spend", sa.BigInteger(), nullable=False),
        *_allowance(),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "team_id", name="pk_memberships"),
    )
    op.create_index("ix_memberships_team_id", "memberships", ["team_id"])
    op.create_table(
        "end_users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text()),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("spend", sa.BigInteger(), nullable=False),
        sa.Column("budget_id", sa.Text()),
        *_allowance(),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_end_users"),
    )
    op.create_table(
        "tags",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("spend", sa.BigInteger(), nullable=False),
        sa.Column("budget_id", sa.Text()),
        *_allowance(),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text()),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_tags"),
    )


def _described() -> list[sa.Column[Any]]:
    return [
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    ]


def _create_ledger_tags() -> None:
    op.create_table(
        "ledger_tags",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("spend", sa.BigInteger()),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tag", "started_at", "event_id", name="pk_ledger_tags"),
    )
    _fill_ledger_tags()
    op.create_index("ix_ledger_tags_sum", "ledger_tags", ["tag", "started_at", "spend"])
    op.create_index("ix_ledger_tags_ended_at", "ledger_tags", ["ended_at"])


def _fill_ledger_tags() -> None:
    names = ("event_id", "started_at", "ended_at", "spend", "input_tokens", "output_tokens")
    ledger = sa.table("ledger", sa.column("tags", sa.JSON()), *map(sa.column, names))
    copies = sa.table("ledger_tags", *map(sa.column, ("tag", *names[:4], "tokens")))
    bind = op.get_bind()
    page = sa.select(ledger).where(sa.cast(ledger.c.tags, sa.Text()) != "[]").order_by(ledger.c.event_id).limit(_SLICE)
    found = bind.execute(page).mappings().all()
    while found:
        rows = [
            {
                "tag": tag,
                "tokens": row["input_tokens"] + row["output_tokens"],
                **{name: row[name] for name in names[:4]},
            }
            for row in found
            for tag in {_storable(tag) for tag in row["tags"]}
        ]
        bind.execute(sa.insert(copies), rows)
        found = bind.execute(page.where(ledger.c.event_id > found[-1]["event_id"])).mappings().all()


def _storable(tag: str) -> str:
    return tag.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:_LONGEST_TAG]


def _move(table: str, identity: str) -> None:
    """Take what has a column now out of the further fields, in slices: a fleet may have many keys."""
    rows = sa.table(
        table,
        sa.column(identity),
        sa.column("fields", sa.JSON()),
        sa.column("budget_id", sa.Text()),
        *(sa.column(column.name, column.type) for column in _further_allowance()),
    )
    bind, place = op.get_bind(), rows.c[identity]
    page = sa.select(place, rows.c.fields).order_by(place).limit(_SLICE)
    found = bind.execute(page).all()
    while found:
        for key, fields in found:
            if fields and any(name in fields for name in _MOVED):
                bind.execute(sa.update(rows).where(place == key).values(_moved(fields)))
        found = bind.execute(page.where(place > found[-1][0])).all()


def _moved(fields: dict[str, Any]) -> dict[str, Any]:
    models = fields.get("model_max_budget") or {}
    windows = fields.get("budget_limits") or []
    increase = fields.get("temp_budget_increase")
    return {
        "fields": {name: value for name, value in fields.items() if name not in _MOVED},
        "budget_id": fields.get("budget_id"),
        "model_rpm_limit": fields.get("model_rpm_limit") or None,
        "model_tpm_limit": fields.get("model_tpm_limit") or None,
        "model_max_budget": {
            model: [_nanos(window["max_budget"]), window.get("budget_duration")]
            for model, window in models.items()
            if window.get("max_budget") is not None
        }
        or None,
        "budget_limits": [
            [window["budget_duration"], _nanos(window["max_budget"])]
            for window in windows
            if window.get("max_budget") is not None and window.get("budget_duration")
        ]
        or None,
        "temp_budget_increase": None if increase is None else _nanos(increase),
        "temp_budget_expiry": _unix_ms(fields.get("temp_budget_expiry")),
    }


def _nanos(dollars: float) -> int:
    return int((Decimal(json.dumps(dollars)) * 1_000_000_000).to_integral_value())


def _unix_ms(text: str | None) -> int | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
