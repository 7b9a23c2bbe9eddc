"""Bounded patterns: what a recognizer's pattern may say, how long its matches are, and what may still become one.

Strategy: a small part of RE2's syntax is read into a tree, and RE2 is given what the tree says, so that nothing is
compiled that was not understood. Three things are computed from the tree: the pattern itself, the shortest and the
longest match, and the pattern of its *beginnings*: every text that more text could make a match, or a longer one. The
beginnings, anchored at the end of what has arrived, tell where in a stream something may have begun.

The syntax: characters, classes, `.`, `\\d \\w \\s \\b \\B`, `\\xHH`, groups `(…)`, `(?:…)` and `(?i:…)`, a leading
`(?i)`, `|`, and the repetitions `?` and `{n,m}`. What has no end (`*`, `+`, `{n,}`) is refused, and so is what looks
further than one character around itself. Patterns match bytes of Latin-1, see `view.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from typing import Any

import re2

#: RE2 repeats nothing more often, also counting repetitions within repetitions.
MAX_REPEAT = 1000
MAX_PATTERN_CHARS = 4096
#: How deep groups may stand within groups.
MAX_DEPTH = 40
#: Longer repetitions are not counted in beginnings.
_COUNTED = 8
_MAX_PROGRAM_BYTES = 8 << 20
_CLASSES = frozenset("dDwWsS")
_PUNCTUATION = frozenset("\\.^$|?*+()[]{}-/ \"'#&~@%!,:;<>=_`")
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}


class InvalidPattern(ValueError):
    """A pattern that cannot be used. `str()` says what is wrong with it, and where."""


@dataclass(frozen=True, slots=True)
class One:
    """One character: a literal or a class, in RE2's own words."""

    text: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A look at the characters on both sides: `\\b` or `\\B`."""

    text: str


@dataclass(frozen=True, slots=True)
class Repeat:
    what: Node
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[Node, ...]


Node = One | Edge | Repeat | Sequence | Choice


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises `InvalidPattern`."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise InvalidPattern(f"the pattern has {len(pattern)} characters, more than {MAX_PATTERN_CHARS}")
    return _Reader(pattern).read()


def render(node: Node) -> str:
    """The pattern, in RE2's syntax."""
    match node:
        case One(text) | Edge(text):
            return text
        case Repeat(what, least, most):
            return _repeated(render(what), least, most)
        case Sequence(parts):
            return "".join(map(render, parts))
        case _:
            return _any_of(map(render, node.options))


def width(node: Node) -> tuple[int, int]:
    """The shortest and the longest match, in characters."""
    match node:
        case One():
            return 1, 1
        case Edge():
            return 0, 0
        case Repeat(what, least, most):
            shortest, longest = width(what)
            return shortest * least, longest * most
        case Sequence(parts):
            widths = [width(part) for part in parts]
            return sum(shortest for shortest, _ in widths), sum(longest for _, longest in widths)
        case _:
            widths = [width(option) for option in node.options]
            return min(shortest for shortest, _ in widths), max(longest for _, longest in widths)


def beginnings(node: Node) -> str:
    """The pattern of what may become a match with more text; a match that waits to see what follows it is among them.

    In a sequence it is: a beginning of the first part, or all of the first part and a beginning of the rest. In a
    repetition: all but one of the turns, and a beginning of one more. Long repetitions are not counted: to hold a
    little too much is right, too, and a program that counts to hundreds in many places at once is slow.
    """
    match node:
        case One() | Edge():
            return ""
        case Repeat(what, _, most):
            return (_loosely(what, 0, most - 1) if most > 1 else "") + beginnings(what)
        case Sequence(parts):
            return _beginnings_of(parts)
        case _:
            return _any_of(map(beginnings, node.options))


def _loose(node: Node) -> str:
    """The pattern, without counting long repetitions: what matches it may be more than what the pattern matches."""
    match node:
        case One(text) | Edge(text):
            return text
        case Repeat(what, least, most):
            return _loosely(what, least, most)
        case Sequence(parts):
            return "".join(map(_loose, parts))
        case _:
            return _any_of(map(_loose, node.options))


def _loosely(what: Node, least: int, most: int) -> str:
    return f"(?:{_loose(what)})*" if most > _COUNTED else _repeated(_loose(what), least, most)


def compiled(pattern: str, max_mem: int = _MAX_PROGRAM_BYTES) -> re2._Regexp:
    """RE2's program for a pattern over Latin-1. Raises `InvalidPattern` where RE2 has no room for it."""
    try:
        return re2.compile(pattern.encode("latin-1"), options(max_mem))
    except re2.error as failure:
        said = failure.args[0].decode("latin-1") if isinstance(failure.args[0], bytes) else str(failure)
        raise InvalidPattern(f"RE2 cannot take the pattern: {said}") from None


def finder(pattern: str, max_mem: int) -> Callable[[bytes, int], int]:
    """Where the first match begins, from a place on; -1 where there is none. Raises `InvalidPattern`.

    RE2 itself is asked: `search` puts a generator and a match object around it, which costs twice as much as to look
    through the few characters of a stream's piece.
    """
    made = compiled(pattern, max_mem)
    return _inner(made) or (lambda seen, start: found.start() if (found := made.search(seen, start)) else -1)


def _inner(made: Any) -> Callable[[bytes, int], int] | None:
    """The same from inside the wheel, which promises it to nobody: `None` where it is not as it was."""
    try:
        match, anywhere = made._regexp.Match, re2._Anchor.UNANCHORED
        if match(anywhere, b"", 0, 0)[0][0] not in {-1, 0}:
            return None
    except (AttributeError, TypeError, LookupError):
        return None
    return lambda seen, start: match(anywhere, seen, start, len(seen))[0][0]


def options(max_mem: int) -> re2.Options:
    """RE2's options: bytes are Latin-1, nothing is captured, nothing is written to standard error."""
    chosen = re2.Options()
    chosen.encoding = re2.Options.Encoding.LATIN1
    chosen.log_errors = False
    chosen.never_capture = True
    chosen.max_mem = max_mem
    return chosen


def _beginnings_of(parts: Sequences[Node]) -> str:
    """From the last part to the first, so that a long sequence needs no deep recursion here."""
    found = ""
    for place in range(len(parts) - 1, -1, -1):
        first = beginnings(parts[place])
        found = first if place == len(parts) - 1 else f"(?:{first}|{_loose(parts[place])}{found})"
    return found


def _repeated(text: str, least: int, most: int) -> str:
    return f"(?:{text}){{{least},{most}}}"


def _any_of(texts: map[str]) -> str:
    return f"(?:{'|'.join(texts)})"


class _Reader:
    """Reads a pattern from left to right, one character ahead."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._fold = False
        self._depth = 0

    def read(self) -> Node:
        self._fold = self._take("(?i)")
        node = self._choice()
        if self._at < len(self._pattern):
            raise self._wrong("a closing bracket without an opening one")
        return node

    def _choice(self) -> Node:
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        return found[0] if len(found) == 1 else Choice(tuple(found))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            parts.append(self._repetition(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repetition(self, node: Node) -> Node:
        if self._take("?"):
            return Repeat(self._repeatable(node), 0, 1)
        if self._next() in {"*", "+"}:
            raise self._wrong(f"{self._next()!r} has no upper bound; write {{n,m}}")
        if self._next() != "{":
            return node
        least, most = self._bounds()
        return Repeat(self._repeatable(node), least, most)

    def _bounds(self) -> tuple[int, int]:
        end = self._pattern.find("}", self._at)
        least, comma, most = self._pattern[self._at + 1 : max(end, self._at + 1)].partition(",")
        if comma and not most:
            raise self._wrong("a repetition without an upper bound; write {n,m}")
        most = most or least
        if not (least.isdecimal() and most.isdecimal() and int(least) <= int(most) and 0 < int(most) <= MAX_REPEAT):
            raise self._wrong(f"a repetition must be {{n}} or {{n,m}} with n <= m, and m from 1 to {MAX_REPEAT}")
        self._at = end + 1
        return int(least), int(most)

    def _repeatable(self, node: Node) -> Node:
        if isinstance(node, Edge | Repeat):
            raise self._wrong("there is nothing to repeat")
        return node

    def _atom(self) -> Node:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return self._folded(self._class())
        if character == "\\":
            return self._escape()
        if character in "^$":
            raise self._wrong(f"{character!r} asks where a text begins or ends, which a stream does not know")
        if character in "*+?{":
            raise self._wrong("there is nothing to repeat")
        self._at += 1
        return One("[^\\n]") if character == "." else self._folded(self._literal(character))

    def _group(self) -> Node:
        fold = self._fold
        self._at += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"groups stand more than {MAX_DEPTH} deep")
        if self._take("?i:"):
            self._fold = True
        elif not self._take("?:") and self._next() == "?":
            raise self._wrong("only (…), (?:…) and (?i:…) are known groups")
        node = self._choice()
        if not self._take(")"):
            raise self._wrong("a group is not closed")
        self._fold = fold
        self._depth -= 1
        return Sequence((node,))

    def _escape(self) -> Node:
        if self._pattern[self._at + 1 : self._at + 2] in {"b", "B"}:
            self._at += 2
            return Edge("\\" + self._pattern[self._at - 1])
        return self._folded(self._escaped())

    def _escaped(self) -> str:
        """What a backslash and the characters behind it stand for, as RE2 writes it."""
        character = self._pattern[self._at + 1 : self._at + 2]
        self._at += 2
        if character == "x":
            return self._hexadecimal()
        if character in _CLASSES:
            return "\\" + character
        if character in _CONTROLS:
            return self._literal(_CONTROLS[character])
        if character in _PUNCTUATION:
            return self._literal(character)
        self._at -= 2
        raise self._wrong(f"'\\{character}' is not a known escape")

    def _hexadecimal(self) -> str:
        digits = self._pattern[self._at : self._at + 2]
        if len(digits) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
            raise self._wrong("\\x needs two hexadecimal digits")
        self._at += 2
        return f"\\x{digits.lower()}"

    def _class(self) -> str:
        """A class, written again item by item."""
        self._at += 1
        items = "^" if self._take("^") else ""
        first = True
        while first or self._next() != "]":
            items += self._class_item()
            first = False
        self._at += 1
        return f"[{items}]"

    def _class_item(self) -> str:
        low = self._class_character()
        if self._next() != "-" or self._pattern[self._at + 1 : self._at + 2] in {"]", ""}:
            return low
        self._at += 1
        high = self._class_character()
        if low[1:2] in _CLASSES or high[1:2] in _CLASSES or _code(low) > _code(high):
            raise self._wrong("a range in a class must go from a character to the same or a higher one")
        return f"{low}-{high}"

    def _class_character(self) -> str:
        character = self._next()
        if not character or self._pattern.startswith("[:", self._at):
            raise self._wrong("a class is not closed" if not character else "named classes are not known")
        if character == "\\":
            return self._escaped()
        self._at += 1
        return self._literal(character)

    def _literal(self, character: str) -> str:
        if ord(character) > 0xFF:
            raise self._wrong(f"{character!r} is beyond Latin-1; words of other scripts belong in a deny list")
        return character if character.isascii() and character.isalnum() else f"\\x{ord(character):02x}"

    def _folded(self, text: str) -> One:
        """A character in both cases, where case does not count. Of Latin-1, RE2 knows the cases of ASCII only."""
        if not self._fold:
            return One(text)
        other = chr(_code(text)).swapcase() if text.startswith("\\x") else ""
        return One(f"[{text}{self._literal(other)}]" if "\xc0" <= other <= "\xff" else f"(?i:{text})")

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, text: str) -> bool:
        taken = self._pattern.startswith(text, self._at)
        self._at += len(text) if taken else 0
        return taken

    def _wrong(self, what: str) -> InvalidPattern:
        return InvalidPattern(f"at character {self._at + 1}: {what}")


def _code(text: str) -> int:
    """The code of a literal, as `_literal` writes it."""
    return ord(text) if len(text) == 1 else int(text.removeprefix("\\x"), base=16)
