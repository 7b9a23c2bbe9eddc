"""What others are asked about the texts of a payload, and how their findings come back into it.

A text is asked about once, however often it stands there. JSON inside a string is asked about string by string: what
comes back is JSON, if that was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from extproc.redaction import Direction, Findings, Placeholders, Restorer
from extproc.redaction.outside import Found, Outside

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class Inspector(Protocol):
    """Somebody who finds what patterns do not, names and places."""

    async def inspect(self, texts: Sequence[str]) -> Sequence[Sequence[Found]]:
        """The findings in each text. Raises `InspectionFailed`."""
        ...


class Inspection(msgspec.Struct, frozen=True):
    """Who is asked, and what is done about what is found.

    `streams_pass`: an answer that comes as a stream, which nobody can be asked about in time, passes with what the
    engine alone finds in it; else it is not let through.
    """

    inspector: Inspector
    request: Outside
    response: Outside
    streams_pass: bool = False

    def acting(self, direction: Direction) -> Outside | None:
        """What is done in one direction, `None` for nothing."""
        found = self.request if direction is Direction.REQUEST else self.response
        return found if found.entities else None


class Collected:
    """`Rewrite` that changes nothing: the texts, each once, in the order in which they were met."""

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._seen)

    def text(self, text: str) -> str:
        if text and not text.isspace():
            self._seen[text] = None
        return text

    def json_text(self, text: str) -> str:
        for part in _strings(text):
            self.text(part)
        return text

    def name(self, text: str) -> str:
        return self.text(text)

    def media(self, what: str) -> None:
        """Nobody looks into it; the engine has decided about it."""


class Replaced:
    """`Rewrite` with what was found in each text. Raises `Blocked`."""

    def __init__(self, outside: Outside, found: Mapping[str, Sequence[Found]], vault: Placeholders) -> None:
        self.findings = Findings()
        self._outside = outside
        self._found = found
        self._vault = vault

    def text(self, text: str) -> str:
        return self._outside.redact(text, self._found.get(text, ()), self._vault, self.findings)

    def json_text(self, text: str) -> str:
        return _STRING.sub(self._string, text) if _is_json(text) else self.text(text)

    def name(self, text: str) -> str:
        return self.text(text)

    def media(self, what: str) -> None:
        """The engine has decided about it."""

    def _string(self, match: re.Match[str]) -> str:
        part = json.loads(match[0], strict=False)
        replaced = self.text(part)
        return match[0] if replaced == part else json.dumps(replaced)


class Restored:
    """`Rewrite` that puts the client's values back."""

    def __init__(self, vault: Placeholders) -> None:
        self._vault = vault

    def text(self, text: str) -> str:
        return Restorer(self._vault).restore(text)

    def json_text(self, text: str) -> str:
        return Restorer(self._vault, escaped=True).restore(text)

    def name(self, text: str) -> str:
        return self.text(text)

    def media(self, what: str) -> None:
        """Holds no placeholder."""


def _strings(text: str) -> list[str]:
    """The strings of a JSON text, keys too; of a text that is no JSON itself."""
    return [json.loads(part, strict=False) for part in _STRING.findall(text)] if _is_json(text) else [text]


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
