"""What is changed in PostgreSQL is heard of, whoever changes it, and also after a connection was lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from running_postgres import fresh_database, server
from stores.samples import key, receipt

from extproc.holds import Scope
from extproc.stores import sql_url
from extproc.stores.listening import CHANNEL, Listening
from extproc.stores.sql import SqlStore


def insert(table: str, **values: object) -> str:
    columns = {**values, "created_at": 1}
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(map(repr, columns.values()))})"


OWNER = {"models": "[]", "spend": 0, "updated_at": 1}
FIELDS = {**OWNER, "fields": "{}"}
#: A statement for each kind, and the name that it is told under.
MADE = {
    "team": (insert("teams", id="t", blocked=False, metadata="{}", **FIELDS), "t"),
    "user": (insert("users", id="u", metadata="{}", **FIELDS), "u"),
    "team_member": (insert("memberships", user_id="u", team_id="t", role="user", models="[]", spend=0), "u:t"),
    "end_user": (insert("end_users", id="e", blocked=False, **FIELDS), "e"),
    "tag": (insert("tags", name="g", **OWNER), "g"),
    "budget": (insert("budgets", id="b", updated_at=1), "b"),
    "api_key": ("INSERT INTO key_credentials (digest, key_digest) VALUES ('d', 'd')", "d"),
}


class Heard:
    """A listener at work, and what it told in the order in which it did; `None` is "everything"."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.told: asyncio.Queue[Scope | None] = asyncio.Queue()
        self.states: list[bool] = []
        self.listening = Listening(
            sql_url.read(url),
            forget=self.told.put_nowait,
            forget_all=lambda: self.told.put_nowait(None),
            report=lambda _, up: self.states.append(up),
        )

    async def next(self) -> Scope | None:
        async with asyncio.timeout(30):
            return await self.told.get()

    async def becomes(self, *, heard: bool) -> None:
        async with asyncio.timeout(30):
            while self.listening.heard() is not heard:
                await asyncio.sleep(0.005)

    async def run(self, statement: str) -> None:
        await server().execute(statement, self.url.rpartition("/")[2])


@contextlib.asynccontextmanager
async def hearing(url: str) -> AsyncIterator[Heard]:
    heard = Heard(url)
    task = asyncio.create_task(heard.listening.listen_until_cancelled())
    try:
        assert await heard.next() is None
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    async with fresh_database() as url, hearing(url) as found:
        yield found


@pytest.mark.parametrize("kind", MADE)
async def test_whatever_is_made_by_hand_is_heard_of(heard: Heard, kind: str):
    statement, name = MADE[kind]

    await heard.run(statement)

    assert await heard.next() == Scope(kind, name)


async def test_a_key_is_heard_of_when_it_is_made_changed_and_deleted_and_not_when_it_is_booked(heard: Heard):
    store, mine = await SqlStore.open(heard.url), key()
    try:
        await store.create(mine)
        await store.record([receipt(key_digest=mine.digest)], now=1)
        await store.update(mine.digest, {"blocked": True})
        await store.delete([mine.digest], deleted_by="me", now=1)
        await heard.run(MADE["tag"][0])
    finally:
        await store.close()

    told = [await heard.next()]
    while told[-1] != Scope("tag", "g"):
        told.append(await heard.next())
    # One for its making, two for the row before and after the change, which are one message, and one for its end.
    assert told == [Scope("api_key", mine.digest)] * 3 + [Scope("tag", "g")]


async def test_what_is_rolled_back_is_not_heard_of(heard: Heard):
    await heard.run(f"DO $$ BEGIN {MADE['team'][0]}; RAISE EXCEPTION 'no'; EXCEPTION WHEN OTHERS THEN NULL; END $$")
    await heard.run(MADE["tag"][0])

    assert await heard.next() == Scope("tag", "g")


async def test_a_name_that_fits_no_message_makes_everything_forgotten(heard: Heard):
    await heard.run("INSERT INTO budgets (id, created_at, updated_at) VALUES (repeat('ü', 4000), 1, 1)")

    assert await heard.next() is None


async def test_what_is_no_message_of_ours_makes_everything_forgotten(heard: Heard):
    await heard.run(f"NOTIFY {CHANNEL}, 'anything'")

    assert await heard.next() is None


async def test_a_lost_connection_is_no_proof_and_its_successor_forgets_everything_first(heard: Heard):
    await heard.becomes(heard=True)

    await heard.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT 1'")

    assert await heard.next() is None
    await heard.becomes(heard=True)
    assert heard.states == [True, False, True]


async def test_without_a_server_nothing_is_heard_and_the_edge_is_told_once(monkeypatch):
    asked: list[None] = []

    def counted(connect):
        def counting(**arguments):
            asked.append(None)
            return connect(**arguments)

        return counting

    location = sql_url.read("postgresql://nobody:x@127.0.0.1:1/nothing")
    states: list[bool] = []
    listening = Listening(
        location, forget=lambda _: None, forget_all=lambda: None, report=lambda _, up: states.append(up)
    )
    monkeypatch.setattr(asyncpg, "connect", counted(asyncpg.connect))
    task = asyncio.create_task(listening.listen_until_cancelled())
    async with asyncio.timeout(30):
        while len(asked) < 3:
            await asyncio.sleep(0.005)
    task.cancel()

    assert states == [False]
    assert not listening.heard()
