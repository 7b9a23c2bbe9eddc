"""LiteLLM's database, and one of ours to import into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from importing.litellm_database import LONG_AGO, LitellmDatabase, litellm_database
from running_postgres import fresh_database

from extproc.importing import receipts, source
from extproc.importing.run import Import, Imported
from extproc.stores.audit_chain import AuditKey
from extproc.stores.sql import SqlStore
from extproc.stores.sql_imports import SqlImports

NOW = 1_790_000_000_000
KEY = AuditKey("an audit key of the tests")
Run = Callable[..., Awaitable[Imported]]


@pytest.fixture
async def litellm() -> AsyncIterator[LitellmDatabase]:
    async with litellm_database() as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
async def ours(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    if request.param == "sqlite":
        store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/extproc.db", audit_key=KEY)
        yield store
        await store.close()
        return
    async with fresh_database() as url:
        store = await SqlStore.open(url, audit_key=KEY)
        yield store
        await store.close()


@pytest.fixture
def run(litellm: LitellmDatabase, ours: SqlStore) -> Run:
    async def run_import(*, overwrite: bool = False, dry_run: bool = False, **more: Any) -> Imported:
        target = SqlImports(ours.trail, prefix=receipts.PREFIX, overwrite=overwrite, dry_run=dry_run)
        settings = {"now": NOW, "since": LONG_AGO, "progress": lambda *_: None, **more}
        async with source.opened(litellm.url) as reading:
            return await Import(reading, target, ours, dry_run=dry_run, **settings).run()

    return run_import
