"""Where in a payload texts are, as tables, and the walk that hands each of them to whoever rewrites it.

Strategy: what a table does not name is searched too. A table only says what is *not* free text (an id, a model's name),
what is JSON inside a string, what is an image or a sound, and of which types the parts of a content may be. So a field
that a provider invents tomorrow is searched, its name too, and a part of an unknown type is an error, never a pass.
What should be an id and has characters that no id has is searched. Booleans and short numbers stay, but for those
inside free JSON, where they may be anything.

Streams: the deltas of one text are one *channel*, named by a tuple whose first part is the choice or block it belongs
to. The pieces of a channel go through `Channels.feed`, joined; `flush` ends it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, Protocol, TypeAlias

import msgspec

from extproc.errors import UnknownShape


class Kind(Enum):
    """What a value is. `FREE` is what nobody has said anything about: strings are text, all else is free JSON."""

    KEEP = auto()
    TEXT = auto()
    JSON = auto()
    FREE = auto()
    DROP = auto()
    TOKENS = auto()


class Media(msgspec.Struct, frozen=True):
    """An image, a sound, a file: nothing that can be searched."""

    what: str


class Fields(msgspec.Struct, frozen=True):
    """An object, or a list of them, by name; names that are not here are `FREE`."""

    known: Mapping[str, Spec]


class Parts(msgspec.Struct, frozen=True):
    """A content: a text, or parts that each say their `type`; another type is an error."""

    types: Mapping[str, Spec]


Spec: TypeAlias = "Kind | Media | Fields | Parts"
Channel: TypeAlias = "tuple[object, ...]"

#: What every object may have and is no text.
KEEP, TEXT, JSON, FREE, DROP, TOKENS = Kind.KEEP, Kind.TEXT, Kind.JSON, Kind.FREE, Kind.DROP, Kind.TOKENS
#: Fields are named so; whatever is named otherwise is searched.
_FIELD = re.compile(r"[a-z_]{1,64}")
#: Ids, models, moments and what a provider has encrypted are written in these.
_ID = re.compile(r"[A-Za-z0-9_.:/+=-]*")
#: No card's number is shorter.
_LONG_NUMBER = 10**12


class Rewrite(Protocol):
    """Who rewrites texts. Each may raise what it refuses a payload with."""

    def text(self, text: str) -> str: ...

    def json_text(self, text: str) -> str:
        """The same for JSON inside a string: what comes back is JSON, if that was."""
        ...

    def name(self, text: str) -> str:
        """The same for what should be a name, an id or a number, and may hold a text all the same."""
        ...

    def media(self, what: str) -> None:
        """An image or a sound stands here."""
        ...


class Channels(Rewrite, Protocol):
    """Who rewrites the texts of a stream: whole ones at once, those that come in deltas channel by channel."""

    def feed(self, channel: Channel, delta: str, *, json: bool = False) -> str:
        """What can be given away of a channel after this piece of it."""
        ...

    def flush(self, *first: object) -> list[tuple[Channel, str]]:
        """End the channels whose names begin so: the rest of each that has one."""
        ...


class Streamed(Protocol):
    """The events of one stream, rewritten one after another."""

    def rewrite(self, event: Any) -> list[Any]:
        """The events to send in place of this one: in place, and what must come before it. Raises `UnknownShape`."""
        ...

    def remaining(self) -> list[Any]:
        """The stream is over: events for what no event has ended."""
        ...


def walk(value: Any, spec: Spec, rewrite: Rewrite) -> Any:
    """A decoded JSON value with its texts rewritten. Raises `UnknownShape`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(spec, Kind):
        return _kind(value, spec, rewrite)
    if isinstance(spec, Media):
        rewrite.media(spec.what)
        return value
    if isinstance(value, str):
        return rewrite.text(value)
    if isinstance(value, list):
        return [walk(each, spec, rewrite) if isinstance(spec, Fields) else _part(each, spec, rewrite) for each in value]
    if isinstance(value, dict) and isinstance(spec, Fields):
        known = spec.known
        return {field(name, known, rewrite): walk(each, known.get(name, FREE), rewrite) for name, each in value.items()}
    raise UnknownShape(f"a {type(value).__name__} where a content is expected")


def without_media(value: Any, spec: Spec) -> Any:
    """A decoded JSON value with a word in place of every image, sound and file."""
    if isinstance(spec, Media):
        return value if value is None else f"<{spec.what}>"
    if isinstance(value, list):
        return [without_media(each, spec) for each in value]
    if isinstance(value, dict) and isinstance(spec, Parts):
        known = spec.types.get(value["type"]) if isinstance(value.get("type"), str) else None
        return value if known is None else without_media(value, known)
    if isinstance(value, dict) and isinstance(spec, Fields):
        return {name: without_media(each, spec.known.get(name, FREE)) for name, each in value.items()}
    return value


def field(name: str, known: Mapping[str, Spec], rewrite: Rewrite) -> str:
    """The name of a field, which may hold a text too."""
    return name if name in known or _FIELD.fullmatch(name) else rewrite.name(name)


def _kept(value: Any, rewrite: Rewrite) -> Any:
    """What is no text, unless somebody has put one there."""
    if isinstance(value, str):
        return value if _ID.fullmatch(value) else rewrite.name(value)
    if isinstance(value, list):
        return [_kept(each, rewrite) for each in value]
    if isinstance(value, dict):
        return {field(name, {}, rewrite): _kept(each, rewrite) for name, each in value.items()}
    return _number(value, rewrite)


def is_whole(raw: bytes, read: Any) -> bool:
    """Whether all of some JSON is in what was read from it. Of duplicate keys only the last is, and each of the others
    is two quotes more; where there are escapes nobody can tell by counting."""
    return b"\\" not in raw and raw.count(b'"') == msgspec.json.encode(read).count(b'"')


def _kind(value: Any, kind: Kind, rewrite: Rewrite) -> Any:
    if kind is KEEP:
        return _kept(value, rewrite)
    if kind is DROP:
        return None
    if isinstance(value, str):
        return rewrite.json_text(value) if kind is JSON else rewrite.text(value)
    if kind is TOKENS or (kind is TEXT and isinstance(value, list)):
        return _texts(value, kind, rewrite)
    if isinstance(value, int | float):
        return _number(value, rewrite)
    # Nothing is in an empty list or object, and where one stands clients rely on it.
    return value and msgspec.json.decode(rewrite.json_text(msgspec.json.encode(value).decode()))


def _number(value: float | None, rewrite: Rewrite) -> Any:
    """A number, or what comes in place of a long one; also a value that is neither."""
    if value is None or abs(value) < _LONG_NUMBER:
        return value
    spelled = msgspec.json.encode(value).decode()
    rewritten = rewrite.name(spelled)
    return value if rewritten == spelled else rewritten


def _texts(value: Any, kind: Kind, rewrite: Rewrite) -> Any:
    """A list of texts. A prompt of token numbers is a text that nobody here can read."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UnknownShape("token numbers instead of a text" if kind is TOKENS else "something else than texts")
    return [rewrite.text(each) for each in value]


def _part(part: Any, spec: Parts, rewrite: Rewrite) -> Any:
    if isinstance(part, str):
        return rewrite.text(part)
    return walk(part, known_part(part.get("type") if isinstance(part, dict) else None, spec), rewrite)


def known_part(kind: object, spec: Parts) -> Spec:
    """What a part of this type is. Raises `UnknownShape`."""
    known = spec.types.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise UnknownShape("a content part of an unknown type")
    return known
