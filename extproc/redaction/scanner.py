"""Finds what the rules look for, in a text or in what has arrived of one.

Strategy, in three steps that all take linear time:

1. One pass of all patterns together (`re2.Set`) says which of them match at all: mostly none, and that is the end.
2. Those that do are searched one by one. The match that begins first is taken; of two that begin together the longer,
   then the one whose rule comes first. A match that overlaps the one taken makes it longer rather than lose its own
   tail, and then everything is searched again from the end of it: a match given up must not leave half a value behind.
3. In a stream, one more pattern matches backwards from the end: the beginnings of all patterns (see `pattern.py`).
   Where it begins, a value may have begun. What lies before is decided for good and what lies behind waits, so that no
   fixed delay is needed, and the decisions are those that the whole text would get.

A block (a private key) is too long for a pattern. It is followed by hand, and a stream waits for its end in the same
way, up to the recognizer's `longest`; what is there by then is taken for the block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import re2

from extproc.redaction import pattern
from extproc.redaction.recognizer import CONTEXT_CHARS, Recognizer, scored_in_context

#: RE2's room for its tables, which grow only as texts need them.
_MAX_TABLE_BYTES = 64 << 20
#: How many matches that begin at one place are put to a recognizer's check.
_MAX_TRIES = 8


class Action(StrEnum):
    MASK = "mask"
    HASH = "hash"
    BLOCK = "block"
    LOG = "log"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Rule:
    """A recognizer, what to do about what it finds, and how sure it must be (see `Recognizer`).

    `by_word`: its matches have no check digit, so that of several such rules for the same text only the words before it
    can tell which it is.
    """

    recognizer: Recognizer
    action: Action
    threshold: float
    by_word: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A finding: places in what was searched."""

    start: int
    end: int
    rule: Rule


class Scanner:
    """The rules, compiled. Holds nothing of what it is given, so one scanner serves all exchanges."""

    __slots__ = ("_beginning", "_blocks", "_compiled", "_longest", "_set")

    def __init__(self, rules: Sequence[Rule]) -> None:
        trees = [pattern.parse(rule.recognizer.pattern) for rule in rules]
        self._compiled = [_Compiled(rule, pattern.render(tree)) for rule, tree in zip(rules, trees, strict=True)]
        blocks = (place for place, rule in enumerate(rules) if rule.recognizer.block_characters)
        # What waits longest is looked at first: there is less to look at before it.
        self._blocks = sorted(blocks, key=lambda place: -rules[place].recognizer.longest)
        self._longest = max(pattern.width(tree)[1] for tree in trees)
        self._set = _set_of([pattern.render(tree) for tree in trees])
        begun = "|".join(f"(?:{pattern.beginnings(tree)})" for tree in trees)
        self._beginning = pattern.finder(rf"(?:{begun})\z", _MAX_TABLE_BYTES)

    def scan(self, seen: bytes, start: int, *, final: bool) -> tuple[list[Match], int]:
        """What is found from `start` on, and the place from which on nothing is decided yet.

        What lies before `start` has been decided; it is looked at for context and for the edge of a word. With `final`
        no more text will come, and everything is decided.
        """
        open_from = end = len(seen)
        if not final and (begun := self._beginning(seen, max(start, end - self._longest))) >= 0:
            open_from = begun
        # What waits may be long, and comes here again with each piece: nothing in it is searched for that cannot count.
        matching = self._set.Match(seen[start - 1 :] if start else seen) if open_from > start else ()
        if not matching:
            return [], open_from
        looked_at = self._before_blocks(matching, _Looked(seen, open_from, final), start)
        found: list[Match] = []
        candidates = self._candidates(matching, looked_at, start)
        while candidates:
            match = _first(candidates, seen)
            if match.end > looked_at.open_from:
                return found, match.start
            found.append(match)
            candidates = self._again(candidates, looked_at, match.end)
        return found, looked_at.open_from

    def _before_blocks(self, matching: Sequence[int], looked_at: _Looked, start: int) -> _Looked:
        """What is before the blocks whose end may still come: nothing in them or behind them can be decided."""
        for place in self._blocks:
            block = self._compiled[place].next(looked_at, start) if place in matching else None
            if block is not None and block.end > looked_at.open_from:
                looked_at = looked_at._replace(open_from=block.start)
        return looked_at

    def _candidates(self, matching: Sequence[int], looked_at: _Looked, start: int) -> list[_Candidate]:
        """The first credible match of each rule of which it is known that its pattern matches."""
        found = (self._compiled[place].next(looked_at, start) for place in sorted(matching))
        return [candidate for candidate in found if candidate]

    def _again(self, candidates: list[_Candidate], looked_at: _Looked, start: int) -> list[_Candidate]:
        """The candidates behind an accepted match: those in its way are searched for again."""
        found = (one if one.start >= start else one.by.next(looked_at, start) for one in candidates)
        return [candidate for candidate in found if candidate]


class _Looked(NamedTuple):
    """What is searched: matches count that begin before `open_from`; `final` is whether no more will come."""

    seen: bytes
    open_from: int
    final: bool


@dataclass(frozen=True, slots=True)
class _Candidate:
    start: int
    end: int
    by: _Compiled


class _Compiled:
    """One rule, ready to search."""

    __slots__ = ("_anywhere", "_block", "_context", "_inside", "_program", "_until", "rule")

    def __init__(self, rule: Rule, text: str) -> None:
        recognizer = rule.recognizer
        self.rule = rule
        self._program = pattern.compiled(text)
        weak = recognizer.score < rule.threshold and recognizer.context
        self._context = pattern.compiled(rf"(?i)(?:\b|_)(?:{_any(recognizer.context)})") if weak else None
        self._anywhere = pattern.compiled(f"(?i){_any(recognizer.context)}") if weak else None
        self._until = pattern.compiled(pattern.render(pattern.parse(recognizer.until))) if recognizer.until else None
        block = recognizer.block_characters
        self._block = re.compile(f"[{block}]*".encode("latin-1")) if block else None
        self._inside = (
            frozenset(re.findall(f"[{block}]".encode("latin-1"), bytes(range(256)))) if block else frozenset()
        )

    def next(self, looked_at: _Looked, start: int) -> _Candidate | None:
        """The first credible match from `start` on that counts."""
        seen, open_from, final = looked_at
        whole = self.rule.recognizer.whole
        while match := self._program.search(seen, start):
            begin, end = match.span()
            if begin >= open_from:
                break
            if self._block:
                end = self._end_of_block(self._block, seen, begin, end, final)
            fits = self._may_begin(seen, begin)
            if fits and self._is_sure(seen, begin) and (accepted := self._accepted(seen, begin, end)):
                return _Candidate(begin, accepted, self)
            start = max(end if whole else begin + 1, self._first_in_context(seen, begin))
        return None

    def _may_begin(self, seen: bytes, begin: int) -> bool:
        """Whether what stands right before a match allows it."""
        recognizer = self.rule.recognizer
        if recognizer.whole and begin > 0 and seen[begin - 1 : begin] in self._inside:
            return False
        return not recognizer.not_behind or not seen.endswith(recognizer.not_behind.encode("latin-1"), 0, begin)

    def _first_in_context(self, seen: bytes, begin: int) -> int:
        """Where a weak pattern is worth searching again, so that many numbers with no word near them cost little."""
        if not self._anywhere:
            return 0
        word = self._anywhere.search(seen, max(0, begin - CONTEXT_CHARS))
        return int(word.start()) + 1 if word else len(seen)

    @property
    def is_weak(self) -> bool:
        """Whether a match counts only behind a word of its context."""
        return self._context is not None

    def word_before(self, seen: bytes, begin: int) -> int:
        """Where the last word of the context before a match ends."""
        at = max(0, begin - CONTEXT_CHARS)
        words = self._context.finditer(seen[at:begin]) if self._context else ()
        return max((at + int(word.end()) for word in words), default=-1)

    def _is_sure(self, seen: bytes, begin: int) -> bool:
        """Whether the pattern, with the context before the match, is worth the rule's threshold."""
        score, threshold = self.rule.recognizer.score, self.rule.threshold
        if score >= threshold or self._context is None:
            return score >= threshold
        before = seen[max(0, begin - CONTEXT_CHARS) : begin]
        return self._context.search(before) is not None and scored_in_context(score) >= threshold

    def _accepted(self, seen: bytes, begin: int, end: int) -> int:
        """Where the longest match ends that the recognizer takes for valid; 0 where there is none.

        A block whose end may still come is not asked yet.
        """
        valid = self.rule.recognizer.valid
        if valid is None or end > len(seen):
            return end
        for _ in range(_MAX_TRIES):
            if valid(seen[begin:end].decode("latin-1")):
                return end
            shorter = None if self._block else self._program.match(seen, begin, end - 1)
            if shorter is None:
                break
            end = shorter.end()
        return 0

    def _end_of_block(self, block: re.Pattern[bytes], seen: bytes, begin: int, end: int, final: bool) -> int:
        """Where a block ends; beyond all that is seen where its end may still come."""
        last = begin + self.rule.recognizer.longest
        inside = block.match(seen, end, last)
        run = inside.end() if inside else end
        closing = self._until.search(seen, end, run) if self._until else None
        if closing:
            return int(closing.end())
        if final or run < len(seen) or run == last:
            return end + len(seen[end:run].rstrip(b"."))  # a full stop ends the sentence, not the block
        return len(seen) + 1


def _first(candidates: Sequence[_Candidate], seen: bytes) -> Match:
    """The match to take, as long as whatever overlaps it. A rule that blocks gives its name to what it overlaps."""
    first = min(candidates, key=lambda one: (one.start, -one.end))
    equal = [one for one in candidates if one.start == first.start and one.end == first.end]
    if len(equal) > 1:
        first = _likeliest(equal, seen)
    overlapping = [one for one in candidates if one.start < first.end]
    named = next((one for one in overlapping if one.by.rule.action is Action.BLOCK), first)
    return Match(first.start, max(one.end for one in overlapping), named.by.rule)


def _likeliest(equal: Sequence[_Candidate], seen: bytes) -> _Candidate:
    """Of matches of the same text the first, but where only its context makes it count, and no check, the one whose
    word stands nearest."""
    first = equal[0]
    if not (first.by.is_weak and first.by.rule.by_word):
        return first
    return max((one for one in equal if one.by.rule.by_word), key=lambda one: one.by.word_before(seen, one.start))


def _set_of(patterns: Sequence[str]) -> re2.Set:
    """All patterns in one pass. Raises `InvalidPattern` where there is no room for them.

    A set without room to work would find nothing, silently. RE2 tries it out before it says that it is compiled.
    """
    found = re2.Set.SearchSet(pattern.options(_MAX_TABLE_BYTES))
    try:
        for text in patterns:
            found.Add(text.encode("latin-1"))
        found.Compile()
    except re2.error:
        raise pattern.InvalidPattern("RE2 has no room for all patterns together") from None
    return found


def _any(words: Sequence[str]) -> str:
    """Any of the words of a context: a word begins where a word does, or a part of a name such as `api_key`."""
    return "|".join(map(re2.escape, words))
