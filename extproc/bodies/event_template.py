"""Events that are like the one before but for one text: most of a stream, rewritten without being parsed.

Strategy: of an event that was parsed and whose only delta stands in it as it is, the bytes before and behind the delta
are kept. Bytes that begin and end alike, and have neither a quote nor a backslash nor a control character between, are
the same JSON with another text: nothing else in them can differ. They are one event, too, for the blank line at the end
is the only one. Whatever does not fit is parsed.
"""

from __future__ import annotations

import re

import msgspec

from extproc.providers.texts import Channel, Rewrite

#: What stands between two quotes as it is meant.
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')


class Echo:
    """`Channels` that give deltas back as they are and remember them; all else is rewritten by `texts`."""

    def __init__(self, texts: Rewrite) -> None:
        self._texts = texts
        self.fed: list[tuple[Channel, str, bool]] = []

    def text(self, text: str) -> str:
        return self._texts.text(text)

    def json_text(self, text: str) -> str:
        return self._texts.json_text(text)

    def name(self, text: str) -> str:
        return self._texts.name(text)

    def media(self, what: str) -> None:
        self._texts.media(what)

    def feed(self, channel: Channel, delta: str, *, json: bool = False) -> str:
        self.fed.append((channel, delta, json))
        return delta

    def flush(self, *_: object) -> list[tuple[Channel, str]]:
        return []


class EventTemplate(msgspec.Struct, frozen=True, gc=False):
    """The bytes around a channel's delta."""

    before: bytes
    after: bytes
    channel: Channel

    @classmethod
    def of(cls, raw: bytes, channel: Channel, delta: str) -> EventTemplate | None:
        """The template of an event with this delta; `None` where it does not stand there once, as it is, or where the
        event's end is not told by two newlines."""
        encoded = delta.encode("utf-8", "replace")
        quoted = b'"' + encoded + b'"'
        if not encoded or not _PLAIN.fullmatch(encoded) or raw.count(quoted) != 1 or not _is_one_event(raw):
            return None
        before, _, after = raw.partition(quoted)
        return cls(before + b'"', b'"' + after, channel)

    def delta(self, raw: bytes) -> str | None:
        """The delta of an event that differs in nothing else, else `None`."""
        if not (raw.startswith(self.before) and raw.endswith(self.after)):
            return None
        start, end = len(self.before), len(raw) - len(self.after)
        if end < start or not _PLAIN.fullmatch(raw, start, end):
            return None
        try:
            return raw[start:end].decode()
        except UnicodeDecodeError:
            return None

    def event(self, text: str) -> bytes:
        """The event with another text."""
        return b"".join((self.before, msgspec.json.encode(text)[1:-1], self.after))


def _is_one_event(raw: bytes) -> bool:
    return raw.find(b"\n\n") == len(raw) - 2 and b"\r" not in raw
