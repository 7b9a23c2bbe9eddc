"""`verify-ledger`: counters and ledger, side by side."""

from __future__ import annotations

import asyncio
import json

import pytest
from cli.command_line import run_process
from running_redis import running_redis
from stores.samples import key, receipt

from extproc import verification
from extproc.holds import Limit
from extproc.model import Key
from extproc.policy import inventory
from extproc.policy.limits import House
from extproc.stores.counters_redis import RedisCounters
from extproc.stores.sql import SqlStore

DOLLAR = 1_000_000_000


@pytest.fixture(scope="module")
def redis():
    with running_redis() as server:
        yield server


@pytest.fixture
def place(tmp_path, redis):
    """A configuration whose ledger has a key that spent two dollars, and counters that know nothing yet."""
    redis.client.flushall()
    (tmp_path / "config.yaml").write_text(f'router_settings: {{redis_url: "{redis.url}"}}\n')
    (tmp_path / "data").mkdir()
    asyncio.run(spend(tmp_path, key(digest="d", alias="front [end]", max_budget=10 * DOLLAR, budget_duration="30d")))
    return tmp_path


async def spend(place, who: Key) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{place}/data/extproc.db")
    await store.create(who)
    now = verification_now()
    await store.record([receipt(key_digest="d", started_at=now, ended_at=now, spend=2 * DOLLAR)], now=now)
    await store.close()


def verification_now() -> int:
    from extproc.cli import verifying

    return verifying._now()


def count(redis, nanos: int) -> None:
    """The counter of the key's budget knows of so much."""

    async def seed() -> None:
        counters = RedisCounters(redis.url, deadline_ms=10_000)
        who = inventory.of_key(key(digest="d", max_budget=10 * DOLLAR, budget_duration="30d"), None)
        (limit,) = inventory.limits_of(House(), who, verification_now())
        assert isinstance(limit, Limit)
        await counters.begin_seed(limit, "token")
        assert await counters.finish_seed(limit, "token", [(verification_now(), nanos)])
        await counters.close()

    asyncio.run(seed())


def verify(run, place, *arguments: str):
    return run("verify-ledger", "--config", str(place / "config.yaml"), "--data-dir", str(place / "data"), *arguments)


def test_counters_that_nobody_has_asked_for_are_not_in_use(run, place):
    ended = verify(run, place)

    assert (ended.code, ended.out) == (0, "0 counters compared, 0 differ from the ledger, 1 not in use\n")


def test_counters_that_agree_end_it_with_zero_and_are_shown_on_request(run, place, redis):
    count(redis, 2 * DOLLAR)

    assert verify(run, place).out == "1 counters compared, 0 differ from the ledger, 0 not in use\n"
    ended = verify(run, place, "--all")

    assert ended.code == 0
    head, row, _ = ended.out.splitlines()
    assert head.split() == ["scope", "who", "settings", "window", "counter", "ledger", "held", "difference"]
    assert row.split()[:5] == ["api_key", "front", "[end]", "(sk-...abcd)", "max_budget"]
    assert row.split()[-4:] == ["$2.0", "$2.0", "$0.0", "$0.0"]


def test_one_that_differs_is_shown_and_ends_it_with_one(run, place, redis, monkeypatch):
    monkeypatch.setattr(verification, "PAUSE_SECONDS", 0.01)
    count(redis, 3 * DOLLAR)

    ended = verify(run, place, "--json")

    assert ended.code == 1
    report = json.loads(ended.out)
    (counter,) = report.pop("counters")
    assert report == {"compared": 1, "drifted": 1, "not_in_use": 0}
    assert (counter["counter"], counter["ledger"], counter["difference"]) == (3 * DOLLAR, 2 * DOLLAR, DOLLAR)
    assert (counter["scope"], counter["settings"], counter["measure"]) == ("api_key", ["max_budget"], "spend")
    assert "$1.0" in verify(run, place).out


def test_without_redis_there_is_nothing_to_look_at(tmp_path):
    ended = run_process("verify-ledger", cwd=tmp_path)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: there are no counters to look at: without router_settings.redis_url they live")


def test_a_redis_that_does_not_answer_is_the_operators_to_mend(run, place):
    (place / "config.yaml").write_text('router_settings: {redis_url: "unix:///nowhere/redis.sock"}\n')

    ended = verify(run, place)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: a store cannot be reached: counters: ")
