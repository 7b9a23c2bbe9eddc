"""`import-litellm`: what an operator sees, and what is in the database afterwards."""

from __future__ import annotations

import asyncio
import json

import pytest
from importing.litellm_database import key_row, litellm_database, team_row
from running_redis import running_redis

from extproc.policy import inventory
from extproc.policy.limits import House
from extproc.stores.contract import AuditFilter
from extproc.stores.counters_redis import RedisCounters
from extproc.stores.sql import SqlStore

DIGEST = "5" * 64
NOW = 1_790_000_000_000


@pytest.fixture
def place(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "config.yaml").write_text("{}\n")
    return tmp_path


def importing(run, place, *arguments, rows=True):
    """Run the command on a database that has one key in one team."""

    async def go():
        async with litellm_database() as database:
            if rows:
                await database.rows("TeamTable", team_row("t"))
                await database.rows(
                    "VerificationToken", key_row(DIGEST, key_alias="front [end]", agent_id="x", max_budget=1.0)
                )
            files = ("--config", str(place / "config.yaml"), "--data-dir", str(place / "data"))
            command = ("import-litellm", "--database-url", database.url, *files, *arguments)
            return await asyncio.to_thread(run, *command)

    return asyncio.run(go())


async def found(place):
    store = await SqlStore.open(f"sqlite+aiosqlite:///{place}/data/extproc.db")
    key = await store.find(DIGEST)
    await store.close()
    return key


async def actors(place):
    """Who made the entries of the audit trail."""
    store = await SqlStore.open(f"sqlite+aiosqlite:///{place}/data/extproc.db")
    found = {entry.changed_by async for batch in store.trail.batches(AuditFilter()) for entry in batch}
    await store.close()
    return found


def test_it_says_how_many_rows_were_made_and_what_is_different_here(run, place):
    ended = importing(run, place)

    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines() if line.startswith("keys")] == [["keys", "1", "0", "0"]]
    assert "  1: agents have no counterpart (front [end])" in ended.out
    assert asyncio.run(found(place)).alias == "front [end]"


def test_who_made_the_rows_stands_in_the_audit_trail_that_the_gateway_verifies(run, place):
    importing(run, place)
    verified = run("verify-audit", "--config", str(place / "config.yaml"), "--data-dir", str(place / "data"), "--json")

    assert (verified.code, json.loads(verified.out)["entries"]) == (0, 2)
    assert asyncio.run(actors(place)) == {"extproc import-litellm"}


def test_without_an_audit_trail_it_leaves_no_entries(run, place):
    (place / "config.yaml").write_text("general_settings: {store_audit_logs: false}\n")
    importing(run, place)

    assert asyncio.run(actors(place)) == set()


def test_a_dry_run_says_so_and_writes_no_row(run, place):
    ended = importing(run, place, "--dry-run")

    assert [line.split() for line in ended.out.splitlines() if line.startswith("keys")] == [["keys", "1", "0", "0"]]
    assert ended.out.rstrip().endswith("A dry run: no row was written.")
    assert asyncio.run(found(place)) is None


def test_for_machines_it_is_one_json_document(run, place):
    report = json.loads(importing(run, place, "--json", "--no-spend").out)

    assert report["dry_run"] is False
    assert report["rows"]["keys"] == {"made": 1, "changed": 0, "kept": 0}
    assert "spend rows" not in report["rows"]
    assert report["remarks"] == [{"text": "agents have no counterpart", "count": 1, "examples": ["front [end]"]}]


def test_counters_in_redis_are_read_from_the_ledger_anew(run, place):
    async def counter(url: str, *, seed: bool):
        """What the counter of the key's budget knows."""
        counters = RedisCounters(url, deadline_ms=10_000)
        who = inventory.of_key(await found(place), None)
        (limit,) = inventory.limits_of(House(), who, NOW)
        if seed:
            await counters.begin_seed(limit, "token")
            await counters.finish_seed(limit, "token", [(NOW, 3)])
        (level,) = await counters.levels([limit])
        await counters.close()
        return level

    with running_redis() as redis:
        (place / "config.yaml").write_text(f'router_settings: {{redis_url: "{redis.url}"}}\n')
        importing(run, place)
        before = asyncio.run(counter(redis.url, seed=True))
        importing(run, place)

        assert before.settled == 3
        assert asyncio.run(counter(redis.url, seed=False)) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name LiteLLM's database with --database-url or in LITELLM_DATABASE_URL"),
        (("--database-url", "os.environ/NOT_THERE"), "the environment variable NOT_THERE is not set"),
        (("--database-url", "mysql://x"), "LiteLLM's database is PostgreSQL: its URL begins with postgresql://"),
        (("--database-url", "postgresql://u:secret@127.0.0.1:1/x"), "a database does not answer: database: "),
        (("--database-url", "postgresql://h/x", "--spend-since", "soon"), "--spend-since is a day such as 2026-10-01"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_without_a_secret(run, place, arguments, said):
    ended = run("import-litellm", "--data-dir", str(place / "data"), *arguments)

    assert ended.code == 2
    assert ended.err.startswith(f"error: {said}")
    assert "secret" not in ended.err
