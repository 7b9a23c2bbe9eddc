"""What a recognizer is: a bounded pattern, what makes a match credible, and what the finding is called.

As in Presidio, a match is worth a `score` from 0 to 1. A match that `valid` refuses is none. A word of the `context` in
the text shortly before raises the score of a weak pattern (see
`scored_in_context`), so that nine digits are a passport number
only where somebody speaks of passports. The context is what stands *before*: on a stream nothing else is known in time,
and a whole text is treated alike, so that both find the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: How much of the text before a match is searched for words of its context, in characters.
CONTEXT_CHARS = 64
#: What a word of the context adds, and the least that a match then is worth: Presidio's numbers.
CONTEXT_BONUS = 0.35
LEAST_WITH_CONTEXT = 0.4

Valid = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Recognizer:
    """How one kind of value is found.

    `entity` is Presidio's name for it, or a new one in the same style; `pattern` is what `pattern.py` allows; `longest`
    is the longest match in characters, which tests hold equal to what the pattern says. `valid` is given the match as
    it is seen (ASCII forms, nothing unseen). `context` are words, compared without case from the beginning of a word.
    `block_characters` (the inside of a class) is for blocks that are longer than a pattern may be: behind the pattern
    the match goes on through such characters, to the end of the first match of `until` where there is one, else to the
    last of them, and never beyond `longest` characters in all. A `whole` block is taken or refused as one: it never
    begins behind one of its own characters. A match of any other kind that is refused is tried shorter, and from its
    next character on. Right behind `not_behind` no match begins.
    """

    entity: str
    pattern: str
    longest: int
    valid: Valid | None = None
    context: tuple[str, ...] = ()
    score: float = 0.85
    until: str = ""
    block_characters: str = ""
    whole: bool = False
    not_behind: str = ""


def scored_in_context(score: float) -> float:
    """What a match is worth with a word of its context before it."""
    return min(1.0, max(score + CONTEXT_BONUS, LEAST_WITH_CONTEXT))
