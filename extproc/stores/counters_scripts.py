"""Lua scripts in Redis, each run by one round trip within a deadline: on the data path nobody waits longer than that.

The driver's own client is left out, and what it does around a command: its pool, its timeouts for every read and every
write, its retries and its metrics cost more than the rest (measured: 95 µs of CPU for a command, 28 µs without). What
is used of it is the connection: addresses, TLS, authentication, the protocol. One deadline spans everything, waiting
for a connection and connecting included. A connection that the server has closed is opened again; nothing else is ever
repeated, for nobody knows whether a question that was not answered has been heard.

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
from redis.exceptions import NoScriptError, RedisError, ResponseError

from extproc.errors import StoreUnavailable

NAME = "counters"
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
        while self._idle:
            await self._idle.pop().disconnect()

    async def _ask(self, *command: str | bytes | int) -> Any:
        """As `ask`, but `NoScriptError` is left to the caller."""
        if self._closed:
            raise StoreUnavailable(NAME, "closed")
        try:
            async with asyncio.timeout(self._deadline), self._places:
                return await self._on_a_connection(command)
        except TimeoutError:
            raise StoreUnavailable(NAME, f"no answer within {self._deadline} s") from None
        except NoScriptError:
            raise
        except (RedisError, OSError) as error:
            raise StoreUnavailable(NAME, _reason(error)) from None

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
        return self._pool.make_connection()  # type: ignore[no-untyped-call]


def _reason(error: Exception) -> str:
    """The kind of a failure, and the code that Redis gave it (`OOM`, `READONLY`, `MOVED`)."""
    code = str(error).partition(" ")[0] if isinstance(error, ResponseError) else ""
    return f"{type(error).__name__} {code}" if code.isupper() else type(error).__name__
