"""One text, redacted as it arrives.

Strategy: what is searched is the view of the text (`view.py`), what is replaced is the text under it. A stream keeps
the text that is not decided yet, and of what it gave away the last characters of its view, the context of what follows.
Rules that only log search by themselves, so that what is logged never hides what must be masked.

However a text is cut, what `feed` and `flush` give, joined, is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from extproc.errors import Blocked, TextTooLong
from extproc.redaction.placeholders import LITERAL, Placeholders
from extproc.redaction.recognizer import CONTEXT_CHARS, scored_in_context
from extproc.redaction.scanner import Action, Match, Rule, Scanner
from extproc.redaction.view import View, unescaped, without_begun_escape

#: So much of a text may wait for what comes next: twice the longest match with all of it in escapes, and a slice.
MAX_PENDING_CHARS = 256 * 1024
_LONG_CHARS = 64
#: A finding's text, its rule and its place; gives what comes instead.
Written: TypeAlias = Callable[[str, Rule, int], str]


class Span(NamedTuple):
    """Where something was found: characters of the text as it came in; in a stream, of all that was fed."""

    start: int
    end: int
    entity: str
    action: Action
    #: How sure it is, from 0 to 1.
    score: float = 1.0


@dataclass(slots=True)
class Findings:
    """What was found: how often, by entity and action, and where; never the values. Of a dry run: what was spared."""

    counts: Counter[tuple[str, Action]] = field(default_factory=Counter)
    spans: list[Span] = field(default_factory=list)

    def add(self, span: Span) -> None:
        self.counts[span.entity, span.action] += 1
        self.spans.append(span)

    def update(self, other: Findings) -> None:
        """Take in what was found elsewhere; its spans keep the places of their own text."""
        self.counts.update(other.counts)
        self.spans.extend(other.spans)


@dataclass(frozen=True, slots=True)
class Replacement:
    """What comes in place of a value, in one exchange. In a `guarded` text every placeholder is one of ours."""

    vault: Placeholders
    dry_run: bool
    restorable: bool
    guarded: bool = False

    def of(self, value: str, rule: Rule) -> str | None:
        """The replacement, or `None` where the text stays. Raises `Blocked`."""
        entity, action = rule.recognizer.entity, rule.action
        if self.dry_run or action is Action.LOG or (self.guarded and entity == LITERAL):
            return None
        if action is Action.BLOCK:
            raise Blocked(entity)
        if action is Action.HASH:
            return self.vault.hash(entity, value)
        return self.vault.mask(entity, value, restorable=self.restorable)


class StreamRedactor:
    """Feed it a text's pieces; it gives what is decided. Raises `Blocked`, and is of no more use then.

    Escapes are seen through, and a value is what is written there. `escaped` texts are the inside of JSON's strings,
    cut at no escape of theirs: what those stand for is the text. `before` is the view of what stands before the text
    and belongs to another one, `place` how many characters that was.
    """

    __slots__ = ("_begun", "_escaped", "_passes", "_replacement", "findings")

    def __init__(
        self,
        scanners: Sequence[Scanner],
        replacement: Replacement,
        findings: Findings | None = None,
        *,
        escaped: bool = False,
        before: bytes = b"",
        place: int = 0,
    ) -> None:
        self._replacement = replacement
        self._escaped = escaped
        self._begun = ""
        self._passes = [_Pass(scanner, before, place, escaped) for scanner in scanners]
        self.findings = Findings() if findings is None else findings

    @property
    def held(self) -> int:
        """How many characters wait for what comes next."""
        return len(self._begun) + max((len(one.pending) for one in self._passes), default=0)

    def feed(self, text: str, *, final: bool = False) -> str:
        """What is decided now; all of it when the piece is the `final` one."""
        if self._begun or "\\" in text:
            text = self._without_begun(text, final)
        given = text
        for number, one in enumerate(self._passes):
            decided = one.read(text, self._written, final=final)
            given = decided if number == 0 else given
        return given

    def flush(self) -> str:
        """The text is over: the rest of it."""
        return self.feed("", final=True)

    def _without_begun(self, text: str, final: bool) -> str:
        """What has come of a text but for an escape that has only begun, which is kept."""
        text, self._begun = self._begun + text, ""
        if final:
            return text
        end = without_begun_escape(text, escaped=self._escaped)
        self._begun = text[end:]
        return text[:end]

    def seen_before(self) -> bytes:
        """The view of the last characters given away: the context of what follows the text."""
        return self._passes[0].kept if self._passes else b""

    def _written(self, piece: str, rule: Rule, place: int) -> str:
        """What a rule has found as it is given away, and counted."""
        if rule.recognizer.entity != LITERAL:
            self.findings.add(Span(place, place + len(piece), rule.recognizer.entity, rule.action, _score(rule)))
        replacement = self._replacement.of(unescaped(piece) if self._escaped else piece, rule)
        return piece if replacement is None else replacement


def _score(rule: Rule) -> float:
    """What a finding of a rule is worth: a weak pattern's is none without a word of its context."""
    score = rule.recognizer.score
    return score if score >= rule.threshold else scored_in_context(score)


class _Pass:
    """One scanner's way through a text."""

    __slots__ = ("_escaped", "_place", "_scanner", "_waiting", "kept", "pending")

    def __init__(self, scanner: Scanner, before: bytes, place: int, escaped: bool) -> None:
        self._scanner = scanner
        self._escaped = escaped
        self._place = place
        self._waiting: View | None = None
        self.kept = before
        self.pending = ""

    def read(self, text: str, written: Written, *, final: bool) -> str:
        """What a piece decides, with what is `written` for each finding: its text, its rule, where it began."""
        view = self._view(text)
        before = len(self.kept)
        seen = self.kept + view.seen
        matches, open_from = self._scanner.scan(seen, before, final=final)
        last = len(view.text) if final else view.start(open_from - before)
        # Mostly nothing is found, and this is all that a piece costs.
        given = self._replaced(view, matches, last, written) if matches else view.text[:last]
        self._place += last
        self.pending = view.text[last:]
        self.kept = seen[max(0, open_from - CONTEXT_CHARS) : open_from]
        if len(self.pending) > _LONG_CHARS:
            self._keep(view, open_from - before)
        return given

    def _view(self, text: str) -> View:
        """The view of what waits and of what has come. To make a short one again is the least work."""
        view, self._waiting = self._waiting, None
        if view is None:
            return View(self.pending + text, escaped=self._escaped)
        view.grow(text)
        return view

    def _keep(self, view: View, at: int) -> None:
        """A long view is kept. What nobody sees may wait without end, for nothing in it is ever decided."""
        if len(self.pending) > MAX_PENDING_CHARS:
            raise TextTooLong(len(self.pending), MAX_PENDING_CHARS)
        view.drop(at)
        self._waiting = view

    def _replaced(self, view: View, matches: Sequence[Match], last: int, written: Written) -> str:
        given, at, before = [], 0, len(self.kept)
        for match in matches:
            start, end = view.start(match.start - before), view.end(match.end - before)
            given += [view.text[at:start], written(view.text[start:end], match.rule, self._place + start)]
            at = end
        return "".join([*given, view.text[at:last]])
