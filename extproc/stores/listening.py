"""What anybody changed in PostgreSQL, every worker forgets: over LISTEN and NOTIFY, on a connection of its own.

The database's triggers (`migrations/versions/0008_notifications.py`) send each change in the transaction that makes it,
so there is no change without its message and no crash in between. A connection that is new may have missed some, so the
whole cache is forgotten first. A short question now and then proves that the connection lives: what was sent before its
answer has been heard. `heard` is true as long as the last proof is fresh; what a cache does without it is the cache's.

LISTEN belongs to one connection of the server, which pgbouncer does not keep: it needs a URL that leads there directly.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
from sqlalchemy.dialects.postgresql.asyncpg import dialect

from extproc.holds import Scope
from extproc.stores.broadcast import is_cancelled
from extproc.stores.sql_url import Location

logger = logging.getLogger(__name__)

CHANNEL = "extproc_changed"
BEAT_SECONDS = 0.25
#: How long a proof is good for. Together with what the cache believes unheard, a change is known within a second.
PROOF_SECONDS = 0.8
CONNECT_SECONDS = 2.0
RETRY_SECONDS = 0.1

_dialect: Any = dialect
_decode = msgspec.json.Decoder(Scope).decode
#: What the triggers send where a name is too long for a message.
_EVERYTHING = "everything"


class Listening:
    """`location` is a PostgreSQL's; `forget` and `forget_all` are the cache of this worker. `clock` tells seconds."""

    def __init__(
        self,
        location: Location,
        *,
        forget: Callable[[Scope], None],
        forget_all: Callable[[], None],
        report: Callable[[str, bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._arguments: dict[str, Any] = {**_dialect().create_connect_args(location.url)[1], **location.arguments}
        self._forget = forget
        self._forget_all = forget_all
        self._report = report
        self._clock = clock
        self._proved_at = float("-inf")
        self._up: bool | None = None

    def heard(self) -> bool:
        """Whether every change until a moment ago has been heard of."""
        return self._clock() - self._proved_at < PROOF_SECONDS

    async def listen_until_cancelled(self) -> None:
        """Forget what anybody changed; connect again whenever the connection is lost."""
        while not is_cancelled():
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - the driver's, the network's: each means "connect again"
                self._mark(up=False, reason=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await asyncpg.connect(**self._arguments)
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.add_listener(CHANNEL, self._told)
            self._forget_all()
            while True:
                await self._prove(connection)
                self._mark(up=True)
                await _passes(lost, BEAT_SECONDS)
        finally:
            self._proved_at = float("-inf")
            connection.terminate()

    async def _prove(self, connection: Any) -> None:
        asked_at = self._clock()
        async with asyncio.timeout(PROOF_SECONDS):
            await connection.execute("SELECT 1")
        self._proved_at = asked_at

    def _told(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            scope = _decode(str(payload))
        except msgspec.DecodeError:
            self._forget_all()
            return
        if scope.kind == _EVERYTHING:
            self._forget_all()
        else:
            self._forget(scope)

    def _mark(self, *, up: bool, reason: str = "") -> None:
        if up == self._up:
            return
        self._up = up
        self._report("changes", up)
        if not up:
            logger.error("changes_not_heard", extra={"reason": reason})
        else:
            logger.info("changes_heard")


async def _passes(lost: asyncio.Event, seconds: float) -> None:
    """Let the time pass. Raises `ConnectionError` as soon as the connection is lost."""
    try:
        async with asyncio.timeout(seconds):
            await lost.wait()
    except TimeoutError:
        return
    raise ConnectionError("the connection was lost")
