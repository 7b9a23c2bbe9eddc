"""When is it ready? When a client would find it so."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl

import pytest
from running_envoy import free_port

from extproc.settings import Settings
from extproc.supervisor import certificates, http_probe, layout, readiness


class Gateway:
    """Answers each question with the status that it has for the path, and a running number as its id."""

    def __init__(self):
        self.statuses = {"/health/readiness": 503, "/v1/chat/completions": 503}
        self.asked = []
        self.body = ""

    async def answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path = head.split(" ")[:2]
        self.asked.append((method, path))
        headers = f"x-request-id: {len(self.asked)}\r\ncontent-length: {len(self.body)}\r\nconnection: close"
        writer.write(f"HTTP/1.1 {self.statuses[path]} -\r\n{headers}\r\n\r\n{self.body}".encode())
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def serving(tls=None):
    gateway = Gateway()
    async with await asyncio.start_server(gateway.answer, "127.0.0.1", 0, ssl=tls) as server:
        yield gateway, server.sockets[0].getsockname()[1]


def door(port):
    return readiness.Door(f"http://127.0.0.1:{port}", http_probe.over_http("127.0.0.1", port))


async def test_a_door_is_open_when_the_management_api_and_the_processor_answer_behind_it():
    async with serving() as (gateway, port):
        assert await readiness.trouble(door(port)) == "GET /health/readiness answers 503"
        gateway.statuses["/health/readiness"] = 200
        assert await readiness.trouble(door(port)) == "POST /v1/chat/completions answers 503"
        gateway.statuses["/v1/chat/completions"] = 401
        assert await readiness.trouble(door(port)) == ""


async def test_a_processor_that_lets_everybody_in_is_not_ready():
    async with serving() as (gateway, port):
        gateway.statuses = {"/health/readiness": 200, "/v1/chat/completions": 200}

        assert await readiness.trouble(door(port)) == "POST /v1/chat/completions answers 200"


async def test_all_doors_are_waited_for_and_every_questions_id_is_noted():
    async with serving() as (first, port), serving() as (second, other_port):
        first.statuses = second.statuses = {"/health/readiness": 200, "/v1/chat/completions": 503}
        noted: list[str] = []
        waiting = asyncio.create_task(readiness.until_ready([door(port), door(other_port)], 30, noted.append))
        async with asyncio.timeout(30):
            while len(first.asked) < 4:
                await asyncio.sleep(0.01)
        first.statuses["/v1/chat/completions"] = 401

        assert await waiting == ""
        assert second.asked == [("GET", "/health/readiness"), ("POST", "/v1/chat/completions")]
        assert noted == [*map(str, range(1, len(first.asked) + 1)), "1", "2"]


async def test_what_takes_long_is_told_once_and_in_the_answers_own_words():
    async with serving() as (gateway, port):
        gateway.body = '{"counters":\n "disconnected\x1b"}'
        told: list[str] = []
        waiting = asyncio.create_task(readiness.until_ready([door(port)], 30, None, told.append, slow_seconds=0))
        async with asyncio.timeout(30):
            while len(gateway.asked) < 2:
                await asyncio.sleep(0.01)
        gateway.statuses = {"/health/readiness": 200, "/v1/chat/completions": 401}

        assert await waiting == ""
        reason = 'GET /health/readiness answers 503 {"counters": "disconnected"}'
        assert told == [f"not ready yet: http://127.0.0.1:{port}: {reason}"]


async def test_what_is_still_wrong_is_said_when_the_time_is_over():
    port = free_port()

    late = await readiness.until_ready([door(port)], 0)

    assert late == f"http://127.0.0.1:{port} is not ready after 0 s: [Errno 111] Connection refused"


async def test_a_socket_file_that_nobody_listens_on_is_waited_for(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        waiting = asyncio.create_task(readiness.until_listening([str(path)]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 3 * readiness.POLL_SECONDS)
        listening.listen()

        await asyncio.wait_for(waiting, 30)


@pytest.mark.parametrize("brought", [True, False], ids=["the operator's certificate", "the local authority's"])
async def test_over_tls_exactly_this_installation_is_trusted(tmp_path, brought):
    now = datetime.datetime.now(datetime.UTC)
    made = certificates.ensure(tmp_path / "tls", "gateway.example", now)
    tls = certificates.supplied(made.certificate, made.private_key, now) if brought else made
    other = certificates.ensure(tmp_path / "other", "gateway.example", now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.private_key)

    async with serving(context) as (gateway, port):
        gateway.statuses = {"/health/readiness": 200, "/v1/chat/completions": 401}
        place = layout.build(Settings(), tmp_path, layout.Ports(http=0, https=port))

        assert [await readiness.trouble(each) for each in readiness.doors(place, tls)] == [""]
        assert "CERTIFICATE_VERIFY_FAILED" in await readiness.trouble(readiness.doors(place, other)[0])


@pytest.mark.parametrize(
    ("address", "url"),
    [("0.0.0.0", "https://127.0.0.1:8443"), ("::", "https://[::1]:8443"), ("192.0.2.7", "https://192.0.2.7:8443")],
)
def test_a_door_is_named_as_a_client_on_this_machine_reaches_it(tmp_path, address, url):
    tls = certificates.ensure(tmp_path / "tls", "gateway", datetime.datetime.now(datetime.UTC))
    place = layout.build(Settings(), tmp_path, layout.Ports(http=4000, https=8443, https_address=address))

    assert [each.url for each in readiness.doors(place, tls)] == ["http://127.0.0.1:4000", url]
