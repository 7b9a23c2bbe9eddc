"""LiteLLM's tables as views, with its names of columns, for the SQL that people have: on PostgreSQL only.

Money is in dollars (`numeric`, exact; null where no price is known), moments are `timestamptz`. A name that is taken
stays as it is: the database may be LiteLLM's own. The views are for reading.

LiteLLM calls a failed request `failure`, its security page asks for `error`. The type of `status` takes both words for
the same, so either finds every failure, once.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATUS = """
CREATE TYPE extproc_status AS ENUM ('success', 'failure', 'error');
CREATE FUNCTION extproc_status_same(extproc_status, extproc_status) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ($1 OPERATOR(pg_catalog.=) 'success') OPERATOR(pg_catalog.=) ($2 OPERATOR(pg_catalog.=) 'success')
$$;
CREATE FUNCTION extproc_status_other(extproc_status, extproc_status) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ($1 OPERATOR(pg_catalog.=) 'success') OPERATOR(pg_catalog.<>) ($2 OPERATOR(pg_catalog.=) 'success')
$$;
CREATE OPERATOR = (
    LEFTARG = extproc_status, RIGHTARG = extproc_status, FUNCTION = extproc_status_same, COMMUTATOR = =, NEGATOR = <>
);
CREATE OPERATOR <> (
    LEFTARG = extproc_status, RIGHTARG = extproc_status, FUNCTION = extproc_status_other, COMMUTATOR = <>, NEGATOR = =
)
"""


def _at(column: str, name: str | None = None) -> str:
    return f'to_timestamp({column} / 1000.0) AS "{name or column}"'


def _usd(column: str) -> str:
    return f"({column} / 1000000000.0)::numeric AS {column}"


def _texts(column: str) -> str:
    return f"ARRAY(SELECT json_array_elements_text({column})) AS {column}"


#: What the fields of `Allowance` are called there.
_LIMITS = ", ".join(
    (_usd("max_budget"), _usd("soft_budget"), "max_parallel_requests", "tpm_limit", "rpm_limit", "budget_duration",
     _at("budget_reset_at"), "model_max_budget")
)  # fmt: skip
_MADE = f"{_at('created_at')}, {_at('updated_at')}"
_MADE_BY = f"{_MADE}, created_by, updated_by"
_KEY = f"""
    digest AS token, name AS key_name, alias AS key_alias, {_usd("spend")}, {_at("expires_at", "expires")},
    {_texts("models")}, user_id, team_id, organization_id, budget_id, blocked, {_LIMITS}, metadata, {_MADE_BY},
    {_at("last_active")}"""
_TEAM = f"""
    id AS team_id, alias AS team_alias, organization_id, {_texts("models")}, blocked, {_usd("spend")}, {_LIMITS},
    metadata, {_MADE}"""
_DELETED = f"{_at('deleted_at')}, deleted_by"
_VIEWS = {
    "LiteLLM_AuditLog": f"""
        id, {_at("at", "updated_at")}, changed_by, changed_by_key AS changed_by_api_key, action, table_name, object_id,
        before::json AS before_value, after::json AS updated_values, ip AS source_ip, seq AS sequence, hash FROM audit
    """,
    "LiteLLM_SpendLogs": f"""
        COALESCE(NULLIF(provider_response_id, ''), event_id) AS request_id, operation AS call_type,
        key_digest AS api_key, {_usd("spend")}, input_tokens + output_tokens AS total_tokens,
        input_tokens AS prompt_tokens, output_tokens AS completion_tokens, {_at("started_at", "startTime")},
        {_at("ended_at", "endTime")}, {_at("first_byte_at", "completionStartTime")},
        ended_at - started_at AS request_duration_ms, model, model_id, model_group, provider AS custom_llm_provider,
        api_base, COALESCE(user_id, '') AS "user", metadata, tags AS request_tags, team_id, organization_id, end_user,
        NULLIF(requester_ip, '') AS requester_ip_address, NULL::json AS messages, NULL::json AS response,
        call_id AS session_id, call_id AS litellm_call_id,
        (CASE status WHEN 'success' THEN 'success' ELSE 'failure' END)::extproc_status AS status,
        key_alias, user_agent, http_status, estimated, cut, event_id, {_at("booked_at", "created_at")} FROM ledger
    """,
    "LiteLLM_VerificationToken": f"{_KEY} FROM keys",
    "LiteLLM_DeletedVerificationToken": f"{_KEY}, id::text AS id, {_DELETED} FROM deleted_keys",
    "LiteLLM_TeamTable": f"{_TEAM} FROM teams",
    "LiteLLM_DeletedTeamTable": f"{_TEAM}, copy::text AS id, {_DELETED} FROM deleted_teams",
    "LiteLLM_UserTable": f"""
        id AS user_id, email AS user_email, alias AS user_alias, role AS user_role, {_texts("models")},
        {_usd("spend")}, {_LIMITS}, metadata, {_MADE},
        ARRAY(SELECT team_id FROM memberships WHERE user_id = users.id ORDER BY team_id) AS teams FROM users
    """,  # noqa: S608 - made of the constants above
    "LiteLLM_TeamMembership": f"""
        user_id, team_id, role, {_texts("models")}, {_usd("spend")}, {_LIMITS}, {_at("created_at")} FROM memberships
    """,
    "LiteLLM_EndUserTable": f"""
        id AS user_id, alias, blocked, {_texts("models")}, {_usd("spend")}, budget_id, {_LIMITS}, {_MADE}
        FROM end_users
    """,
    "LiteLLM_BudgetTable": f"id AS budget_id, {_LIMITS}, {_MADE_BY} FROM budgets",
    "LiteLLM_TagTable": f"""
        name AS tag_name, description, {_texts("models")}, {_usd("spend")}, budget_id, {_LIMITS}, {_MADE}, created_by
        FROM tags
    """,
}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    for statement in _STATUS.split(";\nCREATE"):
        op.execute(statement if statement.startswith("\nCREATE") else f"CREATE{statement}")
    for name, selected in _VIEWS.items():
        if connection.exec_driver_sql(f"SELECT to_regclass('\"{name}\"')").scalar() is None:
            op.execute(f'CREATE VIEW "{name}" AS SELECT {selected}'.replace(":", "\\:"))
