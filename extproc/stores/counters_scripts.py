"""Lua scripts in Redis, each run by one round trip within a deadline: on the data path nobody waits longer than that.

The driver's own client is left out, and what it does around a command: its pool, its timeouts for every read and every
write, its retries and its metrics cost more than the rest (measured: 95 µs of CPU for a command, 28 µs without). What
is used of it is the connection: addresses, TLS, authentication, the protocol. One deadline spans everything, waiting
for a connection and connecting included. A connection that the server has closed is opened again, and on a cluster the
node that has the keys is found; nothing else is ever repeated, for nobody knows whether a question without an answer
was heard.

No error of the driver leaves this module, and none of its texts, for they may quote a value.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from redis import asyncio as aioredis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, NoScriptError, RedisError, ResponseError

from extproc.errors import StoreUnavailable

NAME = "counters"
#: What an operator must know of an error of Redis. A script's error has the code in its middle.
_CODES = ("OOM", "MISCONF", "READONLY", "NOREPLICAS", "CLUSTERDOWN", "CROSSSLOT", "NOPERM", "WRONGTYPE", "BUSY")
_LUA = Path(__file__).parent / "lua"


class Script:
    """A script by its name in `lua/`, with what all scripts share, and these numbers as constants, before it."""

    def __init__(self, name: str, constants: dict[str, int]) -> None:
        numbers = "".join(f"local {constant} = {number}\n" for constant, number in constants.items())
        self.text = numbers + (_LUA / "counters.lua").read_text() + (_LUA / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """Runs scripts on the keys of one hash tag, over at most so many connections. `url` is `redis://`, `rediss://` or
    `unix://`; `key` is one of the keys. Every method raises `StoreUnavailable`."""

    def __init__(self, url: str, key: str, *, deadline_ms: int, connections: int) -> None:
        self._key = key
        self._deadline = deadline_ms / 1000
        self._places = asyncio.Semaphore(connections)
        self._idle: list[AbstractConnection] = []
        self._closed = False
        # RESP2 needs no greeting: a new connection can be used at once.
        self._pool = aioredis.ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=None,
            driver_info=None,
            retry=Retry(NoBackoff(), 0),
        )

    async def run(self, script: Script, *arguments: bytes) -> Any:
        """What the script replies."""
        try:
            return await self._ask("EVALSHA", script.sha, 1, self._key, *arguments)
        except NoScriptError:
            # A server that is new, or has lost its scripts. This one it has not run.
            return await self.ask("EVAL", script.text, 1, self._key, *arguments)

    async def ask(self, *command: str | bytes | int) -> Any:
        """What the server replies to a command."""
        try:
            return await self._ask(*command)
        except NoScriptError as error:
            raise StoreUnavailable(NAME, _reason(error)) from None

    async def close(self) -> None:
        """Let go of every connection; whatever is asked afterwards is an outage."""
        self._closed = True
        await self._disconnect()

    async def _ask(self, *command: str | bytes | int) -> Any:
        """As `ask`, but `NoScriptError` is left to the caller."""
        if self._closed:
            raise StoreUnavailable(NAME, "closed")
        try:
            async with asyncio.timeout(self._deadline), self._places:
                try:
                    return await self._on_a_connection(command)
                except MovedError as moved:
                    await self._follow(moved)
                    return await self._on_a_connection(command)
        except TimeoutError:
            raise StoreUnavailable(NAME, f"no answer within {self._deadline} s") from None
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            raise StoreUnavailable(NAME, _reason(error)) from None

    async def _follow(self, moved: MovedError) -> None:
        """A cluster says that another node has the keys: go there, now and from now on."""
        host, port = moved.node_addr
        self._pool.connection_kwargs.update({"host": host, "port": port} if host else {"port": port})
        await self._disconnect()

    async def _on_a_connection(self, command: tuple[str | bytes | int, ...]) -> Any:
        connection = self._idle.pop() if self._idle else self._new_connection()
        try:
            if connection.is_connected and await connection.can_read():
                # Nobody has asked it anything, so this is the end.
                await connection.disconnect(nowait=True)
            await connection.send_command(*command)
            return await connection.read_response()
        finally:
            if self._closed:
                await connection.disconnect(nowait=True)
            else:
                self._idle.append(connection)

    def _new_connection(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def _disconnect(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect()


def _reason(error: Exception) -> str:
    """The kind of a failure, and Redis's own code for it where that says more."""
    codes = (code for code in _CODES if code in str(error)) if isinstance(error, ResponseError) else ()
    return " ".join((type(error).__name__, *codes))
