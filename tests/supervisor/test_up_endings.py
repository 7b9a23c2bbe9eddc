"""How `extproc up` ends, and what the next one finds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3

import httpx
import pytest
from supervisor.running_up import HELLO, bearer, gone, running_up, starting_up

from extproc.stores.contract import SpendFilter
from extproc.stores.sql import SqlStore

STREAM = HELLO | {"stream": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One installation for all of these tests."""
    return tmp_path_factory.mktemp("up")


@contextlib.asynccontextmanager
async def a_stream_in_flight(up):
    """The rest of a stream's bytes, of which the first have come."""
    key = await up.new_key()
    async with (
        httpx.AsyncClient(base_url=up.http, timeout=30) as client,
        client.stream("POST", "/v1/chat/completions", json=STREAM, headers=bearer(key)) as response,
    ):
        chunks = response.aiter_bytes()
        assert (await anext(chunks)).startswith(b"data: {")
        yield chunks


async def last_booked(up):
    """The latest receipt of the ledger, as it is on disk when nothing runs any more."""
    store = await SqlStore.open(f"sqlite+aiosqlite:///{up.data_dir}/extproc.db")
    try:
        return (await store.rows(SpendFilter(), limit=1))[0].receipt
    finally:
        await store.close()


def kept(up):
    files = [up.data_dir / "master_key", *(up.data_dir / "tls").iterdir()]
    return {path.name: path.read_bytes() for path in files}


async def installed(folder):
    """A first start was made, by a test before or now."""
    if not (folder / "extproc-data").exists():
        async with running_up(folder):
            pass


async def test_a_killed_supervisor_leaves_no_child_behind(folder):
    async with running_up(folder) as up:
        handles = [os.pidfd_open(pid) for pid in up.children().values()]
        assert len(handles) == 3

        up.process.kill()
        for handle in handles:
            await gone(handle)


async def test_the_next_start_goes_on_with_key_and_certificates_and_a_stop_lets_a_stream_end(folder):
    """After a SIGKILL, even."""
    await installed(folder)
    async with running_up(folder, pause_ms=20) as up:
        before = kept(up)
        assert before.keys() == {"master_key", "ca.pem", "ca-key.pem", "cert.pem", "key.pem"}
        assert up.out.startswith("ready: ")
        async with a_stream_in_flight(up) as chunks:
            up.process.send_signal(signal.SIGINT)
            rest = b"".join([chunk async for chunk in chunks])

        assert rest.endswith(b"data: [DONE]\n\n")
        assert await up.ended() == 0
        assert "extproc: draining: requests in flight have up to 30 s; Ctrl-C again to hurry\n" in up.err
        assert "cut" not in up.err.rpartition("draining")[2]
        assert kept(up) == before
        assert up.sockets == []
        receipt = await last_booked(up)
        assert (receipt.estimated, receipt.cut, receipt.usage.output_tokens) == (False, False, 61)


async def test_a_second_ctrl_c_hurries_and_what_was_cut_is_booked(folder):
    async with running_up(folder, pause_ms=1000) as up:
        async with a_stream_in_flight(up) as chunks:
            up.process.send_signal(signal.SIGINT)
            await up.says("draining")
            up.process.send_signal(signal.SIGINT)
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in chunks:
                    pass

        # The stream would take a minute.
        assert await asyncio.wait_for(up.process.wait(), 20) == 0
        assert "extproc: 1 requests in flight are cut\n" in up.err
        assert up.sockets == []
        assert "critical" not in up.err
        receipt = await last_booked(up)
        assert (receipt.estimated, receipt.cut) == (True, True)


async def test_a_stop_during_the_start_is_a_stop(folder):
    async with starting_up(folder) as up:
        async with asyncio.timeout(30):
            while "serve" not in up.children():
                await asyncio.sleep(0.02)

        assert await up.interrupt() == 0
        assert "ready" not in up.out
        assert up.sockets == []


async def test_a_processor_that_will_never_run_ends_everything(tmp_path):
    (tmp_path / "extproc-data").mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(tmp_path / "extproc-data" / "extproc.db")) as database:
        database.executescript(
            "CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES ('9999')"
        )

    async with starting_up(tmp_path) as up:
        assert await up.ended() == 1
        assert up.err.splitlines()[1:] == [
            "error: the database was written by a newer version of this program; use that or a newer one",
            "extproc: error: the processor ended with code 2 and would do so again; stopping",
        ]
        assert up.sockets == []
