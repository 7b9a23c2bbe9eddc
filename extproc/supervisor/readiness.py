"""When is it ready? When a client would find it so: asked through Envoy, on every listener, as a client asks.

A door is open when the management API answers behind it (`/health/readiness`, so the database works too) and the
processor does: only the processor answers 401 to a request without a key, Envoy alone would answer 503.

The questions are requests like any other, with their lines in the logs. So nothing is asked before Envoy has somebody
to ask, and the ids of the questions are handed on, for whoever wants to leave their lines out.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence

import msgspec

from extproc.settings.model import Layout
from extproc.supervisor import http_probe
from extproc.supervisor.certificates import Certificates
from extproc.supervisor.http_probe import Connect, Unanswered

POLL_SECONDS = 0.05
#: Longer than a start takes on a busy machine: then it is told what is still wrong, and asked less often.
SLOW_SECONDS = 15.0
SLOW_POLL_SECONDS = 1.0
#: Of an answer that is not the expected one, what is told: the management API names the store that does not answer.
_TOLD_BYTES = 200

#: Method, path, and the status that says "I am here".
QUESTIONS = (("GET", "/health/readiness", 200), ("POST", "/v1/chat/completions", 401))
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


class Door(msgspec.Struct, frozen=True):
    """A listener as a client sees it."""

    url: str
    connect: Connect


def doors(layout: Layout, tls: Certificates) -> tuple[Door, ...]:
    """The listeners of a layout, plaintext first."""
    found = []
    if layout.http_port is not None:
        host = _EVERYWHERE.get(layout.http_address, layout.http_address)
        found.append(Door(_url("http", host, layout.http_port), http_probe.over_http(host, layout.http_port)))
    if layout.https_port is not None:
        host = _EVERYWHERE.get(layout.https_address, layout.https_address)
        connect = http_probe.over_tls(host, layout.https_port, _trusting(tls))
        found.append(Door(_url("https", host, layout.https_port), connect))
    return tuple(found)


async def until_listening(paths: Sequence[str]) -> None:
    """Wait, for as long as it takes, until somebody listens on each of these Unix sockets."""
    for path in paths:
        while not _listens(path):  # noqa: ASYNC110 - another process listens
            await asyncio.sleep(POLL_SECONDS)


async def until_ready(
    opening: Sequence[Door],
    seconds: float,
    note: Callable[[str], None] | None = None,
    tell: Callable[[str], None] | None = None,
    slow_seconds: float = SLOW_SECONDS,
) -> str:
    """Wait until all doors are open. Returns an empty text or, when the time is over, what is still wrong.

    `note` gets Envoy's id of every question that was asked; `tell` hears, once, what takes more than `slow_seconds`.
    """
    clock = asyncio.get_running_loop().time
    begun, pause = clock(), POLL_SECONDS
    for door in opening:
        while reason := await trouble(door, note):
            waited = clock() - begun
            if waited >= seconds:
                return f"{door.url} is not ready after {seconds:g} s: {reason}"
            if waited >= slow_seconds and pause != SLOW_POLL_SECONDS:
                pause = SLOW_POLL_SECONDS
                if tell is not None:
                    tell(f"not ready yet: {door.url}: {reason}")
            await asyncio.sleep(pause)
    return ""


async def trouble(door: Door, note: Callable[[str], None] | None = None) -> str:
    """Why a door is not open; empty if it is."""
    for method, path, expected in QUESTIONS:
        try:
            answer = await http_probe.ask(door.connect, method, path)
        except Unanswered as error:
            return str(error)
        if note is not None:
            note(answer.request_id)
        if answer.status != expected:
            return f"{method} {path} answers {answer.status} {_told(answer.body)}".rstrip()
    return ""


def _told(body: bytes) -> str:
    """The beginning of an answer, as one line."""
    text = " ".join(body[:_TOLD_BYTES].decode(errors="replace").split())
    return "".join(each for each in text if each.isprintable())


def _listens(path: str) -> bool:
    """A connection to a Unix socket stands or fails at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def _trusting(tls: Certificates) -> ssl.SSLContext:
    """Trusts exactly this installation. The operator's certificate may be for other names than loopback's."""
    if tls.authority is not None:
        return ssl.create_default_context(cafile=tls.authority)
    context = ssl.create_default_context(cafile=tls.certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
