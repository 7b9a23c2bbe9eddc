"""Small questions, answered or not."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager

import pytest
from running_envoy import free_port

from extproc.supervisor import http_probe


@contextmanager
def answering(listening, answer):
    """Somebody who sends `answer` to the first who comes, whatever was asked, and gives what was asked."""
    asked = []

    def serve():
        connection, _ = listening.accept()
        with connection:
            asked.append(connection.recv(65536))
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield asked
    thread.join()
    listening.close()


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def to(listening):
    return http_probe.over_http(*listening.getsockname())


async def test_an_answer_has_its_status_its_body_and_envoys_id(listening):
    with answering(listening, b"HTTP/1.1 503 Sorry\r\nx-request-id: 7\r\ncontent-length: 2\r\n\r\nhi") as asked:
        answer = await http_probe.ask(to(listening), "POST", "/path")

    assert answer == http_probe.Answer(503, b"hi", "7")
    assert asked[0].startswith(b"POST /path HTTP/1.1\r\n")
    assert b"connection: close" in asked[0]


async def test_a_unix_socket_is_asked(tmp_path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.listen()
    with answering(listening, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"):
        answer = await http_probe.ask(http_probe.over_unix(str(tmp_path / "socket")), "GET", "/")

    assert answer == http_probe.Answer(200, b"")


async def test_nobody_there_is_no_answer(tmp_path):
    with pytest.raises(http_probe.Unanswered, match="Connection refused"):
        await http_probe.ask(http_probe.over_http("127.0.0.1", free_port()), "GET", "/")
    with pytest.raises(http_probe.Unanswered, match="No such file or directory"):
        await http_probe.ask(http_probe.over_unix(str(tmp_path / "nowhere")), "GET", "/")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
async def test_what_is_no_http_is_no_answer(listening, answer):
    with answering(listening, answer), pytest.raises(http_probe.Unanswered):
        await http_probe.ask(to(listening), "GET", "/")


async def test_plaintext_where_tls_was_expected_is_no_answer(listening):
    connect = http_probe.over_tls("127.0.0.1", listening.getsockname()[1], ssl.create_default_context())

    with answering(listening, b"HTTP/1.1 200 OK\r\n\r\n"), pytest.raises(http_probe.Unanswered):
        await http_probe.ask(connect, "GET", "/")


async def test_a_body_is_read_up_to_a_limit(listening, monkeypatch):
    monkeypatch.setattr(http_probe, "MAX_BODY_BYTES", 3)
    with answering(listening, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabcdef"):
        answer = await http_probe.ask(to(listening), "GET", "/")

    assert answer.body == b"abc"
