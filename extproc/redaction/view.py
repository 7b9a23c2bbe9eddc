"""What the recognizers look at: the text as a reader sees it, one byte for each character.

Strategy: people read an address also where it is written in full-width letters, or has a zero-width space inside, so a
recognizer must, too. The text is mapped character by character. Full-width and other forms of ASCII characters (NFKC)
become those, digits of other scripts become digits, spaces and dashes become the ASCII ones; what nobody sees (without
width, or a mark of direction) is left out; Latin-1 stays. For whatever is left there are the 32 bytes that Latin-1 has
no use for: 30 kinds of letters, so that words of other scripts differ, and one for all that is no letter. So patterns
are matched over bytes, which is fast, and an offset in the view is an offset in the text, but for what was left out. As
no character's mapping depends on its neighbours, a view can be built piece by piece.

A view sees through JSON's escapes, too, since many a text is JSON, or code, or quotes some: `\\u0040` is one character
of the view and six of the text. A string of JSON is such a text, too, once its own escapes are seen through.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

#: Bytes of the view for what Latin-1 does not have; they are control characters there, which become `OTHER`, too.
FIRST_LETTER, LETTERS, OTHER = 0x80, 30, 0x9F
#: For patterns: whatever letter or digit is not ASCII.
OTHER_LETTERS = r"\x80-\x9d\xaa\xb5\xba\xc0-\xff"

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u30fc\ufe58\ufe63"
_SPACES = frozenset({"Zs", "Zl", "Zp"})
#: Characters without width, by category (format characters, which marks of direction are) and by name.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0").union(
    map(chr, range(0xFE00, 0xFE10))
)
_NOTHING = b""
_KEPT = 1 << 16
#: A character beyond the basic plane is two escapes, which are one.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[\"\\/bfnrt])")
#: An escape that is cut, or the first half of a character that two escapes make.
BEGUN_ESCAPE = re.compile(r"\\(?:u(?:[0-9A-Fa-f]{0,3}|[dD][89abAB][0-9A-Fa-f]{2}(?:\\(?:u[0-9A-Fa-f]{0,3})?)?))?\Z")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class _Table(dict[int, int | bytes]):
    """Code point to byte of the view, `b""` for nothing; filled as code points are met, as far as memory is cheap."""

    def __missing__(self, code: int) -> int | bytes:
        byte = _byte(chr(code))
        if len(self) < _KEPT:
            self[code] = byte
        return byte


def _byte(character: str) -> int | bytes:
    """How one character is seen."""
    category = unicodedata.category(character)
    if character in _UNSEEN or category == "Cf":
        return _NOTHING
    plain = _plain(character, category)
    if plain is not None:
        return ord(plain)
    if category[0] in "LNM":
        return FIRST_LETTER + ord(character.lower()[0]) % LETTERS
    return OTHER


def _plain(character: str, category: str) -> str | None:
    """The character of Latin-1 that one is a form of."""
    if character in _DASHES:
        return "-"
    if category in _SPACES:
        return " "
    if category == "Nd":
        return str(unicodedata.decimal(character))
    form = unicodedata.normalize("NFKC", character)
    if len(form) == 1 and form.isascii():
        return form
    return character if 0xA0 <= ord(character) <= 0xFF else None


_TABLE = _Table({code: code for code in range(0x80)})


class View:
    """A text and how it is seen.

    `seen` are the bytes to match. `starts` and `ends` are, for each of them, where its character begins and ends in
    `text`; `None` where a byte is a character. `escaped` texts are the inside of JSON's strings.

    A view of what waits in a stream is made to grow, and dropped from, so that a piece costs what the piece is long.
    """

    __slots__ = ("_base", "_ends", "_escaped", "_starts", "seen", "text")

    def __init__(self, text: str, *, escaped: bool = False) -> None:
        self.text = text
        self._escaped = escaped
        self._starts: list[int] | None = None
        self._ends: list[int] = []
        #: Places are counted from here, so that they stay when something before them is dropped.
        self._base = 0
        if "\\" in text:
            self._index(*_twice(text) if escaped else _characters(text))
        elif text.isascii():
            self.seen = text.encode()
        else:
            self.seen = see(text)
            if len(self.seen) != len(text):
                self._index(text, *_places(0, len(text)))

    def start(self, at: int) -> int:
        """Where in the text the character begins that is at this place of the view; the text's end behind the last."""
        if self._starts is None:
            return at
        return self._starts[at] - self._base if at < len(self._starts) else len(self.text)

    def end(self, at: int) -> int:
        """Where in the text the character ends that is before this place of the view."""
        return at if self._starts is None else self._ends[at - 1] - self._base

    def grow(self, text: str) -> None:
        """More of the text has come; no escape is cut there."""
        more, behind = View(text, escaped=self._escaped), self._base + len(self.text)
        if self._starts is not None or more._starts is not None:
            starts, ends = _places(0, len(text)) if more._starts is None else (more._starts, more._ends)
            if self._starts is None:
                self._starts, self._ends = _places(self._base, behind)
            self._starts += [behind + start for start in starts]
            self._ends += [behind + end for end in ends]
        self.text += text
        self.seen += more.seen

    def drop(self, at: int) -> None:
        """Forget what is before this place of the view."""
        start = self.start(at)
        if self._starts is not None:
            del self._starts[:at], self._ends[:at]
        self._base += start
        self.text, self.seen = self.text[start:], self.seen[at:]

    def _index(self, plain: str, starts: list[int], ends: list[int]) -> None:
        """See characters whose places in the text are given, and keep the places of those that are seen."""
        self.seen = see(plain)
        if len(self.seen) != len(plain):
            kept = [at for at, character in enumerate(plain) if _TABLE[ord(character)] is not _NOTHING]
            starts, ends = [starts[at] for at in kept], [ends[at] for at in kept]
        self._starts, self._ends = starts, ends


def _places(first: int, last: int) -> tuple[list[int], list[int]]:
    """Where characters begin and end that are their own view."""
    return list(range(first, last)), list(range(first + 1, last + 1))


def see(text: str) -> bytes:
    """The view of a text, without offsets."""
    return codecs.charmap_encode(text, "strict", _TABLE)[0]


def unescaped(text: str) -> str:
    """What JSON's escapes in a text stand for. What is no escape stays as it is."""
    return _ESCAPE.sub(lambda match: _character(match[0]), text)


def without_begun_escape(text: str, *, escaped: bool = False) -> int:
    """How much of a text there is before an escape that its end has cut; the second of two backslashes begins none.

    Of an `escaped` text, which is cut at no escape itself, that is an escape of the text that it stands for.
    """
    if escaped:
        plain, starts, _ = _characters(text)
        end = without_begun_escape(plain)
        return starts[end] if end < len(plain) else len(text)
    begun = BEGUN_ESCAPE.search(text)
    while begun:
        before = text[: begun.start()]
        if (len(before) - len(before.rstrip("\\"))) % 2 == 0:
            return begun.start()
        begun = BEGUN_ESCAPE.search(text, begun.start() + 1)
    return len(text)


def _characters(text: str) -> tuple[str, list[int], list[int]]:
    """The characters that an escaped text stands for, and where each begins and ends in it."""
    plain: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        begin, end = match.span()
        plain += (text[at:begin], _character(match[0]))
        starts += range(at, begin + 1)
        ends += (*range(at + 1, begin + 1), end)
        at = end
    starts += range(at, len(text))
    ends += range(at + 1, len(text) + 1)
    return "".join([*plain, text[at:]]), starts, ends


def _twice(text: str) -> tuple[str, list[int], list[int]]:
    """The same for a text that its escapes stand for and that has escapes of its own."""
    plain, starts, ends = _characters(text)
    if "\\" not in plain:
        return plain, starts, ends
    seen, firsts, lasts = _characters(plain)
    return seen, [starts[at] for at in firsts], [ends[at - 1] for at in lasts]


def _character(escape: str) -> str:
    if escape[1] != "u":
        return _ESCAPES.get(escape[1], escape[1])
    units = bytes.fromhex(escape.replace("\\u", ""))
    return units.decode("utf-16-be", "surrogatepass")
