"""The management API on a port of the loopback, over SQLite: what the commands for people are pointed at."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from management.conftest import AUDIT_KEY, MASTER, Gateway

from extproc.stores.sql import SqlStore

__all__ = ["MASTER", "running_management"]


@contextlib.contextmanager
def running_management(folder: Path) -> Iterator[str]:
    """The base URL of a management API that runs in a thread of its own."""
    started = threading.Event()
    servers: list[uvicorn.Server] = []
    urls: list[str] = []

    async def serve() -> None:
        store = await SqlStore.open(f"sqlite+aiosqlite:///{folder}/extproc.db", audit_key=AUDIT_KEY)
        gateway = Gateway(store)
        config = uvicorn.Config(gateway.with_parts(now=_now), port=0, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        urls.append(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
        servers.append(server)
        started.set()
        await serving
        await store.close()

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
