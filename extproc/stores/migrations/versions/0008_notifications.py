"""PostgreSQL tells whoever listens what was changed, in the transaction that changes it.

A trigger cannot be forgotten by new code, and hears of statements that were typed by hand. What the ledger's bookings
change is left out: they are many, and nobody caches it. SQLite has one process, which knows by itself.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

#: For each table, the kinds and the columns of the scopes that a row of it belongs to.
_TOLD = {
    "keys": (("api_key", "digest"),),
    "key_credentials": (("api_key", "digest"), ("api_key", "key_digest")),
    "teams": (("team", "id"),),
    "users": (("user", "id"),),
    "memberships": (("team_member", "user_id", "team_id"),),
    "end_users": (("end_user", "id"),),
    "tags": (("tag", "name"),),
    "budgets": (("budget", "id"),),
}

#: Its arguments are kinds and columns in turn. A message of PostgreSQL has less than 8,000 bytes. What somebody sent
#: may hold a NUL, which `json` keeps and `jsonb` refuses.
_FUNCTION = """
CREATE FUNCTION extproc_tell_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    booked CONSTANT text[] := ARRAY['spend', 'booked', 'last_active', 'updated_at'];
    old_row jsonb;
    new_row jsonb;
    told jsonb;
    name text;
    message text;
BEGIN
    IF TG_OP <> 'INSERT' THEN old_row := replace(to_json(OLD)::text, '\\u0000', '\\ufffd'); END IF;
    IF TG_OP <> 'DELETE' THEN new_row := replace(to_json(NEW)::text, '\\u0000', '\\ufffd'); END IF;
    IF old_row - booked IS NOT DISTINCT FROM new_row - booked THEN RETURN NULL; END IF;
    FOREACH told IN ARRAY ARRAY[old_row, new_row] LOOP
        CONTINUE WHEN told IS NULL;
        FOR position IN 0 .. TG_NARGS / 2 - 1 LOOP
            SELECT string_agg(told ->> field, ':' ORDER BY place) INTO name
            FROM unnest(string_to_array(TG_ARGV[2 * position + 1], ',')) WITH ORDINALITY AS fields (field, place);
            message := json_build_object('kind', TG_ARGV[2 * position], 'id', name)::text;
            IF octet_length(message) >= 7900 THEN message := '{"kind":"everything","id":""}'; END IF;
            PERFORM pg_notify('extproc_changed', message);
        END LOOP;
    END LOOP;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(_FUNCTION)
    for table, scopes in _TOLD.items():
        arguments = ", ".join(f"'{kind}', '{','.join(columns)}'" for kind, *columns in scopes)
        op.execute(
            f"CREATE TRIGGER extproc_tell_change AFTER INSERT OR UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION extproc_tell_change({arguments})"
        )
