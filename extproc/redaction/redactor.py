"""A policy, compiled: whole texts in, redacted texts out, and the streams for texts that arrive in pieces.

A whole text is a stream of one piece, so there is one way to find things, and it is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from extproc.errors import TextTooLong
from extproc.redaction.json_text import JsonStreamRedactor
from extproc.redaction.placeholders import LITERAL, Placeholders
from extproc.redaction.scanner import Action, Rule, Scanner
from extproc.redaction.streaming import Findings, Replacement, StreamRedactor

#: A text is searched so much at a time: a hostile one takes about a quarter of a second for it.
SLICE_CHARS = 32 * 1024
Checkpoint: TypeAlias = Callable[[], None]


def _go_on() -> None:
    """Nobody waits."""


class Redacted(NamedTuple):
    text: str
    findings: Findings


class Redactor:
    """A policy for one direction, compiled. Holds nothing of any exchange.

    `restorable` says whether what is masked may be put back into answers: true for requests. `blocked` are the entities
    that may not pass.
    """

    __slots__ = ("_guards", "_longest_text", "_scanners", "blocked", "dry_run", "restorable")

    def __init__(
        self, rules: Sequence[Rule], *, dry_run: bool = False, restorable: bool = True, longest_text: int = 1 << 22
    ) -> None:
        acting = [rule for rule in rules if rule.action is not Action.LOG]
        watching = [rule for rule in rules if rule.action is Action.LOG]
        self._scanners = tuple(Scanner(some) for some in (acting, watching) if some)
        self._guards = any(rule.recognizer.entity == LITERAL for rule in rules)
        self._longest_text = longest_text
        self.blocked = frozenset(rule.recognizer.entity for rule in acting if rule.action is Action.BLOCK)
        self.dry_run = dry_run
        self.restorable = restorable

    @property
    def idle(self) -> bool:
        """Whether there is nothing to look for, so that texts need not be given at all."""
        return not self._scanners

    @property
    def guards(self) -> bool:
        """Whether placeholders that the client wrote itself are masked, too (see `placeholders.py`)."""
        return self._guards

    def redact(
        self, text: str, vault: Placeholders, *, guarded: bool = False, checkpoint: Checkpoint = _go_on
    ) -> Redacted:
        """The text without what must not pass.

        `guarded`: another policy's redactor that `guards` has seen the text before, so its placeholders are ours.
        `checkpoint` is called every `SLICE_CHARS` characters; what it raises ends the search. Raises `Blocked` where
        the policy blocks what is found, `TextTooLong` beyond `Policy.longest_text`.
        """
        self._check(text)
        stream = StreamRedactor(self._scanners, self._replacement(vault, guarded))
        return Redacted(_read(stream, text, checkpoint), stream.findings)

    def redact_json_text(
        self, text: str, vault: Placeholders, *, guarded: bool = False, checkpoint: Checkpoint = _go_on
    ) -> Redacted:
        """The same for JSON inside a string, as the arguments of a tool call are: what is JSON stays JSON.

        Strings, keys and numbers are searched as what they stand for. What is not JSON is searched as text, also
        through its escapes.
        """
        self._check(text)
        stream = JsonStreamRedactor(self._scanners, self._replacement(vault, guarded))
        return Redacted(_read(stream, text, checkpoint), stream.findings)

    def stream(self, vault: Placeholders) -> StreamRedactor:
        """For one text that arrives in pieces."""
        return StreamRedactor(self._scanners, self._replacement(vault))

    def json_stream(self, vault: Placeholders) -> JsonStreamRedactor:
        """For one JSON text that arrives in pieces."""
        return JsonStreamRedactor(self._scanners, self._replacement(vault))

    def _replacement(self, vault: Placeholders, guarded: bool = False) -> Replacement:
        return Replacement(vault, self.dry_run, self.restorable, guarded)

    def _check(self, text: str) -> None:
        if len(text) > self._longest_text:
            raise TextTooLong(len(text), self._longest_text)


def _read(stream: StreamRedactor | JsonStreamRedactor, text: str, checkpoint: Checkpoint) -> str:
    """All of a text through a stream, in slices: however it is cut, the outcome is the same."""
    given, done = [], 0
    while len(text) - done > SLICE_CHARS:
        given.append(stream.feed(text[done : done + SLICE_CHARS]))
        done += SLICE_CHARS
        checkpoint()
    return "".join([*given, stream.feed(text[done:], final=True)])
