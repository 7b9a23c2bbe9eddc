"""What is SQLite's own: its file, its processes, its power cuts, and its outages."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extproc.errors import ConfigError, StoreUnavailable
from extproc.model import Key, Receipt, Usage
from extproc.stores import sql_database
from extproc.stores.contract import KeyFilter, SpendFilter
from extproc.stores.sql import SqlStore
from extproc.stores.sql_database import Database

NOW = 1_763_900_000_000


def url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/extproc.db"


def receipt(event_id: str, digest: str = "d", spend: int = 1) -> Receipt:
    return Receipt(
        event_id=event_id, call_id="c", key_digest=digest, started_at=NOW, ended_at=NOW, operation="acompletion",
        path="/", model_group="m", model="m", model_id="i", provider="openai", api_base="", http_status=200,
        status="success", stream=False, usage=Usage(), spend=spend,
    )  # fmt: skip


@pytest.fixture
async def store(tmp_path):
    opened = await SqlStore.open(url(tmp_path))
    await opened.create(Key(digest="d", name="sk-...abcd"))
    yield opened
    await opened.close()


async def spend_of(store: SqlStore) -> int:
    key = await store.find("d")
    assert key is not None
    return key.spend


def rows(folder: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(folder / "extproc.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


async def test_what_was_booked_is_there_after_a_restart(store, tmp_path):
    await store.record([receipt("e")], now=NOW)
    await store.close()

    again = await SqlStore.open(url(tmp_path))
    assert [row.receipt.event_id for row in await again.rows(SpendFilter(), limit=5)] == ["e"]
    assert await spend_of(again) == 1
    await again.close()


async def test_every_connection_waits_for_others_and_every_commit_reaches_the_disk(tmp_path):
    database = await Database.open(url(tmp_path))
    found = {}
    async with database.reading() as connection:
        for pragma in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys", "trusted_schema"):
            found[pragma] = (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar()
    await database.close()

    full = 2
    assert found == {
        "journal_mode": "wal", "synchronous": full, "busy_timeout": 5_000, "foreign_keys": 1, "trusted_schema": 0
    }  # fmt: skip


async def test_the_file_and_its_companions_are_for_their_owner_only(store, tmp_path):
    await store.record([receipt("e")], now=NOW)

    files = sorted(tmp_path.glob("extproc.db*"))
    assert [file.name for file in files] == ["extproc.db", "extproc.db-shm", "extproc.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "100% ü #1"
    folder.mkdir()

    opened = await SqlStore.open(url(folder))
    await opened.ping()
    await opened.close()


async def test_a_deleted_key_is_kept_aside_with_when_and_by_whom(store, tmp_path):
    await store.delete(["d"], deleted_by="admin", now=NOW)

    assert rows(tmp_path, "SELECT digest, deleted_at, deleted_by FROM deleted_keys") == [("d", NOW, "admin")]


async def test_tables_of_a_newer_program_are_left_alone(store, tmp_path):
    await store.close()
    connection = sqlite3.connect(tmp_path / "extproc.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()

    with pytest.raises(ConfigError, match="newer version"):
        await SqlStore.open(url(tmp_path))


@pytest.mark.parametrize("spoiled", ["not a database", "missing folder"])
async def test_a_file_that_cannot_be_used_is_an_outage(tmp_path, spoiled):
    folder = tmp_path / "missing" if spoiled == "missing folder" else tmp_path
    if folder.exists():
        (folder / "extproc.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(StoreUnavailable, match="SQLITE_"):
        await SqlStore.open(url(folder))


async def test_a_closed_store_is_an_outage_for_every_question(store):
    await store.close()

    for question in (
        store.find("d"), store.find_by_alias("a"), store.create(Key(digest="e", name="")), store.update("d", {}),
        store.delete(["d"], deleted_by="", now=NOW), store.record([receipt("e")], now=NOW), store.ping(),
        store.list(KeyFilter(), page=1, size=1, sort_by="spend", descending=True),
        store.rows(SpendFilter(), limit=1), store.by_key(limit=1), store.by_day(SpendFilter()),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable):
            await question


async def test_a_table_that_is_gone_fails_the_ping_and_the_error_tells_no_text_of_the_driver(store, tmp_path):
    connection = sqlite3.connect(tmp_path / "extproc.db")
    connection.execute("DROP TABLE keys")
    connection.commit()
    connection.close()

    with pytest.raises(StoreUnavailable) as outage:
        await store.ping()
    assert str(outage.value) == "database: SQLITE_ERROR"
    assert outage.value.__cause__ is None


async def test_a_writer_that_never_ends_is_an_outage_for_writers_and_none_for_readers(tmp_path, monkeypatch):
    monkeypatch.setattr(sql_database, "_PRAGMAS", ("PRAGMA busy_timeout = 50",))
    store = await SqlStore.open(url(tmp_path))
    await store.create(Key(digest="d", name=""))
    other = sqlite3.connect(tmp_path / "extproc.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        await store.record([receipt("e")], now=NOW)
    assert await spend_of(store) == 0

    other.execute("ROLLBACK")
    other.close()
    assert len(await store.record([receipt("e")], now=NOW)) == 1
    await store.close()


async def test_questions_that_are_given_up_leave_nothing_behind(store):
    for attempt in range(30):
        calls = [
            asyncio.create_task(call)
            for call in (
                store.find("d"),
                store.record([receipt(f"e{attempt}")], now=NOW),
                store.update("d", {"spend": 0}),
            )
        ]
        for _ in range(attempt % 10):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    assert len(await store.record([receipt(f"e{attempt}") for attempt in range(30)], now=NOW)) >= 0
    assert len(await store.rows(SpendFilter(), limit=100)) == 30


OPEN_AND_BOOK = """
import asyncio, sys
sys.path.insert(0, {root!r})
from tests_receipt import receipt
from extproc.model import Key
from extproc.errors import AlreadyExists
from extproc.stores.sql import SqlStore

async def main() -> None:
    sys.stdin.readline()
    store = await SqlStore.open({url!r})
    try:
        await store.create(Key(digest="d", name="", alias="one"))
    except AlreadyExists:
        pass
    for number in range(20):
        await store.record([receipt(f"e{{number}}"), receipt(f"{{sys.argv[1]}}-{{number}}")], now=1)
    print("booked", flush=True)
    if sys.argv[1] == "stays":
        sys.stdin.readline()
    await store.close()

asyncio.run(main())
"""


def process(folder: Path, name: str) -> subprocess.Popen[str]:
    """A real process that opens the store when it is told to, and books."""
    (folder / "tests_receipt.py").write_text(
        "from extproc.model import Receipt, Usage\n"
        "def receipt(event_id):\n"
        "    return Receipt(event_id=event_id, call_id='c', key_digest='d', started_at=1, ended_at=1, operation='',\n"
        "        path='', model_group='m', model='m', model_id='', provider='', api_base='', http_status=200,\n"
        "        status='success', stream=False, usage=Usage(), spend=1)\n"
    )
    code = OPEN_AND_BOOK.format(root=str(folder), url=url(folder))
    return subprocess.Popen(
        [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.parametrize("attempt", range(3))
async def test_stores_that_open_one_new_file_at_once_all_open(tmp_path, attempt):
    stores = await asyncio.gather(*(SqlStore.open(url(tmp_path)) for _ in range(6)))
    for number, opened in enumerate(stores):
        await opened.create(Key(digest=f"d{number}", name=""))
        await opened.close()

    assert rows(tmp_path, "SELECT COUNT(*) FROM keys") == [(6,)]


def go(waiting: subprocess.Popen[str]) -> None:
    assert waiting.stdin is not None
    waiting.stdin.write("go\n")
    waiting.stdin.flush()


async def test_processes_that_open_one_new_file_at_once_make_it_once_and_lose_nothing(tmp_path):
    processes = [process(tmp_path, f"p{number}") for number in range(2)]
    for running in processes:
        go(running)
    results = await asyncio.gather(*(asyncio.to_thread(running.communicate) for running in processes))

    assert [running.returncode for running in processes] == [0] * 2, [error for _, error in results]
    assert rows(tmp_path, "SELECT COUNT(*), SUM(spend) FROM ledger") == [(60, 60)]
    assert rows(tmp_path, "SELECT spend, booked FROM keys") == [(60, 60)]
    assert rows(tmp_path, "SELECT version_num FROM alembic_version") == [("0011",)]


async def test_what_was_booked_survives_a_kill(tmp_path):
    running = process(tmp_path, "stays")
    go(running)
    assert running.stdout is not None
    assert await asyncio.to_thread(running.stdout.readline) == "booked\n"
    os.kill(running.pid, signal.SIGKILL)
    await asyncio.to_thread(running.communicate)

    store = await SqlStore.open(url(tmp_path))
    assert await spend_of(store) == 40
    assert len(await store.rows(SpendFilter(), limit=100)) == 40
    await store.close()
