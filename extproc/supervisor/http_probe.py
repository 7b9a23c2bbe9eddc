"""Small HTTP questions to loopback and Unix sockets: status and body, nothing else.

Blocking, on purpose: the standard library's client is enough, and `ask` runs it in a thread. A question that gets no
answer is `Unanswered`, whatever the reason was.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import Callable

import msgspec

from extproc.errors import ExtprocError

SECONDS = 5.0
MAX_BODY_BYTES = 1024 * 1024

Connect = Callable[[], http.client.HTTPConnection]


class Unanswered(ExtprocError):
    """Nobody answered. `str()` says why."""


class Answer(msgspec.Struct, frozen=True):
    """What was answered. `request_id` is Envoy's name for the request in every log, empty where it gave none."""

    status: int
    body: bytes
    request_id: str = ""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def over_unix(path: str) -> Connect:
    """Questions to a Unix socket."""
    return lambda: UnixConnection(path, SECONDS)


def over_http(host: str, port: int) -> Connect:
    """Questions in plaintext."""
    return lambda: http.client.HTTPConnection(host, port, timeout=SECONDS)


def over_tls(host: str, port: int, context: ssl.SSLContext) -> Connect:
    """Questions over TLS."""
    return lambda: http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)


async def ask(connect: Connect, method: str, path: str) -> Answer:
    """One question on a connection of its own. Raises `Unanswered`."""
    return await asyncio.to_thread(_ask, connect, method, path)


def _ask(connect: Connect, method: str, path: str) -> Answer:
    connection = connect()
    try:
        connection.request(method, path, headers={"connection": "close"})
        response = connection.getresponse()
        body = response.read(MAX_BODY_BYTES)
        return Answer(response.status, body, response.getheader("x-request-id", ""))
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(str(error) or type(error).__name__) from None
    finally:
        connection.close()
