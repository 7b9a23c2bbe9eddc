"""How often something that anyone may ask for is done: for each source, and for all of them together.

Windows are fixed, so a source may have twice its due around the edge of two, and no more. Memory is bounded by the
sources seen last. What all sources together may have bounds what a flood of sources can cause.
"""

from __future__ import annotations

import msgspec

from extproc.model import UnixMs
from extproc.policy.failures import CAPACITY, Recent, source_of


class _Window(msgspec.Struct):
    since: UnixMs
    taken: int = 0


class Throttle:
    """At most `each` times for a source and `all_together` for everyone within `window_ms`."""

    def __init__(self, *, each: int, all_together: int, window_ms: int = 60_000, capacity: int = CAPACITY) -> None:
        self._each = each
        self._all = all_together
        self._window_ms = window_ms
        self._sources: Recent[_Window] = Recent(capacity)
        self._everyone = _Window(0)

    def take(self, address: str, now: UnixMs) -> int:
        """0 where it may be done now, and is counted; else for how many milliseconds it may not."""
        source = source_of(address)
        own = self._current(self._sources.get(source), now)
        self._everyone = self._current(self._everyone, now)
        self._sources.put(source, own)
        waits = [
            window.since + self._window_ms - now
            for window, most in ((own, self._each), (self._everyone, self._all))
            if window.taken >= most
        ]
        if waits:
            return max(waits)
        own.taken += 1
        self._everyone.taken += 1
        return 0

    def _current(self, window: _Window | None, now: UnixMs) -> _Window:
        ended = window is None or not 0 <= now - window.since < self._window_ms
        return _Window(now) if window is None or ended else window
