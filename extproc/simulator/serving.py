"""The provider on a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from extproc.simulator.api import create_app
from extproc.simulator.forms import Pace


async def serve(path: Path, pace: Pace) -> None:
    """Answer on a Unix socket until SIGTERM or SIGINT; streams that are going on are cut a second later."""
    listening = _listen(path)
    config = uvicorn.Config(
        create_app(pace),
        log_config=None,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
    await server.serve(sockets=[listening])
    _remove(path)


def _listen(path: Path) -> socket.socket:
    """A listening socket of the mode that the caller's umask gives it; uvicorn would open its own to everybody."""
    _remove(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    return listening


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """uvicorn would raise the signal again at its end, and the socket would stay."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
