"""Recognizers from the configuration: an operator's own patterns and lists of words.

A pattern must say how long its matches can be, must not match nothing, and is compiled here, so that what is wrong with
it is said when the configuration is read.
"""

from __future__ import annotations

from collections.abc import Iterable

from extproc.redaction import pattern as patterns
from extproc.redaction.pattern import InvalidPattern
from extproc.redaction.recognizer import Recognizer
from extproc.redaction.view import see

#: A custom pattern's longest match: what a stream may have to hold.
MAX_MATCH_CHARS = 2000
MAX_WORDS = 1000
MAX_WORD_CHARS = 200
_WORD_BYTES = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")


def recognizer(entity: str, pattern: str, context: Iterable[str] = (), score: float = 0.85) -> Recognizer:
    """A recognizer for a pattern. Raises `InvalidPattern`."""
    tree = patterns.parse(pattern)
    shortest, longest = patterns.width(tree)
    if shortest == 0:
        raise InvalidPattern("the pattern matches the empty text")
    if longest > MAX_MATCH_CHARS:
        raise InvalidPattern(f"the pattern's longest match has {longest} characters, more than {MAX_MATCH_CHARS}")
    patterns.compiled(patterns.render(tree))
    patterns.compiled(patterns.beginnings(tree))
    return Recognizer(entity, pattern, longest, None, tuple(context), score)


def deny_list(entity: str, words: Iterable[str]) -> Recognizer:
    """A recognizer for words and phrases of any script, found without case. Raises `InvalidPattern`.

    Letters beyond Latin-1 are told apart by 30 kinds (`view.py`), so a short word of such a script may be found where
    another one stands, one time in 30 for each letter: too much is masked rather than too little.
    """
    listed = sorted({word.strip() for word in words}, key=lambda word: (-len(word), word))
    if not 0 < len(listed) <= MAX_WORDS:
        raise InvalidPattern(f"a deny list needs 1 to {MAX_WORDS} words")
    if not all(0 < len(see(word)) <= MAX_WORD_CHARS for word in listed):
        raise InvalidPattern(f"a word of a deny list has 1 to {MAX_WORD_CHARS} visible characters")
    seen = [see(word) for word in listed]
    text = "(?i)" + "|".join(map(_word, seen))
    return Recognizer(entity, text, max(map(len, seen)), score=1.0)


def _word(seen: bytes) -> str:
    """A word as a pattern. ASCII has edges of words; letters of other scripts may stand side by side without any."""
    before = r"\b" if seen[0] in _WORD_BYTES else ""
    after = r"\b" if seen[-1] in _WORD_BYTES else ""
    return before + "".join(f"\\x{byte:02x}" for byte in seen) + after
