"""Redis or PostgreSQL is gone, frozen, or has lost its memory: what the operator chose happens, and it heals."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from gateway.receiving import Receiving
from gateway.running_fleet import TOKEN, WITHIN_SECONDS, WORKERS, Fleet, played, running_fleet, statuses, usage
from gateway.running_gateway import CHAT, HELLO
from gateway.scripted_upstream import WORDS, Gate, ScriptedUpstream, says
from gateway.server_processes import Nursery
from running_postgres import server

from extproc.holds import Level, Measure, Span

CALL = 50
#: Limits of every kind that are far away.
AMPLE = {"rpm_limit": 100_000, "tpm_limit": 100_000_000, "max_parallel_requests": 1_000, "max_budget": 1_000}


@pytest.fixture(scope="module")
async def fleet(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Fleet]:
    """One that refuses what it cannot count, which is the default."""
    changes = {"counter_deadline_ms": 500, "counter_lease_ms": 3_000, "store_deadline_ms": 1_000}
    async with running_fleet(nursery, upstream, **changes) as found:
        yield found


@pytest.fixture(scope="module")
async def lenient(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Fleet]:
    """One whose workers count alone while Redis is gone."""
    changes = {"counter_deadline_ms": 500, "counter_lease_ms": 3_000, "on_outage": "allow"}
    async with running_fleet(nursery, upstream, **changes) as found:
        yield found


@pytest.fixture(scope="module")
def quick(upstream: ScriptedUpstream) -> str:
    """A model that answers at once, with 50 tokens."""
    return played(upstream, "quick", says(WORDS, usage=usage(CALL)))


@contextlib.contextmanager
def frozen(fleet: Fleet):
    fleet.redis.pause()
    try:
        yield
    finally:
        fleet.redis.resume()


def edges(fleet: Fleet, event: str, store: str = "counters") -> dict[int, int]:
    """How often each worker has told this of a store."""
    told = collections.Counter(line["worker"] for line in fleet.lines(event) if line["store"] == store)
    return {worker: told[worker] for worker in range(WORKERS)}


def one_more(before: dict[int, int]) -> dict[int, int]:
    return {worker: times + 1 for worker, times in before.items()}


async def asked_until(fleet: Fleet, key: str, model: str, expected: int) -> None:
    """Ask until every worker has this answer."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while statuses(await fleet.at_once(key, 12, model=model)) != {expected: 12}:
            await asyncio.sleep(0.05)


async def edges_become(fleet: Fleet, event: str, before: dict[int, int], store: str = "counters") -> None:
    """Every worker has told it once more."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while edges(fleet, event, store) != one_more(before):
            await asyncio.sleep(0.05)


async def test_while_redis_is_frozen_limited_requests_are_refused_and_others_pass(fleet, quick):
    limited, unlimited = await fleet.new_key(**AMPLE), await fleet.new_key()
    ups, downs = edges(fleet, "store_up"), edges(fleet, "store_down")
    assert statuses(await fleet.at_once(limited, 12, model=quick)) == {200: 12}

    with frozen(fleet):
        await asked_until(fleet, limited, quick, 503)
        refused = await fleet.at_once(limited, 30, model=quick)
        assert statuses(await fleet.at_once(unlimited, 12, model=quick)) == {200: 12}

    assert statuses(refused) == {503: 30}
    for answer in refused:
        assert answer.json()["error"]["type"] == "service_unavailable"
        assert (answer.headers["x-extproc-outage"], answer.headers["retry-after"]) == ("counters", "1")
    await asked_until(fleet, limited, quick, 200)
    await edges_become(fleet, "store_up", ups)
    assert edges(fleet, "store_down") == one_more(downs)


async def test_whoever_was_refused_holds_and_pays_nothing_though_redis_has_heard_of_it_late(fleet, quick):
    key = await fleet.new_key(**AMPLE)
    await fleet.at_once(key, 12, model=quick)
    with frozen(fleet):
        await asked_until(fleet, key, quick, 503)
    await asked_until(fleet, key, quick, 200)

    await fleet.level_becomes(Level(0, 0), key, Measure.PARALLEL, Span.GAUGE)

    rows = await fleet.rows(key)
    assert {row["spend_nanos"] for row in rows} == {CALL * TOKEN}
    await fleet.reconciles(key, quick)
    assert fleet.lines("orphan_booked") == []


@pytest.mark.parametrize("way", ["started again", "flushed"])
async def test_a_redis_that_forgot_everything_learns_it_again(fleet, upstream, quick, way):
    """What was spent comes from the ledger, what is in flight from whoever serves it."""
    key = await fleet.new_key(max_budget=0.5, max_parallel_requests=2)
    for _ in range(4):
        assert statuses(await fleet.at_once(key, 2, model=quick, max_tokens=CALL)) == {200: 2}
    await fleet.settled()
    gate = Gate()
    async with fleet.client(key) as client:
        stream = Receiving(client, played(upstream, f"held-{way}", gate))
        await asyncio.wait_for(gate.begun.wait(), WITHIN_SECONDS)
        if way == "flushed":
            fleet.redis.client.flushall()
        else:
            await asyncio.to_thread(fleet.redis.restart)

        await fleet.level_becomes(Level(0, 1), key, Measure.PARALLEL, Span.GAUGE)
        (full,) = await fleet.at_once(key, 1, model=quick, max_tokens=CALL)
        gate.open.set()
        await stream.task

    assert (full.status_code, full.json()["error"]["type"]) == (429, "throttling_error")
    assert stream.complete
    await fleet.level_becomes(Level(0, 0), key, Measure.PARALLEL, Span.GAUGE)
    await fleet.settled()
    assert statuses(await fleet.at_once(key, 1, model=quick, max_tokens=CALL)) == {200: 1}
    await fleet.reconciles(key, quick)


async def test_a_stream_outlives_the_death_of_redis_and_is_booked_whole(fleet, upstream, quick):
    key = await fleet.new_key(**AMPLE)
    gate = Gate(["word "] * 700)
    async with fleet.client(key) as client:
        stream = Receiving(client, played(upstream, "outliving", gate))
        await asyncio.wait_for(gate.begun.wait(), WITHIN_SECONDS)
        await asyncio.to_thread(fleet.redis.kill)
        gate.open.set()
        await stream.task
        await asyncio.to_thread(fleet.redis.restart)

    assert stream.complete
    (row,) = await fleet.rows(key)
    assert (row["metadata"]["cut"], row["total_tokens"]) == (False, 26)
    await asked_until(fleet, key, quick, 200)
    await fleet.reconciles(key, quick)
    await fleet.level_becomes(Level(0, 0), key, Measure.PARALLEL, Span.GAUGE)


@contextlib.asynccontextmanager
async def postgres_gone(fleet: Fleet) -> AsyncIterator[None]:
    """Its connections break, and no new one is taken."""
    name = urlsplit(fleet.database).path.strip("/")
    await server().execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await server().execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        yield
    finally:
        await server().execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_without_postgres_known_keys_go_on_and_nothing_is_lost(fleet, quick):
    known, other = await fleet.new_key(**AMPLE), await fleet.new_key(**AMPLE)
    async with asyncio.timeout(WITHIN_SECONDS):
        while {line["worker"] for line in fleet.lines("exchange") if line["status"] == 200} != {*range(WORKERS)}:
            await fleet.at_once(known, 12, model=quick)
    await asked_by_all(fleet, known, quick)
    before, downs = len(await fleet.rows(known)), edges(fleet, "store_down", "keys")

    async with postgres_gone(fleet):
        assert statuses(await fleet.at_once(known, 30, model=quick)) == {200: 30}
        refused = await fleet.at_once(other, 60, model=quick)

    assert statuses(refused) == {503: 60}
    await edges_become(fleet, "store_down", downs, "keys")
    assert {answer.headers["x-extproc-outage"] for answer in refused} == {"keys"}
    assert len(await fleet.rows(known)) == before + 30
    await fleet.reconciles(known, quick)


async def asked_by_all(fleet: Fleet, key: str, model: str) -> None:
    """Every worker has served this key, so that its cache has it."""
    alias = (await fleet.admin.get("/key/info", params={"key": key})).json()["info"]["key_name"]
    async with asyncio.timeout(WITHIN_SECONDS):
        while {line["worker"] for line in fleet.lines("exchange") if line.get("key") == alias} != {*range(WORKERS)}:
            await fleet.at_once(key, 12, model=model)


async def test_where_it_is_allowed_each_worker_counts_alone_and_says_so(lenient, quick):
    key = await lenient.new_key(rpm_limit=10, max_budget=1_000)
    with frozen(lenient):
        answers = await lenient.at_once(key, 60, model=quick)

    passed = [answer for answer in answers if answer.status_code == 200]
    assert set(statuses(answers)) == {200, 429}
    assert 10 <= len(passed) <= 10 * WORKERS
    assert {answer.headers["x-extproc-outage"] for answer in passed} == {"counters"}
    await lenient.settled()
    assert sum([await outage_exchanges(lenient, worker) for worker in range(WORKERS)]) >= len(passed)
    await asked_until(lenient, key, quick, 429)
    await lenient.reconciles(key, quick)


async def outage_exchanges(fleet: Fleet, worker: int) -> float:
    return (await fleet.gauges(worker)).get("extproc_outage_exchanges_total", 0)


async def test_what_was_counted_alone_is_known_to_all_when_redis_is_back(lenient, upstream, quick):
    key = await lenient.new_key(max_parallel_requests=5)
    gate = Gate()
    async with lenient.client(key) as client:
        await asyncio.to_thread(lenient.redis.kill)
        body = {"model": played(upstream, "alone", gate), "messages": HELLO, "stream": True}
        asked = [asyncio.create_task(client.post(CHAT, json=body)) for _ in range(3)]
        async with asyncio.timeout(WITHIN_SECONDS):
            while len(upstream.asked_for("alone")) < 3:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(lenient.redis.restart)

        await lenient.level_becomes(Level(0, 3), key, Measure.PARALLEL, Span.GAUGE)
        gate.open.set()
        answers: list[httpx.Response] = await asyncio.gather(*asked)

    assert statuses(answers) == {200: 3}
    await lenient.level_becomes(Level(0, 0), key, Measure.PARALLEL, Span.GAUGE)
