"""Server-sent events out of bytes that arrive in any pieces.

Strategy: an event ends with a blank line, so bytes are held until one is seen and then cut there. Each event keeps its
exact bytes: joined again they are the stream, and dropping an event is leaving its bytes out. Source: WHATWG HTML,
"Server-sent events", 9.2.5 and 9.2.6; unlike there, an event that the stream's end leaves unfinished is still given,
since some providers end without a last blank line.

The subtle thing is a carriage return at the end of what has arrived: it may be a line's end or half of one. The event
then waits for the next byte, so that the same stream gives the same events however it was cut.

Held bytes are a list that is joined once, and only the seam is searched again, so a long line costs no square of its
length. An event longer than the limit is given up: its bytes pass on unread, and reading goes on with the next one.
"""

from __future__ import annotations

import re

import msgspec

MAX_EVENT_BYTES = 1024 * 1024

_BOM = b"\xef\xbb\xbf"
#: A line's end is atomic: the `\r` of a `\r\n` is never one by itself.
_LINE_END = re.compile(rb"(?>\r\n|\n|\r)")
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
#: How much of what was searched without success may be the beginning of a blank line.
_SEAM = 3
_CR, _LF = b"\r\n"


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event, or whatever stands between two blank lines.

    `raw` is its bytes on the wire, blank line included; `data` its `data` lines joined by newlines, `b""` for a
    comment, a stray blank line, or an event that was too long to read.
    """

    raw: bytes
    data: bytes


class SseFramer:
    """Feed it chunks; it gives the events that they complete. `limit` bounds the bytes held, not those of an event."""

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._held_size = 0
        self._seam = b""
        self._begun = False
        self._given_up = False

    @property
    def pending(self) -> bool:
        """Whether bytes of an unfinished event have arrived, held here or passed on unread."""
        return bool(self._held) or self._given_up

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events completed by a chunk."""
        if self._given_up:
            return self._skip(chunk)
        events: list[SseEvent] = []
        rest = chunk
        if not self._held or _BLANK_LINE.search(self._seam + chunk):
            events, rest = self._cut(self._take() + chunk)
            self._seam = b""
        if rest:
            self._hold(rest)
        if self._held_size > self._limit:
            self._given_up = True
            events.append(SseEvent(self._take(), b""))
        return events

    def flush(self) -> list[SseEvent]:
        """The stream is over: what is still held, as it is."""
        events, rest = self._cut(self._take(), final=True)
        if rest:
            events.append(SseEvent(rest, self._data(rest)))
        self._given_up = False
        return events

    def _cut(self, held: bytes, *, final: bool = False) -> tuple[list[SseEvent], bytes]:
        """Every complete event, and the beginning of the next one."""
        find_end = _end_of_event if b"\r" in held else _end_of_plain_event
        events = []
        start = 0
        while start < len(held) and (end := find_end(held, start, final)) > start:
            raw = held[start:end]
            events.append(SseEvent(raw, self._data(raw)))
            start = end
        return events, held[start:]

    def _skip(self, chunk: bytes) -> list[SseEvent]:
        """Pass on what belongs to an event that was given up, and go on behind it."""
        seen = self._seam + chunk
        match = _BLANK_LINE.search(seen)
        if match is None:
            self._seam = seen[-_SEAM:]
            return [SseEvent(chunk, b"")] if chunk else []
        end = match.end() - len(self._seam)
        self._given_up, self._seam = False, b""
        skipped = [SseEvent(chunk[:end], b"")] if end else []
        return skipped + self.feed(chunk[end:])

    def _hold(self, rest: bytes) -> None:
        self._held.append(rest)
        self._held_size += len(rest)
        self._seam = (self._seam + rest)[-_SEAM:] if len(rest) < _SEAM else rest[-_SEAM:]

    def _take(self) -> bytes:
        """What is held; the seam stays, for an event that is given up."""
        held = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        return held

    def _data(self, raw: bytes) -> bytes:
        if not self._begun:
            self._begun = True
            raw = raw.removeprefix(_BOM)
        return _data_of(raw)


def _end_of_event(held: bytes, start: int, final: bool) -> int:
    """Where the event at `start` ends, or `start` where its end has not arrived."""
    match = _LINE_END.match(held, start) or _BLANK_LINE.search(held, start)
    if match is None:
        return start
    end = match.end()
    return start if end == len(held) and held[end - 1] == _CR and not final else end


def _end_of_plain_event(held: bytes, start: int, _: bool) -> int:
    """The same for bytes without carriage returns, as nearly every provider sends them."""
    if held[start] == _LF:
        return start + 1
    blank = held.find(b"\n\n", start)
    return start if blank < 0 else blank + 2


def _data_of(raw: bytes) -> bytes:
    """The data of one event, by the rules for a line: a name, a colon, one space that does not count, a value."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return raw[6:-2]
    values = []
    for line in _LINE_END.split(raw):
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
    return b"\n".join(values)
