"""The walk of `texts.py` over JSON that is not read yet, in pieces where it is large.

Strategy: to read and to write many megabytes of small values are calls of some hundred milliseconds each, in which no
other thread has a turn. So what has very many values is cut into pieces (`framing/pieces.py`), each is read, walked and
written by itself, and between two of them whoever has no more time may say so. Free JSON is searched as one text all
the same, for what stands before a value says what it is; only reading and writing it is done in pieces. However large
a payload is, the outcome is the same.

Each level of lists and objects that is cut is looked through once more, so only the outer ones are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from extproc.errors import UnknownShape
from extproc.framing.pieces import members, pieces
from extproc.providers.texts import (
    DROP,
    FREE,
    JSON,
    KEEP,
    TEXT,
    TOKENS,
    Fields,
    Kind,
    Media,
    Parts,
    Rewrite,
    Spec,
    field,
    is_whole,
    known_part,
    walk,
)  # fmt: skip

#: What has more commas is read in pieces: more than a piece of small values has.
MOST_AT_ONCE = 4096
#: So many levels are cut: a text of a part of a message is the fourth.
DEEPEST = 6


def _go_on() -> None:
    """Nobody waits."""


def walk_document(
    document: dict[str, msgspec.Raw],
    known: Mapping[str, Spec],
    rewrite: Rewrite,
    checkpoint: Callable[[], None] = _go_on,
) -> None:
    """Rewrite the texts of a request in place. Raises `UnknownShape`, and what `checkpoint` does (see `walk_json`)."""
    for name, raw in list(document.items()):
        rewritten = walk_json(bytes(raw), known.get(name, FREE), rewrite, checkpoint)
        del document[name]
        document[field(name, known, rewrite)] = msgspec.Raw(rewritten)


def walk_json(raw: bytes, spec: Spec, rewrite: Rewrite, checkpoint: Callable[[], None] = _go_on) -> bytes:
    """JSON with its texts rewritten; itself where nothing changes. `checkpoint` is called between two pieces of what is
    large. Raises `UnknownShape`, `msgspec.DecodeError`, and what `checkpoint` does."""
    return _Walk(rewrite, checkpoint).json(raw, spec, 0)


class _Walk:
    """Knows who rewrites. Each step is given how many levels have been cut before it."""

    def __init__(self, rewrite: Rewrite, checkpoint: Callable[[], None]) -> None:
        self._rewrite = rewrite
        self._checkpoint = checkpoint

    def json(self, raw: bytes, spec: Spec, level: int) -> bytes:
        if _is_read_at_once(raw, level):
            value = msgspec.json.decode(raw)
            rewritten = walk(value, spec, self._rewrite)
            return raw if rewritten == value and is_whole(raw, value) else msgspec.json.encode(rewritten)
        if spec is DROP:
            return b"null"
        if isinstance(spec, Media):
            self._rewrite.media(spec.what)
            return self._plain(raw, level)
        is_list = _is_list(raw)
        if spec in (JSON, FREE) or (spec is TEXT and not is_list):
            searched = self._rewrite.json_text(self._plain(raw, level).decode())
            return self._plain(searched.encode(), level)
        return self._list(raw, spec, level) if is_list else self._object(raw, spec, level)

    def _list(self, raw: bytes, spec: Spec, level: int) -> bytes:
        return self._list_of(
            raw, lambda some: self.json(some, spec, level + 1), lambda one: self._element(one, spec, level + 1)
        )

    def _object(self, raw: bytes, spec: Spec, level: int) -> bytes:
        if isinstance(spec, Parts) or spec is TOKENS:
            raise UnknownShape("an object where a content is expected")
        known, unknown = (spec.known, FREE) if isinstance(spec, Fields) else ({}, KEEP)
        rewritten = {
            field(name, known, self._rewrite): msgspec.Raw(self.json(each, known.get(name, unknown), level + 1))
            for name, each in self._members(raw)
        }
        return msgspec.json.encode(rewritten)

    def _element(self, raw: bytes, spec: Spec, level: int) -> bytes:
        """An element of a list that is large itself, or stands beside one that is."""
        if isinstance(spec, Kind) and spec is not KEEP and not raw.startswith(b'"'):
            raise UnknownShape("something else than texts")
        if not isinstance(spec, Parts) or raw.startswith(b'"'):
            return self.json(raw, spec, level)
        kind = msgspec.json.decode(members(raw).get("type", b"null")) if raw.startswith(b"{") else None
        return self.json(raw, known_part(kind, spec), level)

    def _plain(self, raw: bytes, level: int) -> bytes:
        """The same JSON without white space, without escapes that it does not need, with the last of equal names."""
        if _is_read_at_once(raw, level):
            return msgspec.json.encode(msgspec.json.decode(raw))
        if _is_list(raw):
            return self._list_of(raw, *[lambda some: self._plain(some, level + 1)] * 2)
        return msgspec.json.encode(
            {name: msgspec.Raw(self._plain(each, level + 1)) for name, each in self._members(raw)}
        )

    def _list_of(self, raw: bytes, some: Callable[[bytes], bytes], one: Callable[[bytes], bytes]) -> bytes:
        """A list whose pieces become those of `some`, or, where an element is large itself, each that of `one`."""
        inner = []
        for piece in pieces(raw):
            self._checkpoint()
            if piece.count(b",") <= MOST_AT_ONCE:
                inner.append(some(piece)[1:-1])
            else:
                elements = msgspec.json.decode(piece, type=list[msgspec.Raw])
                inner.append(b",".join([one(bytes(each)) for each in elements]))
        return b"[" + b",".join(inner) + b"]"

    def _members(self, raw: bytes) -> Iterator[tuple[str, bytes]]:
        for name, each in members(raw).items():
            self._checkpoint()
            yield name, bytes(each)


def _is_list(raw: bytes) -> bool:
    return raw.lstrip().startswith(b"[")


def _is_read_at_once(raw: bytes, level: int) -> bool:
    return level >= DEEPEST or raw.count(b",") <= MOST_AT_ONCE or not raw.lstrip().startswith((b"[", b"{"))
