"""JSON inside a string, as the arguments of a tool call are, redacted as it arrives, and still JSON afterwards.

Strategy: the text is read with the grammar of RFC 8259. The inside of each string, of keys too, is a text of its own,
searched through its escapes and written back untouched where nothing was found; placeholders need no escapes. What is
no string (a number, mostly) waits for its end, and becomes a string where something is found in it. The context goes on
over the borders, so that the key `"ssn"` says what its value is.

Where the grammar breaks, the text is not JSON, and from the beginning of the last scalar on it is searched as one plain
text, escapes seen through. Nothing passes unsearched, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from extproc.redaction.recognizer import CONTEXT_CHARS
from extproc.redaction.scanner import Scanner
from extproc.redaction.streaming import Findings, Replacement, StreamRedactor
from extproc.redaction.view import BEGUN_ESCAPE, without_begun_escape

#: A number is shorter, and so is the white space around it: what is longer is read as text.
MAX_SCALAR_CHARS = 1024
MAX_DEPTH = 1000

_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r'[^"{}\[\],:]*')
_IN_STRING = re.compile(r'[^"\\\x00-\x1f]*(?:\\(?:u[0-9A-Fa-f]{4}|["\\/bfnrt])[^"\\\x00-\x1f]*)*')
_LITERAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")


class JsonStreamRedactor:
    """Feed it a JSON text's pieces; it gives what is decided. Raises `Blocked`, and is of no more use then."""

    def __init__(self, scanners: Sequence[Scanner], replacement: Replacement) -> None:
        self.findings = Findings()
        self._scanners = scanners
        self._replacement = replacement
        self._grammar = _Grammar()
        self._unread = ""
        self._place = 0
        self._before = b""
        self._string: StreamRedactor | None = None
        self._is_text = False

    @property
    def held(self) -> int:
        """How many characters wait for what comes next."""
        return len(self._unread) + (self._string.held if self._string else 0)

    def feed(self, text: str, *, final: bool = False) -> str:
        """What is decided now; all of it when the piece is the `final` one."""
        self._unread += text
        given = []
        while self._unread:
            decided = self._step(final)
            if decided is None:
                break
            given.append(decided)
        if final and self._string:
            given.append(self._string.flush())
        return "".join(given)

    def flush(self) -> str:
        """The text is over: the rest of it."""
        return self.feed("", final=True)

    def _step(self, final: bool) -> str | None:
        """One more piece of what is unread; `None` where more must come first."""
        if self._is_text:
            return self._text(final)
        return self._between(final) if self._string is None else self._inside(self._string, final)

    def _between(self, final: bool) -> str | None:
        """White space, one delimiter, or one scalar; `None` where more must come first."""
        space = _run(_SPACE, self._unread)
        if space:
            return self._structure(space)
        end = _run(_SCALAR, self._unread)
        if end == 0:
            return self._delimiter()
        if end == len(self._unread) and end <= MAX_SCALAR_CHARS and not final:
            return None
        return self._scalar(end)

    def _delimiter(self) -> str:
        if not self._grammar.takes(self._unread[0]):
            return self._become_text()
        opened = self._unread[0] == '"'
        structure = self._structure(1)
        if opened:
            self._string = self._stream()
        return structure

    def _scalar(self, end: int) -> str:
        """A scalar and what delimits it, which must fit the grammar before the scalar may go."""
        scalar = self._unread[:end].rstrip(" \t\n\r")
        fits = end <= MAX_SCALAR_CHARS and _LITERAL.fullmatch(scalar) and self._grammar.takes("0")
        if not fits or not self._grammar.would_take(self._unread[end : end + 1]):
            return self._become_text()
        stream = self._stream()
        redacted = stream.feed(scalar, final=True)
        self._take(len(scalar))
        self._before = stream.seen_before()
        return redacted if redacted == scalar else f'"{redacted}"'

    def _inside(self, string: StreamRedactor, final: bool) -> str | None:
        """What of a string has arrived, or its closing quote."""
        end = _run(_IN_STRING, self._unread)
        if not final and (end == len(self._unread) or BEGUN_ESCAPE.match(self._unread, end)):
            end = without_begun_escape(self._unread)
            return string.feed(self._take(end)) if end else None
        if end:
            return string.feed(self._take(end))
        if self._unread[0] == '"':
            rest = string.flush()
            self._before, self._string = string.seen_before(), None
            return rest + self._structure(1)
        return self._become_text()

    def _text(self, final: bool) -> str | None:
        """What is no JSON: all of it, but for an escape that has only begun."""
        if self._string is None:
            self._string = self._stream()
        end = len(self._unread) if final else without_begun_escape(self._unread)
        return self._string.feed(self._take(end)) if end else None

    def _become_text(self) -> str:
        self._is_text = True
        return ""

    def _structure(self, length: int) -> str:
        """What is neither string nor scalar passes, and is context for what follows."""
        taken = self._take(length)
        self._before = (self._before + taken.encode())[-CONTEXT_CHARS:]
        return taken

    def _take(self, length: int) -> str:
        taken, self._unread = self._unread[:length], self._unread[length:]
        self._place += length
        return taken

    def _stream(self) -> StreamRedactor:
        """For a text that begins here."""
        return StreamRedactor(
            self._scanners, self._replacement, self.findings, escaped=True, before=self._before, place=self._place
        )


class _Grammar:
    """What may come next. Its symbols are the delimiters, `"` for a whole string and `0` for any other scalar."""

    _VALUES: ClassVar = {'"': "after", "0": "after", "{": "first key", "[": "first item"}
    _NEXT: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "value": _VALUES,
        "first item": {**_VALUES, "]": "close"},
        "first key": {'"': "colon", "}": "close"},
        "key": {'"': "colon"},
        "colon": {":": "value"},
        # Some providers give two tool calls the same index: what a channel holds is one object behind the other.
        "after": {"{": "first key", "[": "first item"},
        "after {": {",": "key", "}": "close"},
        "after [": {",": "value", "]": "close"},
    }

    def __init__(self) -> None:
        self._open: list[str] = []
        self._state = "value"

    def would_take(self, symbol: str) -> bool:
        """Whether a symbol fits here; the text's end (`""`) always does, since it may have been cut."""
        return not symbol or symbol in self._NEXT[self._state]

    def takes(self, symbol: str) -> bool:
        """Go on with a symbol, where it fits."""
        if not self.would_take(symbol) or len(self._open) > MAX_DEPTH:
            return False
        state = self._NEXT[self._state][symbol]
        if symbol in "{[":
            self._open.append(symbol)
        if state == "close":
            self._open.pop()
        after = f"after {self._open[-1]}" if self._open else "after"
        self._state = after if state in {"after", "close"} else state
        return True


def _run(characters: re.Pattern[str], text: str) -> int:
    """How many characters a text begins with that a pattern, which may match nothing, takes."""
    match = characters.match(text)
    return match.end() if match else 0
