"""The management API on a port of the loopback, over SQLite: what the commands for people are pointed at."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from management.conftest import AUDIT_KEY, MASTER, Gateway

from extproc.stores.sql import SqlStore

__all__ = ["MASTER", "running_management"]


@contextlib.contextmanager
def running_management(folder: Path, parts: Callable[[str], dict[str, Any]] = lambda _: {}) -> Iterator[str]:
    """The base URL of a management API that runs in a thread of its own; `parts` are further ones, for that URL."""
    started = threading.Event()
    servers: list[uvicorn.Server] = []
    urls: list[str] = []

    async def serve() -> None:
        store = await SqlStore.open(f"sqlite+aiosqlite:///{folder}/extproc.db", audit_key=AUDIT_KEY)
        listening = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        further = parts(url)
        app = Gateway(store).with_parts(now=_now, **further)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        urls.append(url)
        servers.append(server)
        started.set()
        await serving
        await store.close()
        if "identity_providers" in further:
            await further["identity_providers"].close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield urls[0]
    finally:
        servers[0].should_exit = True
        thread.join(30)


def _now() -> int:
    return time.time_ns() // 1_000_000
