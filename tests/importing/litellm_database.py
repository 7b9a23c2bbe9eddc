"""A database as LiteLLM 1.109 makes it, and rows in it: written in its own columns, read by nobody but an import."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from running_postgres import bare_database

TABLES = Path(__file__).with_name("litellm_1_109.sql").read_text()
#: Its columns hold moments without an offset.
LONG_AGO = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001


class LitellmDatabase:
    """`rows` inserts into a table by its short name (`TeamTable`)."""

    def __init__(self, url: str, connection: asyncpg.Connection[Any]) -> None:
        self.url = url
        self.connection = connection

    async def rows(self, table: str, *rows: dict[str, Any]) -> None:
        for row in rows:
            columns = ", ".join(f'"{name}"' for name in row)
            places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
            values = [json.dumps(value) if isinstance(value, dict | _Json) else value for value in row.values()]
            await self.connection.execute(f'INSERT INTO "LiteLLM_{table}" ({columns}) VALUES ({places})', *values)


class _Json(list[Any]):
    """A list for a JSON column, where a plain one is an array."""


def as_json(*items: Any) -> _Json:
    return _Json(items)


@contextlib.asynccontextmanager
async def litellm_database() -> AsyncIterator[LitellmDatabase]:
    async with bare_database() as url:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(TABLES)
            yield LitellmDatabase(url, connection)
        finally:
            await connection.close()


def key_row(token: str, **more: Any) -> dict[str, Any]:
    return {"token": token, "key_name": "sk-...wxyz", "created_at": LONG_AGO, "updated_at": LONG_AGO, **more}


def team_row(team_id: str, **more: Any) -> dict[str, Any]:
    return {"team_id": team_id, "created_at": LONG_AGO, "updated_at": LONG_AGO, **more}


def user_row(user_id: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "created_at": LONG_AGO, "updated_at": LONG_AGO, **more}


def budget_row(budget_id: str, **more: Any) -> dict[str, Any]:
    made = {"created_by": "admin", "updated_by": "admin", "created_at": LONG_AGO, "updated_at": LONG_AGO}
    return {"budget_id": budget_id, **made, **more}


def spend_row(request_id: str, **more: Any) -> dict[str, Any]:
    return {
        "request_id": request_id, "call_type": "acompletion", "startTime": LONG_AGO, "endTime": LONG_AGO, **more,
    }  # fmt: skip
