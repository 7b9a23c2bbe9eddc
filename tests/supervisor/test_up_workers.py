"""`extproc up --workers 3` on a real PostgreSQL and a real Redis: all of it starts, heals and ends as one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import httpx
import pytest
from running_envoy import whole_lines
from running_postgres import fresh_database
from running_redis import running_redis
from supervisor.running_up import HELLO, bearer, gone, running_up, starting_up

WORKERS = 3
CONFIG = """
general_settings: {{database_url: "{database}"}}
router_settings: {{redis_url: "{redis}"}}
"""


@pytest.fixture(scope="module")
async def config(tmp_path_factory):
    """A configuration whose stores can be shared."""
    async with fresh_database() as database:
        with running_redis() as redis:
            file = tmp_path_factory.mktemp("workers") / "config.yaml"
            file.write_text(CONFIG.format(database=database, redis=redis.url))
            yield file


@pytest.fixture(scope="module")
async def up(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("up-workers")
    async with running_up(folder, "--workers", str(WORKERS), "--config", str(config)) as found:
        yield found


@pytest.fixture(scope="module")
async def key(up):
    return await up.new_key()


def workers_of(up):
    """The process id of each worker, by its number."""
    found = {}
    for pid in Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split():
        arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "--worker" in arguments:
            found[int(arguments[arguments.index("--worker") + 1])] = int(pid)
    return found


async def exchanges(up, key, count):
    """So many at the same time; their statuses."""
    async with httpx.AsyncClient(base_url=up.http, headers=bearer(key), timeout=30) as client:
        answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=HELLO) for _ in range(count)))
    return [answer.status_code for answer in answers]


def logged(up):
    return [json.loads(line) for line in whole_lines(up.err) if line.startswith("{")]


async def test_every_worker_serves_and_every_line_says_which(up, key):
    async with asyncio.timeout(30):
        while {line["worker"] for line in logged(up) if line.get("event") == "exchange" and line["status"] == 200} != {
            *range(WORKERS)
        }:
            assert set(await exchanges(up, key, 12)) == {200}

    assert {line["worker"] for line in logged(up) if line.get("event") == "serving"} == {*range(WORKERS)}


async def test_metrics_are_those_of_all_workers_whoever_answers(up, key):
    async with httpx.AsyncClient(base_url=up.http, headers=up.master, timeout=30) as client:
        # Each worker is asked; one that is busy for more than a second may be left out, but not for long.
        async with asyncio.timeout(60):
            texts: list[str] = []
            while len(texts) < 6:
                text = (await client.get("/metrics")).text
                found = re.findall(r'^extproc_store_up\{worker="(\d)",store="counters"} 1.0$', text, re.MULTILINE)
                texts += [text] if {*found} == {*"012"} else []

    for text in texts:
        assert text.count("# TYPE extproc_requests_total counter") == 1


async def test_the_metrics_of_one_worker_are_nobody_elses_business(up):
    async with httpx.AsyncClient(base_url=up.http, headers=up.master, timeout=30) as client:
        assert (await client.get("/metrics/worker")).status_code == 404


async def test_a_worker_that_dies_is_started_again_and_the_others_go_on(up, key):
    before = workers_of(up)
    handle = os.pidfd_open(before[1])
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    await gone(handle)

    assert set(await exchanges(up, key, 20)) == {200}
    await up.says("worker 1 was ended by SIGKILL; starting it again in 0.2 s")
    async with asyncio.timeout(30):
        while len([line for line in logged(up) if line.get("event") == "serving" and line["worker"] == 1]) < 2:
            await asyncio.sleep(0.05)
    after = workers_of(up)
    assert {number: pid for number, pid in after.items() if number != 1} == {0: before[0], 2: before[2]}
    assert set(await exchanges(up, key, 20)) == {200}


async def test_each_worker_has_an_outbox_and_a_lock_of_its_own(up):
    assert {path.name for path in (up.data_dir / "outbox").iterdir()} == {*"012"}
    assert {path.name for path in up.data_dir.glob("processor-*.lock")} == {
        f"processor-{worker}.lock" for worker in range(WORKERS)
    }


async def test_ctrl_c_ends_all_workers_at_the_same_time(up):
    """The last one to use it. The first worker is frozen; the others do not wait for it."""
    first, *others = [os.pidfd_open(pid) for _, pid in sorted(workers_of(up).items())]
    signal.pidfd_send_signal(first, signal.SIGSTOP)
    try:
        up.process.send_signal(signal.SIGINT)
        for other in others:
            await gone(other)
        assert up.process.returncode is None
    finally:
        signal.pidfd_send_signal(first, signal.SIGCONT)
        os.close(first)

    assert await up.ended() == 0
    assert up.sockets == []


async def test_without_shared_stores_one_sentence_says_what_is_missing(tmp_path):
    async with starting_up(tmp_path, "--workers", "2") as up:
        assert await up.ended() == 2

    assert up.err == (
        "error: --workers 2 needs stores that all workers share: set general_settings.database_url (PostgreSQL) and "
        "router_settings.redis_url or redis_host\n"
    )
