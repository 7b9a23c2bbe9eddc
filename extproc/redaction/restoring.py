"""Answers in which placeholders become the client's values again.

Strategy: models write placeholders a little differently, in another case or with Markdown's `\\_`, and write `<` as
`\\u003c` in JSON; all of these are read. What looks like a placeholder and is none of ours stays as it is. A stream
holds what may be the beginning of a placeholder, which the pattern's own beginnings tell (`pattern.py`), and nothing
else. What was put back is not read again.

Inside JSON's strings a value is put back with its escapes, and a pair `\\\\` is read as one character, so that a
backslash that is a character of the text never begins an escape.
"""

from __future__ import annotations

import json
import re
from functools import cache

from extproc.redaction.pattern import beginnings, parse, render
from extproc.redaction.placeholders import Placeholders

#: What may stand between `<` and `>`; an entity's name has at most 64 characters.
_NAME = r"[A-Za-z](?:[A-Za-z0-9]|\\{0,2}_){1,80}"
_PLAIN = rf"<{_NAME}>"
_ESCAPED = rf"(?:<|(?i:\\u003c)){_NAME}(?:>|(?i:\\u003e))"
_PAIR = r"\\\\"
_ESCAPES_OF_BRACKETS = re.compile(r"\\u003[ce]", re.IGNORECASE)


@cache
def _tokens(escaped: bool, final: bool) -> re.Pattern[str]:
    """What a text is read by: a placeholder, what may become one, and a backslash that stands for itself."""
    tree = parse(_ESCAPED if escaped else _PLAIN)
    tokens = [f"(?P<placeholder>{render(tree)})"]
    if not final:
        tokens.append(rf"(?P<begun>(?:{beginnings(tree)})\Z)")
    return re.compile("|".join([*tokens, _PAIR] if escaped else tokens))


class Restorer:
    """Puts values back into a text, whole or in pieces: `feed` and `flush`, joined, are `restore` of the whole.

    `escaped` texts are the inside of JSON's strings or JSON itself, as the arguments of a tool call are.
    """

    __slots__ = ("_escaped", "_held", "_vault", "restored")

    def __init__(self, vault: Placeholders, *, escaped: bool = False) -> None:
        self._vault = vault
        self._escaped = escaped
        self._held = ""
        #: How many placeholders were put back.
        self.restored = 0

    @property
    def held(self) -> int:
        """How many characters wait for what comes next."""
        return len(self._held)

    def restore(self, text: str) -> str:
        """A whole text."""
        return self._read(text, final=True)

    def feed(self, text: str) -> str:
        """What no later piece can change."""
        if not self._held and "<" not in text and not self._escaped:
            return text
        return self._read(self._held + text, final=False)

    def flush(self) -> str:
        """The text is over: the rest of it."""
        return self._read(self._held, final=True)

    def _read(self, text: str, *, final: bool) -> str:
        self._held = ""
        if "<" not in text and not (self._escaped and "\\" in text):
            return text
        given, at = [], 0
        for match in _tokens(self._escaped, final).finditer(text):
            given.append(text[at : match.start()])
            at = match.end()
            if match.lastgroup == "begun":
                self._held = match[0]
                break
            given.append(self._value(match[0]) if match.lastgroup else match[0])
        return "".join([*given, text[at:]])

    def _value(self, written: str) -> str:
        """What to give away for what looks like a placeholder."""
        plain = _ESCAPES_OF_BRACKETS.sub(lambda escape: "<>"[escape[0][-1] in "eE"], written)
        value = self._vault.value(plain.replace("\\", "").upper())
        if value is None:
            return written
        self.restored += 1
        return _escaped(value) if self._escaped else value


def _escaped(value: str) -> str:
    """A value inside a string of JSON. Half a character, which UTF-8 does not have, needs an escape."""
    halves = any("\ud800" <= character <= "\udfff" for character in value)
    return json.dumps(value, ensure_ascii=halves)[1:-1]
