"""`serve`: the processor and the management API, for an Envoy that somebody else runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import grpc
import httpx
import pytest
import yaml
from running_envoy import validate

from extproc.supervisor import layout

WITHIN_SECONDS = 60


class Serving:
    """A process that serves `data_dir`, and what it wrote."""

    def __init__(self, process, folder):
        self.process = process
        self.data_dir = folder / "data"
        self.sockets = layout.socket_directory(self.data_dir)
        self._folder = folder

    def wrote(self, stream):
        return (self._folder / stream).read_text()

    async def ask(self, path, **headers):
        transport = httpx.AsyncHTTPTransport(uds=str(self.sockets / "management-0.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://management", timeout=30) as client:
            return await client.get(path, headers=headers)

    async def post(self, path, key, **body):
        transport = httpx.AsyncHTTPTransport(uds=str(self.sockets / "management-0.sock"))
        async with httpx.AsyncClient(transport=transport, base_url="http://management", timeout=30) as client:
            return await client.post(path, json=body, headers={"authorization": f"Bearer {key}"})

    async def until_serving(self):
        async with asyncio.timeout(WITHIN_SECONDS):
            while '"serving"' not in self.wrote("err"):
                assert self.process.returncode is None, self.wrote("err")
                await asyncio.sleep(0.02)

    async def ended(self):
        return await asyncio.wait_for(self.process.wait(), WITHIN_SECONDS)


@contextlib.asynccontextmanager
async def serving(folder, *arguments, names=("out", "err")):
    with (folder / names[0]).open("wb") as out, (folder / names[1]).open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "extproc", "serve", "--data-dir", "data", *arguments),
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=out,
            stderr=err,
        )
    try:
        yield Serving(process, folder)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process.stdin.close()


@pytest.fixture(scope="module")
async def server(tmp_path_factory):
    async with serving(tmp_path_factory.mktemp("serve")) as found:
        await found.until_serving()
        yield found


async def test_the_management_api_answers_on_its_socket(server):
    assert (await server.ask("/health/readiness")).json() == {"status": "healthy", "db": "connected"}


async def test_the_certificate_that_the_rendered_bootstrap_names_is_made(server):
    command = (sys.executable, "-m", "extproc", "render", "envoy", "--data-dir", str(server.data_dir))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    bootstrap, _ = await process.communicate()

    code, complaint = await validate(yaml.safe_load(bootstrap))

    assert code == 0, complaint


async def test_the_processor_answers_on_its_socket(server):
    async with grpc.aio.insecure_channel(f"unix:{server.sockets}/processor-0.sock") as channel:
        await asyncio.wait_for(channel.channel_ready(), WITHIN_SECONDS)


async def test_the_master_key_is_made_shown_once_and_works(server):
    (shown,) = server.wrote("out").splitlines()
    key = (server.data_dir / "master_key").read_text().strip()

    assert shown == f"master key, shown only now and kept in {server.data_dir}/master_key: {key}"
    assert (await server.ask("/key/list", authorization=f"Bearer {key}")).status_code == 200
    assert (await server.ask("/key/list", authorization=f"Bearer {key}x")).status_code == 401
    assert key not in server.wrote("err")


async def test_a_second_one_on_the_same_data_directory_is_refused(server):
    async with serving(server.data_dir.parent, names=("out2", "err2")) as second:
        assert await second.ended() == 2

    assert second.wrote("err2") == (
        f"error: another extproc serve (process {server.process.pid}) is using the data directory {server.data_dir}\n"
    )


@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "the supervisor's end"])
async def test_a_stop_is_in_order_and_leaves_no_socket(tmp_path, way):
    lifeline = way == "the supervisor's end"
    async with serving(tmp_path, *(("--until-stdin-ends",) if lifeline else ())) as server:
        await server.until_serving()
        assert len(list(server.sockets.iterdir())) == 2
        if lifeline:
            server.process.stdin.close()
        else:
            server.process.send_signal(signal.Signals[way])

        assert await server.ended() == 0
        assert list(Path(server.sockets).iterdir()) == []
        assert '"draining"' in server.wrote("err")


def test_several_workers_need_stores_that_they_can_share(run, tmp_path):
    ended = run("serve", "--data-dir", str(tmp_path), "--workers", "2")

    assert ended.code == 2
    assert ended.err == (
        "error: --workers 2 needs stores that all workers share: set general_settings.database_url (PostgreSQL) and "
        "router_settings.redis_url or redis_host\n"
    )


def test_workers_are_counted_from_zero(run, tmp_path):
    ended = run("serve", "--data-dir", str(tmp_path), "--workers", "2", "--worker", "2")

    assert (ended.code, ended.err) == (2, "error: --worker 2 is none of 2: they are counted from 0\n")
