"""LiteLLM's database, read row by row: one transaction that sees one moment and can change nothing.

Tables are asked for with all their columns, whatever version of LiteLLM made them; what is not there is as good as
empty. Rows come in batches through a cursor, so that a table of any size takes the memory of one batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from extproc.errors import ConfigError
from extproc.importing.translation import Row
from extproc.stores.sql_database import Database

_BATCH = 1_000
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = ANY (current_schemas(false)) "
    # Ours has views of these names.
    "AND table_type = 'BASE TABLE'"
)
#: Each table in the order of its key, so that two readings meet rows in one order.
_QUERIES = {
    "LiteLLM_BudgetTable": 'SELECT * FROM "LiteLLM_BudgetTable" ORDER BY budget_id',
    "LiteLLM_TeamTable": 'SELECT * FROM "LiteLLM_TeamTable" ORDER BY team_id',
    "LiteLLM_UserTable": 'SELECT * FROM "LiteLLM_UserTable" ORDER BY user_id',
    "LiteLLM_VerificationToken": 'SELECT * FROM "LiteLLM_VerificationToken" ORDER BY token',
    "LiteLLM_EndUserTable": 'SELECT * FROM "LiteLLM_EndUserTable" ORDER BY user_id',
    "LiteLLM_TagTable": 'SELECT * FROM "LiteLLM_TagTable" ORDER BY tag_name',
    "LiteLLM_TeamMembership": (
        'SELECT b.*, m.* FROM "LiteLLM_TeamMembership" m '
        'LEFT JOIN "LiteLLM_BudgetTable" b ON b.budget_id = m.budget_id ORDER BY m.user_id, m.team_id'
    ),
    "LiteLLM_SpendLogs": 'SELECT * FROM "LiteLLM_SpendLogs" WHERE "startTime" >= :since ORDER BY "startTime"',
}
_MODEL_ALIASES = (
    'SELECT t.team_id, m.aliases FROM "LiteLLM_TeamTable" t JOIN "LiteLLM_ModelTable" m ON m.id = t.model_id'
)
#: The heavy columns of a spend row, which nothing here asks for.
_HEAVY = frozenset({"messages", "response", "proxy_server_request"})
#: Tables without a counterpart, and what an operator does about each.
NOT_TAKEN = {
    "LiteLLM_OrganizationTable": "organizations: their ids stay on keys and teams, their budgets do not count",
    "LiteLLM_ProjectTable": "projects: their budgets and models do not count",
    "LiteLLM_ProxyModelTable": "models stored in the database: they are encrypted there; list them in model_list",
    "LiteLLM_CredentialsTable": "stored credentials: they are encrypted there; name them by reference in model_list",
    "LiteLLM_MCPServerTable": "MCP servers",
    "LiteLLM_AgentsTable": "agents",
    "LiteLLM_GuardrailsTable": "guardrails stored in the database: put them into the configuration",
    "LiteLLM_Config": "settings stored in the database: put them into the configuration",
    "LiteLLM_DeprecatedVerificationToken": "keys in their grace period after a rotation: they are refused here",
    "LiteLLM_JWTKeyMapping": "mappings of JWT claims to keys",
    "LiteLLM_ModelAccessGroupBudgetTable": "budgets of model access groups",
}


class Source:
    """An open transaction in LiteLLM's database."""

    def __init__(self, connection: AsyncConnection, tables: frozenset[str]) -> None:
        self._connection = connection
        self._tables = tables

    async def count(self, table: str, **bound: Any) -> int:
        """How many rows will be read; 0 where there is no such table."""
        if table not in self._tables:
            return 0
        query = _QUERIES.get(table, f'SELECT * FROM "{table}"')  # noqa: S608 - a name of the tables above
        counted = text(f"SELECT count(*) FROM ({query}) rows")  # noqa: S608
        return int(await self._connection.scalar(counted, bound) or 0)

    async def batches(self, table: str, **bound: Any) -> AsyncIterator[list[Row]]:
        """All rows of a table, a batch at a time; none where there is no such table."""
        if table not in self._tables:
            return
        query = text(await self._without_heavy_columns(table)).execution_options(yield_per=_BATCH)
        result = await self._connection.stream(query, bound)
        async for rows in result.mappings().partitions(_BATCH):
            yield [dict(row) for row in rows]

    async def model_aliases(self) -> Mapping[str, Any]:
        """The model aliases of teams, by team."""
        if "LiteLLM_ModelTable" not in self._tables:
            return {}
        return {row[0]: row[1] for row in (await self._connection.execute(text(_MODEL_ALIASES))).all()}

    async def _without_heavy_columns(self, table: str) -> str:
        query = _QUERIES[table]
        if table != "LiteLLM_SpendLogs":
            return query
        empty = await self._connection.execute(text(f"SELECT * FROM ({query}) rows LIMIT 0"), {"since": None})  # noqa: S608
        columns = ", ".join(f'"{name}"' for name in empty.keys() if name not in _HEAVY)  # noqa: SIM118 - a result
        return query.replace("*", columns, 1)


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Source]:
    """Open LiteLLM's database. Raises `ConfigError` for a URL that cannot be used, and for a database that is not
    LiteLLM's; `StoreUnavailable` where it does not answer."""
    if not url.startswith(("postgresql", "postgres")):
        raise ConfigError("LiteLLM's database is PostgreSQL: its URL begins with postgresql://")
    database = Database.connect(url)
    try:
        # The only transaction that is ever begun here; its first statement forbids it to write.
        async with database.writing() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            tables = frozenset((await connection.execute(text(_TABLES))).scalars())
            if "LiteLLM_VerificationToken" not in tables:
                raise ConfigError('there is no table "LiteLLM_VerificationToken": this is not a database of LiteLLM\'s')
            yield Source(connection, tables)
    finally:
        await database.close()
