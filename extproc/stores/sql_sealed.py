"""Envelopes in SQL, for whoever changes the key that seals them: read in batches, replaced one by one.

An envelope is replaced only where it is still the one that was read: a credential that is changed meanwhile wins.
"""

from __future__ import annotations

from sqlalchemy import func, select, update

from extproc.stores.sql_database import Database
from extproc.stores.tables_models import models


class SqlSealed:
    """Credentials of stored models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count_sealed(self, but: str) -> int:
        """How many envelopes do not begin with this text."""
        chosen = models.c.credential.is_not(None), ~models.c.credential.startswith(but, autoescape=True)
        async with self._database.reading() as connection:
            return await connection.scalar(select(func.count()).select_from(models).where(*chosen)) or 0

    async def sealed(self, but: str, after: str, limit: int) -> tuple[tuple[str, str], ...]:
        """Ids and envelopes of those that do not begin with this text, in the order of ids, beyond one."""
        chosen = (
            models.c.id > after,
            models.c.credential.is_not(None),
            ~models.c.credential.startswith(but, autoescape=True),
        )
        statement = select(models.c.id, models.c.credential).where(*chosen).order_by(models.c.id).limit(limit)
        async with self._database.reading() as connection:
            return tuple((row[0], row[1]) for row in (await connection.execute(statement)).all())

    async def reseal(self, model_id: str, old: str, new: str) -> bool:
        """Whether the old envelope was still there, and is the new one now."""
        same = models.c.id == model_id, models.c.credential == old
        async with self._database.writing() as connection:
            done = await connection.execute(update(models).where(*same).values(credential=new))
        return bool(done.rowcount)
