"""The addresses of hosts that stored models lead to: looked up here, judged, and handed to Envoy with each request.

Envoy could resolve such names itself (`dynamic_forward_proxy`), but its filter that judges addresses sees one of
several, and passes what it does not see (docs/decisions.md). So the name is asked for here, before a model is served
and every half minute after, and an address that is not allowed is never one that is handed out. What was found last
serves while a name server is away. An address whose provider is unavailable goes to the end of the row.

A host without an address has no header, and Envoy no route for it: its client gets the 503 of a configured host that
is not there, and the log says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

from extproc.errors import ConfigError
from extproc.events import Header
from extproc.model import Upstream
from extproc.policy import destinations
from extproc.policy.destinations import Destinations

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 30.0
#: For one answer. A name server that is silent takes longer to be given up by the system.
LOOK_UP_SECONDS = 5.0
#: How long a change of the models waits for names that are slow; they serve as soon as they are known.
PATIENCE_SECONDS = 1.0
#: Names that are asked for at the same time.
AT_ONCE = 8

#: A silent name server holds its threads for long, so these are nobody else's.
_ASKING = ThreadPoolExecutor(AT_ONCE, "name-server")

#: The addresses of a host, in the order to try them. Raises `OSError` or `UnicodeError`.
LookUp: TypeAlias = Callable[[str], Awaitable[Iterable[str]]]


async def look_up(host: str) -> list[str]:
    """As the system resolves names, hosts file and all; its order is RFC 6724's."""
    ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_ASKING, ask)
    return [str(place[0]) for *_, place in found]


class Resolved:
    """Where the hosts of stored models are. One for each worker."""

    def __init__(self, allowed: Destinations, look_up: LookUp = look_up) -> None:
        self._allowed = allowed
        self._look_up = look_up
        self._room = asyncio.Semaphore(AT_ONCE)
        self._wanted: frozenset[str] = frozenset()
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._reasons: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._headers: dict[Upstream, tuple[Header, ...]] = {}

    def way(self, upstream: Upstream) -> tuple[Header, ...]:
        """The headers that lead Envoy there: none for a configured upstream, and none where it cannot be reached."""
        if not upstream.stored:
            return ()
        found = self._headers.get(upstream)
        if found is None:
            addresses = self._addresses.get(upstream.host)
            found = destinations.headers(upstream, addresses[0]) if addresses else ()
            self._headers[upstream] = found
        return found

    async def check(self, upstream: Upstream) -> None:
        """Raises `ConfigError` if nothing may be reached there. A name that is not known yet may become known."""
        if not upstream.stored:
            return
        with contextlib.suppress(OSError, UnicodeError, TimeoutError):
            found = await self._ask(upstream.host)
            if found and not destinations.usable(self._allowed, found):
                raise ConfigError(f"{upstream.host} {_FORBIDDEN}")

    async def follow(self, upstreams: Iterable[Upstream]) -> None:
        """Know these from now on; the others are forgotten when all are asked for the next time."""
        self._wanted = frozenset(upstream.host for upstream in upstreams if upstream.stored)
        new = self._wanted - self._addresses.keys()
        if new:
            await asyncio.wait([self._asked(host) for host in new], timeout=PATIENCE_SECONDS)

    def failed(self, upstream: Upstream) -> None:
        """The provider was unavailable there: the next request tries its next address."""
        addresses = self._addresses.get(upstream.host, ())
        if len(addresses) > 1:
            self._keep(upstream.host, (*addresses[1:], addresses[0]))

    async def refresh_until_cancelled(self) -> None:
        """Ask for all of them again and again."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            for host in self._addresses.keys() - self._wanted:
                self._addresses.pop(host)
                self._reasons.pop(host, None)
            self._headers.clear()
            if self._wanted:
                await asyncio.wait([self._asked(host) for host in self._wanted])

    def _asked(self, host: str) -> asyncio.Task[None]:
        """One question about a host at a time."""
        if host not in self._asking:
            task = asyncio.create_task(self._learn(host))
            self._asking[host] = task
            task.add_done_callback(lambda _: self._asking.pop(host))
        return self._asking[host]

    async def _learn(self, host: str) -> None:
        try:
            found = await self._ask(host)
        except (OSError, UnicodeError) as error:
            # A silent or broken name server takes nothing away that it gave before; one that knows there is none does.
            gone = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
            self._keep(host, () if gone else self._addresses.get(host, ()))
            self._tell(host, _reason(error))
            return
        usable = destinations.usable(self._allowed, found)
        self._keep(host, _in_the_same_order(self._addresses.get(host, ()), usable))
        self._tell(host, "" if usable else f"it {_FORBIDDEN}")

    async def _ask(self, host: str) -> list[str]:
        async with self._room, asyncio.timeout(LOOK_UP_SECONDS):
            return list(await self._look_up(host))

    def _keep(self, host: str, addresses: tuple[str, ...]) -> None:
        if self._addresses.get(host) != addresses:
            self._headers = {upstream: told for upstream, told in self._headers.items() if upstream.host != host}
        self._addresses[host] = addresses

    def _tell(self, host: str, reason: str) -> None:
        """In the log, when it changes."""
        if reason and reason != self._reasons.get(host):
            logger.warning("stored_model_host_unreachable", extra={"host": host, "reason": reason})
        elif not reason and host in self._reasons:
            logger.info("stored_model_host_found", extra={"host": host})
        if reason:
            self._reasons[host] = reason
        else:
            self._reasons.pop(host, None)


_FORBIDDEN = (
    "resolves to no address that stored models may lead to: only public ones are, and the networks of "
    "extproc_settings.stored_model_hosts"
)


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, TimeoutError):
        return "no name server answered"
    return f"the name cannot be resolved ({error.strerror if isinstance(error, OSError) else 'it is no host name'})"


def _in_the_same_order(known: tuple[str, ...], found: tuple[str, ...]) -> tuple[str, ...]:
    """A name server may shuffle its answers; what was put last for a reason stays there."""
    return known if set(known) == set(found) else found
