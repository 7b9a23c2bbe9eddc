"""Envelopes in SQL, for whoever changes the key that seals them: read in batches, replaced one by one.

An envelope is replaced only where it is still the one that was read: what is changed meanwhile wins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, ColumnElement, func, select, update

from extproc.stores.sql_database import Database
from extproc.stores.tables_contents import contents
from extproc.stores.tables_models import models


class SqlSealed:
    """The envelopes of one column, each under the name in another. `place` is what that of a name is bound to."""

    def __init__(self, database: Database, name: Column[Any], sealed: Column[Any], place: Callable[[str], str]) -> None:
        self._database = database
        self._name, self._sealed = name, sealed
        self.place = place

    @classmethod
    def of_models(cls, database: Database, place: Callable[[str], str]) -> SqlSealed:
        """Credentials of stored models, by the models' ids."""
        return cls(database, models.c.id, models.c.credential, place)

    @classmethod
    def of_contents(cls, database: Database, place: Callable[[str], str]) -> SqlSealed:
        """What was said in exchanges, by their event ids."""
        return cls(database, contents.c.event_id, contents.c.sealed, place)

    async def count_sealed(self, but: str) -> int:
        """How many envelopes do not begin with this text."""
        counted = select(func.count()).select_from(self._name.table).where(*self._others(but))
        async with self._database.reading() as connection:
            return await connection.scalar(counted) or 0

    async def sealed(self, but: str, after: str, limit: int) -> tuple[tuple[str, str], ...]:
        """Names and envelopes of those that do not begin with this text, in the order of names, beyond one."""
        chosen = (self._name > after, *self._others(but))
        statement = select(self._name, self._sealed).where(*chosen).order_by(self._name).limit(limit)
        async with self._database.reading() as connection:
            return tuple((row[0], row[1]) for row in (await connection.execute(statement)).all())

    async def reseal(self, name: str, old: str, new: str) -> bool:
        """Whether the old envelope was still there, and is the new one now."""
        statement = update(self._name.table).where(self._name == name, self._sealed == old)
        async with self._database.writing() as connection:
            done = await connection.execute(statement.values({self._sealed: new}))
        return bool(done.rowcount)

    def _others(self, but: str) -> tuple[ColumnElement[bool], ...]:
        return self._sealed.is_not(None), ~self._sealed.startswith(but, autoescape=True)
