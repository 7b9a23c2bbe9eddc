"""The tables, once, for every SQL database.

Money is integer nanos and moments are integer milliseconds, both 64 bits wide; there is no float and no database clock.
Texts have no length: what is too long is refused where it comes in, and a ledger must never refuse a receipt. JSON is
text (`json`, not `jsonb`: it keeps what a provider sent, `\\u0000` included). `migrations/` makes these tables; a test
holds the two equal.

A column has the name of the field of `extproc.model` that it holds. Nothing refers to another table by a constraint: a
key may name a team that is made later, and a receipt outlives whomever it names.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text, text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(column_0_label)s",
    }
)


def _allowance_columns() -> list[Column[object]]:
    """The fields of `Allowance`. An empty JSON column is an empty collection."""
    columns: list[Column[object]] = [
        Column("max_budget", BigInteger),
        Column("soft_budget", BigInteger),
        Column("budget_duration", Text),
        Column("budget_reset_at", BigInteger),
        Column("max_parallel_requests", BigInteger),
        Column("rpm_limit", BigInteger),
        Column("tpm_limit", BigInteger),
        Column("tpd_limit", BigInteger),
        Column("model_rpm_limit", JSON(none_as_null=True)),
        Column("model_tpm_limit", JSON(none_as_null=True)),
        Column("model_max_budget", JSON(none_as_null=True)),
        Column("budget_limits", JSON(none_as_null=True)),
        Column("temp_budget_increase", BigInteger),
        Column("temp_budget_expiry", BigInteger),
    ]
    return columns


def _key_columns() -> list[Column[object]]:
    """`booked` is what the ledger has added since the key was made; `spend` starts from there but may be set."""
    columns: list[Column[object]] = [
        Column("name", Text, nullable=False),
        Column("alias", Text),
        Column("role", Text, nullable=False),
        Column("models", JSON, nullable=False),
        Column("blocked", Boolean, nullable=False),
        Column("expires_at", BigInteger),
        Column("user_id", Text),
        Column("team_id", Text),
        Column("organization_id", Text),
        Column("budget_id", Text),
        Column("spend", BigInteger, nullable=False),
        Column("booked", BigInteger, nullable=False),
        *_allowance_columns(),
        Column("metadata", JSON, nullable=False),
        Column("fields", JSON, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("created_by", Text),
        Column("updated_at", BigInteger, nullable=False),
        Column("updated_by", Text),
        Column("last_active", BigInteger),
        Column("rotate_at", BigInteger),
        Column("spend_set_at", BigInteger),
        Column("spend_set_to", BigInteger),
    ]
    return columns


keys = Table(
    "keys",
    metadata,
    Column("digest", Text, primary_key=True),
    *_key_columns(),
    Index("uq_keys_alias", "alias", unique=True),
    Index("ix_keys_user_id", "user_id"),
    Index("ix_keys_team_id", "team_id"),
    Index("ix_keys_budget_id", "budget_id"),
    Index("ix_keys_rotate_at", "rotate_at"),
)

#: A digest may be deleted, made again and deleted again, so each copy has a number of its own.
deleted_keys = Table(
    "deleted_keys",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("digest", Text, nullable=False),
    *_key_columns(),
    Column("deleted_at", BigInteger, nullable=False),
    Column("deleted_by", Text, nullable=False),
    Index("ix_deleted_keys_digest", "digest"),
    Index("ix_deleted_keys_alias", "alias"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("id", Text, primary_key=True),
    *_allowance_columns(),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by", Text),
)

teams = Table(
    "teams",
    metadata,
    Column("id", Text, primary_key=True),
    Column("alias", Text),
    Column("organization_id", Text),
    Column("models", JSON, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("spend", BigInteger, nullable=False),
    *_allowance_columns(),
    Column("metadata", JSON, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("spend_set_at", BigInteger),
    Column("spend_set_to", BigInteger),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text),
    Column("alias", Text),
    Column("role", Text),
    Column("models", JSON, nullable=False),
    Column("spend", BigInteger, nullable=False),
    *_allowance_columns(),
    Column("metadata", JSON, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("sso_user_id", Text),
    Index("uq_users_email", "email", unique=True),
    Index("ix_users_sso_user_id", "sso_user_id"),
    Index("ix_users_address", text("lower(email)")),
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("team_id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("models", JSON, nullable=False),
    Column("spend", BigInteger, nullable=False),
    *_allowance_columns(),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_memberships_team_id", "team_id"),
)

end_users = Table(
    "end_users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("alias", Text),
    Column("blocked", Boolean, nullable=False),
    Column("models", JSON, nullable=False),
    Column("spend", BigInteger, nullable=False),
    Column("budget_id", Text),
    *_allowance_columns(),
    Column("fields", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("name", Text, primary_key=True),
    Column("description", Text),
    Column("models", JSON, nullable=False),
    Column("spend", BigInteger, nullable=False),
    Column("budget_id", Text),
    *_allowance_columns(),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    Column("updated_at", BigInteger, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("booked_at", BigInteger, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("provider_response_id", Text, nullable=False),
    Column("key_digest", Text, nullable=False),
    Column("key_alias", Text),
    Column("user_id", Text),
    Column("team_id", Text),
    Column("organization_id", Text),
    Column("end_user", Text),
    Column("started_at", BigInteger, nullable=False),
    Column("first_byte_at", BigInteger),
    Column("ended_at", BigInteger, nullable=False),
    Column("operation", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("model_group", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("model_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("api_base", Text, nullable=False),
    Column("http_status", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("cut", Boolean, nullable=False),
    Column("spend", BigInteger),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("input_audio_tokens", BigInteger, nullable=False),
    Column("output_audio_tokens", BigInteger, nullable=False),
    Column("requester_ip", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    # A sum over a window is read from these alone: they hold what it adds up, and what it may have to look at.
    Index("ix_ledger_sum", "started_at", "spend"),
    Index("ix_ledger_key_sum", "key_digest", "started_at", "spend", "model_group"),
    Index("ix_ledger_user_sum", "user_id", "started_at", "spend", "team_id"),
    Index("ix_ledger_team_sum", "team_id", "started_at", "spend", "model_group"),
    Index("ix_ledger_end_user_sum", "end_user", "started_at", "spend"),
    Index("ix_ledger_model_sum", "model_group", "started_at", "spend"),
    Index("ix_ledger_ended_at", "ended_at"),
    Index("ix_ledger_provider_response_id", "provider_response_id"),
    Index("ix_ledger_call_id", "call_id"),
)

#: A receipt once for each of its tags, with what is added up.
ledger_tags = Table(
    "ledger_tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("started_at", BigInteger, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("ended_at", BigInteger, nullable=False),
    Column("spend", BigInteger),
    Column("tokens", BigInteger, nullable=False),
    Index("ix_ledger_tags_sum", "tag", "started_at", "spend"),
    Index("ix_ledger_tags_ended_at", "ended_at"),
)
