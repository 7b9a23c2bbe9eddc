"""How often Redis is asked for each exchange, and what: by Redis's own account of the commands that it is sent.

`MONITOR` tells every command as it comes. It slows Redis down, so this is a run of its own, not one of those that are
timed. Commands that scripts give are no round trips. What is asked on the way of an exchange is told from what is asked
beside it: bookings of many receipts together, leases, orphans.
"""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

#: Scripts that an exchange waits for.
ON_THE_WAY = ("reserve", "extend", "settle")
_EVALSHA = re.compile(rb'^\+[\d.]+ \[\d+ (?!lua)[^\]]*\] "EVALSHA" "([0-9a-f]{40})"', re.IGNORECASE)
_READ_BYTES = 1 << 20


class RoundTrips(msgspec.Struct, frozen=True):
    """Of one case: how often each script was asked, for each exchange."""

    case: str
    per_exchange: dict[str, float]

    @property
    def on_the_way(self) -> float:
        return sum(self.per_exchange.get(name, 0) for name in ON_THE_WAY)


@contextmanager
def counted(path: str) -> Iterator[Counter[str]]:
    """Counts the scripts that the Redis at this Unix socket is asked for while the block runs."""
    names, found = _names(), Counter[str]()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"MONITOR\r\n")
        lines = connection.makefile("rb", _READ_BYTES)
        if lines.readline() != b"+OK\r\n":
            raise RuntimeError("Redis does not let itself be watched")
        listening = threading.Thread(target=_listen, args=(lines, names, found), daemon=True)
        listening.start()
        try:
            yield found
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            listening.join()


def _listen(lines: Iterator[bytes], names: dict[bytes, str], found: Counter[str]) -> None:
    for line in lines:
        if asked := _EVALSHA.match(line):
            found[names.get(asked[1], "another script")] += 1


def _names() -> dict[bytes, str]:
    """The scripts' names by their SHA-1, as `RedisCounters` makes them."""
    from extproc.stores.counters_redis import RedisCounters
    from extproc.stores.counters_scripts import Script

    made = vars(RedisCounters("unix:///nobody/is/asked"))
    return {value.sha.encode(): name.strip("_") for name, value in made.items() if isinstance(value, Script)}
