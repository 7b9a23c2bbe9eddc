"""LiteLLM's tables as views: its security page's own questions, word for word, on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from running_postgres import bare_database, fresh_database
from sqlalchemy import text
from stores.samples import NOW, key, receipt

from extproc.model import Budget, EndUser, Membership, Tag, Team, User
from extproc.stores.audit_chain import AuditKey
from extproc.stores.sql import SqlStore
from extproc.stores.sql_database import Database

#: The page's blocks, as the tests of the gateway ask them too.
SEED = Path(__file__).parents[1] / "gateway" / "seed"
TRAIL, UNUSUAL_SPEND, FAILED, TRACE = (
    (SEED / f"{block}.sql").read_text()
    for block in ("audit_trail", "unusual_spend", "failed_authentication", "trace_key")
)
VIEWS = {
    "LiteLLM_VerificationToken": "token", "LiteLLM_TeamTable": "team_id", "LiteLLM_UserTable": "user_id",
    "LiteLLM_TeamMembership": "user_id", "LiteLLM_EndUserTable": "user_id", "LiteLLM_BudgetTable": "budget_id",
    "LiteLLM_TagTable": "tag_name",
}  # fmt: skip


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    async with fresh_database() as url:
        opened = await SqlStore.open(url, audit_key=AuditKey("an audit key of the tests"))
        yield opened
        await opened.close()


async def ask(store: SqlStore, question: str) -> list[dict[str, Any]]:
    async with store.database.reading() as connection:
        return [{**row} for row in (await connection.execute(text(question))).mappings()]


async def book(store: SqlStore, count: int, **fields: object) -> None:
    now = time.time_ns() // 1_000_000
    booked = [receipt(**{"started_at": now - number, "ended_at": now, **fields}) for number in range(count)]
    await store.record(booked, now=now)


async def test_the_audit_trail(store):
    await store.teams.create(Team(id="t", max_budget=1_000_000_000, created_at=NOW, updated_at=NOW))
    await store.teams.update("t", {"max_budget": 2_500_000_000})
    changed, made = await ask(store, TRAIL)

    assert (made["action"], made["table_name"], made["object_id"]) == ("created", "LiteLLM_TeamTable", "t")
    assert (changed["before_value"], changed["updated_values"]) == ({"max_budget": 1}, {"max_budget": 2.5})
    assert abs(changed["updated_at"].timestamp() - time.time()) < 60


async def test_unusual_spend(store):
    await book(store, 3, key_digest="dear", spend=40_000_000_000)
    await book(store, 2, key_digest="cheap", spend=40_000_000_000)
    await book(store, 3, key_digest="yesterday", spend=40_000_000_000, started_at=NOW)

    assert await ask(store, UNUSUAL_SPEND) == [{"api_key": "dear", "requests": 3, "total_spend": Decimal(120)}]


async def test_failures_are_found_by_both_words_and_once(store):
    await book(store, 11, key_digest="failing", status="failure", http_status=500, spend=None)
    await book(store, 11, key_digest="well")

    assert await ask(store, FAILED) == [{"api_key": "failing", "failures": 11}]
    assert await ask(store, FAILED.replace("'error'", "'failure'")) == [{"api_key": "failing", "failures": 11}]
    assert await ask(store, FAILED.replace("'error'", "'success'")) == [{"api_key": "well", "failures": 11}]
    assert await ask(store, FAILED.replace("= 'error'", "<> 'error'")) == [{"api_key": "well", "failures": 11}]
    [shown] = await ask(store, """SELECT DISTINCT status::text FROM "LiteLLM_SpendLogs" WHERE api_key = 'failing'""")
    assert shown == {"status": "failure"}


async def test_a_trace_of_one_key(store):
    await book(store, 1, key_digest="hashed-key", user_id="alice", spend=1, provider_response_id="resp-1")
    [row] = await ask(store, TRACE)

    assert {name: row[name] for name in ("request_id", "model", "user", "spend", "messages")} == {
        "request_id": "resp-1", "model": "gpt-4o-2024-08-06", "user": "alice", "spend": Decimal("0.000000001"),
        "messages": None,
    }  # fmt: skip


async def test_everybody_is_shown_under_litellms_names(store):
    made: dict[str, Any] = {"created_at": NOW, "updated_at": NOW}
    await store.teams.create(Team(id="t", models=("gpt-4o",), **made))
    await store.users.create(User(id="u", **made))
    await store.members.add([Membership(user_id="u", team_id="t", created_at=NOW)])
    await store.end_users.create(EndUser(id="e", **made))
    await store.budgets.create(Budget(id="b", max_budget=5, **made))
    await store.tags.create(Tag(name="x", **made))
    await store.create(key(digest="k", team_id="t", max_budget=1_500_000_000))
    shown = {view: (await ask(store, f'SELECT * FROM "{view}"'))[0] for view in VIEWS}

    assert {view: shown[view][column] for view, column in VIEWS.items()} == dict(
        zip(VIEWS, ("k", "t", "u", "u", "e", "b", "x"), strict=True)
    )
    assert shown["LiteLLM_TeamTable"]["models"] == ["gpt-4o"]
    assert shown["LiteLLM_UserTable"]["teams"] == ["t"]
    assert shown["LiteLLM_VerificationToken"]["max_budget"] == Decimal("1.5")


async def test_what_was_deleted_is_shown_too(store):
    await store.teams.create(Team(id="t", created_at=NOW, updated_at=NOW))
    await store.create(key(digest="k", team_id="t"))
    await store.teams.delete(["t"], deleted_by="alice", now=NOW)

    [team] = await ask(store, 'SELECT team_id, deleted_by FROM "LiteLLM_DeletedTeamTable"')
    [token] = await ask(store, 'SELECT token, deleted_by FROM "LiteLLM_DeletedVerificationToken"')
    assert (team["team_id"], token["token"]) == ("t", "k")
    assert {team["deleted_by"], token["deleted_by"]} == {"alice"}


async def test_litellms_own_tables_stay_as_they_are():
    async with bare_database() as url:
        theirs = Database.connect(url)
        async with theirs.writing() as connection:
            await connection.execute(text('CREATE TABLE "LiteLLM_TeamTable" (team_id text)'))
            await connection.execute(text("""INSERT INTO "LiteLLM_TeamTable" VALUES ('theirs')"""))
        await theirs.close()
        store = await SqlStore.open(url)

        assert await ask(store, 'SELECT * FROM "LiteLLM_TeamTable"') == [{"team_id": "theirs"}]
        assert await ask(store, 'SELECT * FROM "LiteLLM_UserTable"') == []
        await store.close()
