"""A list or an object of JSON in pieces, each of which is read at once.

Strategy: to read a text of many megabytes that is all structure takes one call some hundred milliseconds, in which no
other thread has a turn. So the text is cut where an element of the outermost list or object ends, by a pattern that
takes strings and runs of plain elements at the speed of C. Nothing is checked here: whoever reads the pieces does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

#: A piece ends with the element that makes it so long, in bytes, or with one of a few hundred behind it.
PIECE_BYTES = 4096
_SCALARS = rb'(?:[^"\[\]{},]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")'
#: Elements that are no list and no object, each with its comma; a bracket; or what stands between those.
_TOKEN = re.compile(rb"(?s)(?:" + _SCALARS + rb"*+,){1,512}+|[\[\]{}]|" + _SCALARS + rb"++")
_OPENING, _CLOSING, _COMMA = frozenset(b"[{"), frozenset(b"]}"), ord(",")


def pieces(raw: bytes) -> Iterator[bytes]:
    """The elements of a list, or the members of an object, some at a time and in brackets; an empty one is one piece.

    Raises `ValueError` for what neither is nor ends.
    """
    depth = start = 0
    for token in _TOKEN.finditer(raw):
        first, end = raw[token.start()], token.end()
        if first in _OPENING:
            depth += 1
            if depth == 1:
                start, opening = end, raw[token.start() : end]
        elif first in _CLOSING:
            depth -= 1
            if depth == 0:
                yield opening + raw[start:end]
                return
        elif depth == 1 and end - start > PIECE_BYTES and raw[end - 1] == _COMMA:
            yield opening + raw[start : end - 1] + _closing(opening)
            start = end
    raise ValueError("neither a list nor an object")


def members(raw: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object by name, not read yet; of equal names the last. Raises `msgspec.DecodeError`."""
    found: dict[str, msgspec.Raw] = {}
    for piece in pieces(raw):
        found.update(msgspec.json.decode(piece, type=dict[str, msgspec.Raw]))
    return found


def _closing(opening: bytes) -> bytes:
    return b"]" if opening == b"[" else b"}"
