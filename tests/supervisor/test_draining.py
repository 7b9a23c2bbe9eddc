"""Envoy leaves politely, asked through its admin interface."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path

import pytest
from running_envoy import free_port, running_envoy

from extproc.envoyconfig import render
from extproc.settings import Settings
from extproc.supervisor import draining, layout
from extproc.supervisor.http_probe import Unanswered

GRACEFUL, CLOSE = "/drain_listeners?graceful", "/drain_listeners"


class Admin:
    """An admin interface with a number of requests in flight, which `ends` says after how many questions."""

    def __init__(self, ends):
        self.ends = ends
        self.told = []
        self.questions = 0
        self.asked = asyncio.Event()
        self.body = None

    async def answer(self, reader, writer):
        method, path = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[:2]
        if method == "POST":
            self.told.append(path)
        else:
            self.questions += 1
            self.asked.set()
        body = self.body or json.dumps({"stats": [{"name": "http.http.downstream_rq_active", "value": self.left}, {}]})
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    @property
    def left(self):
        return int(self.questions <= self.ends)


@contextlib.asynccontextmanager
async def serving(ends):
    with tempfile.TemporaryDirectory() as folder:
        admin, path = Admin(ends), str(Path(folder) / "admin.sock")
        async with await asyncio.start_unix_server(admin.answer, path):
            yield admin, draining.EnvoyAdmin(path)


async def test_clients_are_asked_to_leave_before_the_ports_close():
    async with serving(ends=0) as (admin, envoy):
        assert await draining.drain(envoy, 30, asyncio.Event()) == 0

    assert admin.told == ["/healthcheck/fail", GRACEFUL, CLOSE]


async def test_what_is_in_flight_is_waited_for():
    async with serving(ends=3) as (admin, envoy):
        assert await draining.drain(envoy, 30, asyncio.Event()) == 0

    assert admin.questions > 3


async def test_what_is_left_when_the_time_is_over_is_counted():
    async with serving(ends=1_000_000) as (admin, envoy):
        assert await draining.drain(envoy, 0.05, asyncio.Event()) == 1

    assert admin.told[-1] == CLOSE


async def test_a_hurry_ends_the_wait():
    async with serving(ends=1_000_000) as (admin, envoy):
        hurry = asyncio.Event()
        leaving = asyncio.create_task(draining.drain(envoy, 600, hurry))
        await admin.asked.wait()
        hurry.set()

        assert await asyncio.wait_for(leaving, 30) == 1


async def test_an_envoy_that_is_gone_has_nothing_in_flight(tmp_path):
    assert await draining.drain(draining.EnvoyAdmin(str(tmp_path / "nothing")), 600, asyncio.Event()) == 0


async def test_statistics_that_are_not_understood_are_no_answer():
    async with serving(ends=0) as (admin, envoy):
        admin.body = "[]"

        with pytest.raises(Unanswered, match="statistics are not understood"):
            await envoy.in_flight()


async def test_the_real_envoy_counts_what_is_in_flight_and_closes_its_ports():
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        place = layout.build(Settings(), Path(folder), layout.Ports(http=port, https=0))
        layout.prepare(place)
        async with running_envoy(render(Settings(), place)):
            admin = draining.EnvoyAdmin(place.admin_socket)
            assert await admin.in_flight() == 0
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /key/generate HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
            async with asyncio.timeout(30):
                while await admin.in_flight() != 1:
                    await asyncio.sleep(0.01)
            writer.close()

            assert await draining.drain(admin, 30, asyncio.Event()) == 0
            # Each of Envoy's threads closes its own, a moment after Envoy has said so.
            async with asyncio.timeout(30):
                with pytest.raises(ConnectionRefusedError):
                    while True:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                        writer.close()
