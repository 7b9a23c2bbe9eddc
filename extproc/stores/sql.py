"""Keys, their owners and the ledger in one SQL database: SQLite where the program stands alone, or PostgreSQL.

SQLAlchemy Core throughout, without its ORM. The tables are in `tables.py`, their history in `migrations/`, transactions
and outages in `sql_database.py`, the queries in `sql_keys.py`, `sql_entities.py`, `sql_ledger.py` and `sql_settled.py`.
"""

from __future__ import annotations

from sqlalchemy import select

from extproc.stores.audit_chain import AuditKey
from extproc.stores.sql_audit import SqlTrail
from extproc.stores.sql_contents import SqlContents
from extproc.stores.sql_database import Database
from extproc.stores.sql_entities import SqlEntities
from extproc.stores.sql_keys import SqlKeys
from extproc.stores.sql_ledger import SqlLedger
from extproc.stores.tables import keys


class SqlStore(SqlKeys, SqlEntities, SqlLedger):
    """A `KeyAdmin`, `Identities`, `Entities`, a `Ledger` and a `Health`."""

    def __init__(self, database: Database, audit_key: AuditKey | None = None) -> None:
        self.trail = SqlTrail(database, audit_key)
        self.contents = SqlContents(database)
        SqlKeys.__init__(self, self.trail)
        SqlEntities.__init__(self, self.trail)

    @classmethod
    async def open(cls, url: str, *, pool_size: int | None = None, audit_key: AuditKey | None = None) -> SqlStore:
        """Open a database (see `sql_url`; SQLite's file is made where it is missing) and bring its tables up to date.

        `pool_size` is the most connections to PostgreSQL. Without an `audit_key` changes are not written down. Raises
        `StoreUnavailable` where it cannot be opened, `ConfigError` where its URL is wrong or its tables are
        newer than this program.
        """
        return cls(await Database.open(url, pool_size=pool_size), audit_key)

    @property
    def database(self) -> Database:
        """What the queries run on, for queries that are made elsewhere."""
        return self._database

    async def ping(self) -> None:
        """Read from a table: a statement without one would be answered without the database's file."""
        async with self._database.reading() as connection:
            await connection.execute(select(keys.c.digest).limit(1))

    async def close(self) -> None:
        """Close every connection. What is asked afterwards raises `StoreUnavailable`."""
        await self._database.close()
