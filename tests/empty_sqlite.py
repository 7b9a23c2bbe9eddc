"""A SQLite database with all tables and no rows: its tables are made once in each process, then copied."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from extproc.stores.sql import SqlStore


def empty_sqlite(folder: Path) -> str:
    """The URL of a new one in this folder."""
    shutil.copy(_made() / "extproc.db", folder / "extproc.db")
    return f"sqlite+aiosqlite:///{folder}/extproc.db"


async def opened_sqlite(folder: Path, **options: Any) -> SqlStore:
    """A store of its own in this folder; `options` are those of `SqlStore.open`."""
    return await SqlStore.open(empty_sqlite(folder), **options)


@cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="empty-sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    async def make() -> None:
        await (await SqlStore.open(f"sqlite+aiosqlite:///{folder}/extproc.db")).close()

    # In a thread, for whoever asks may be inside of a running loop.
    thread = Thread(target=lambda: asyncio.run(make()))
    thread.start()
    thread.join()
    return folder
