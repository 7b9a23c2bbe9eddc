"""Failed authentications: counted for each source and each beginning of a key, and slowed down, in bounded memory.

A source that showed too many unknown keys is not asked about further ones for a while: they are refused before any
store is asked. Many people may share one address, so a block is never about the address alone. A key that was found
here before passes, whatever its neighbours do; one that was never seen passes a few times a second, which is enough for
whoever has a good key beside a client with an old one, and too little for a flood. The master key is not looked up, and
is never slowed down.

All memory is bounded by the most recent: who floods it with new names loses the oldest of them. `now` is milliseconds.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Generic, TypeVar

import msgspec

from extproc.model import UnixMs

#: Names that are remembered of each kind, and keys that are known to be good.
CAPACITY, FAMILIAR = 10_000, 50_000
#: How long a blocked source waits between two keys that were never seen.
TRICKLE_MS = 200
#: The refusal of a key that nobody has; only this is worth slowing down.
UNKNOWN = "unknown_key"
#: Further ones, which were not looked up.
TOO_MANY = "too_many_failures"

T = TypeVar("T")


class Pace(msgspec.Struct, frozen=True):
    """After so many `attempts` within `window_ms` a source is blocked for `block_ms`. No attempts: it never is."""

    attempts: int = 10
    window_ms: int = 60_000
    block_ms: int = 300_000


class Failed(msgspec.Struct, kw_only=True):
    """What is known of one source, or of one beginning of a key."""

    name: str
    failures: int = 0
    first_at: UnixMs = 0
    last_at: UnixMs = 0
    #: Unknown keys since the window began.
    attempts: int = 0
    window_from: UnixMs = 0
    blocked_until: UnixMs = 0
    #: When the next key that was never seen may be looked up.
    next_at: UnixMs = 0


class Recent(Generic[T]):
    """The values of the names that were used last, at most `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, name: str) -> T | None:
        return self._values.get(name)

    def put(self, name: str, value: T) -> None:
        """Keep it, and let the one go that was put longest ago."""
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._capacity:
            self._values.popitem(last=False)

    def drop(self, name: str) -> None:
        self._values.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[T]:
        return iter(self._values.values())

    def __len__(self) -> int:
        return len(self._values)


class Failures:
    """Of one process. `count` hears the reason of each failure, `blocked` the source of each new block."""

    def __init__(
        self,
        pace: Pace | None = None,
        *,
        count: Callable[[str], None] = lambda _: None,
        blocked: Callable[[str], None] = lambda _: None,
        capacity: int = CAPACITY,
    ) -> None:
        self._pace = pace or Pace()
        self._count = count
        self._tell_block = blocked
        self._sources: Recent[Failed] = Recent(capacity)
        self._prefixes: Recent[Failed] = Recent(capacity)
        self._refused: Recent[UnixMs] = Recent(capacity)
        self._familiar: Recent[None] = Recent(FAMILIAR)
        #: Keys of blocked sources that are being looked up: whoever sends the same one waits for the same answer.
        self._let_through: Recent[None] = Recent(capacity)
        self._last_block_ends: UnixMs = 0

    def wait(self, address: str, digest: str, now: UnixMs) -> int:
        """For how many milliseconds a key of this address is not looked up; 0 where it may be, now."""
        if now >= self._last_block_ends or digest in self._familiar:
            return 0
        source = self._sources.get(source_of(address))
        if source is None or now >= source.blocked_until:
            return 0
        if digest in self._let_through:
            return 0
        refused_at = self._refused.get(digest)
        if now < source.next_at or (refused_at is not None and now < refused_at + self._pace.window_ms):
            return source.blocked_until - now
        source.next_at = now + TRICKLE_MS
        self._let_through.put(digest, None)
        return 0

    def found(self, digest: str) -> None:
        """There is such a key."""
        if digest not in self._familiar:
            self._familiar.put(digest, None)

    def failed(self, address: str, reason: str, now: UnixMs, *, prefix: str = "", digest: str = "") -> None:
        """Somebody could not prove who they are, or was not asked. `prefix` is what may be shown of an unknown key."""
        self._count(reason)
        if prefix:
            self._note(self._prefixes, prefix, now)
        if not address:
            return
        source = self._note(self._sources, source_of(address), now)
        if reason != UNKNOWN:
            return
        self._familiar.drop(digest)
        self._let_through.drop(digest)
        self._refused.put(digest, now)
        self._slow_down(source, now)

    def sources(self, most: int) -> list[Failed]:
        """Those with the most failures, the most first."""
        return sorted(self._sources, key=attrgetter("failures"), reverse=True)[:most]

    def prefixes(self, most: int) -> list[Failed]:
        """Beginnings of unknown keys, those with the most failures first."""
        return sorted(self._prefixes, key=attrgetter("failures"), reverse=True)[:most]

    def _slow_down(self, source: Failed, now: UnixMs) -> None:
        pace = self._pace
        if now >= source.window_from + pace.window_ms:
            source.window_from, source.attempts = now, 0
        source.attempts += 1
        if not pace.attempts or source.attempts < pace.attempts or now < source.blocked_until:
            return
        source.blocked_until, source.attempts = now + pace.block_ms, 0
        source.next_at = now + TRICKLE_MS
        self._last_block_ends = max(self._last_block_ends, source.blocked_until)
        self._tell_block(source.name)

    @staticmethod
    def _note(names: Recent[Failed], name: str, now: UnixMs) -> Failed:
        found = names.get(name) or Failed(name=name, first_at=now)
        found.failures += 1
        found.last_at = now
        names.put(name, found)
        return found


def source_of(address: str) -> str:
    """Whom an address and a port belong to: the address, and of IPv6 the network (/64) that one customer has.

    What is no address is a source of its own, cut to a length that memory can bear.
    """
    host = address
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        host = address.partition(":")[0]
    if ":" not in host:
        return host[:64]
    try:
        return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host[:64]
