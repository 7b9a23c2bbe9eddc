"""A policy, compiled: whole texts in, redacted texts out, and the streams for texts that arrive in pieces.

A whole text is a stream of one piece, so there is one way to find things, and it is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from extproc.errors import TextTooLong
from extproc.redaction.json_text import JsonStreamRedactor
from extproc.redaction.placeholders import Placeholders
from extproc.redaction.scanner import Action, Rule, Scanner
from extproc.redaction.streaming import Findings, Replacement, StreamRedactor


class Redacted(NamedTuple):
    text: str
    findings: Findings


class Redactor:
    """A policy for one direction, compiled. Holds nothing of any exchange.

    `restorable` says whether what is masked may be put back into answers: true for requests.
    """

    __slots__ = ("_longest_text", "_scanners", "dry_run", "restorable")

    def __init__(
        self, rules: Sequence[Rule], *, dry_run: bool = False, restorable: bool = True, longest_text: int = 1 << 22
    ) -> None:
        acting = [rule for rule in rules if rule.action is not Action.LOG]
        watching = [rule for rule in rules if rule.action is Action.LOG]
        self._scanners = tuple(Scanner(some) for some in (acting, watching) if some)
        self._longest_text = longest_text
        self.dry_run = dry_run
        self.restorable = restorable

    @property
    def idle(self) -> bool:
        """Whether there is nothing to look for, so that texts need not be given at all."""
        return not self._scanners

    def redact(self, text: str, vault: Placeholders) -> Redacted:
        """The text without what must not pass.

        Raises `Blocked` where the policy blocks what is found, `TextTooLong` beyond `Policy.longest_text`.
        """
        self._check(text)
        stream = self.stream(vault)
        return Redacted(stream.feed(text, final=True), stream.findings)

    def redact_json_text(self, text: str, vault: Placeholders) -> Redacted:
        """The same for JSON inside a string, as the arguments of a tool call are: what is JSON stays JSON.

        Strings, keys and numbers are searched as what they stand for. What is not JSON is searched as text, also
        through its escapes.
        """
        self._check(text)
        stream = self.json_stream(vault)
        return Redacted(stream.feed(text) + stream.flush(), stream.findings)

    def stream(self, vault: Placeholders) -> StreamRedactor:
        """For one text that arrives in pieces."""
        return StreamRedactor(self._scanners, self._replacement(vault))

    def json_stream(self, vault: Placeholders) -> JsonStreamRedactor:
        """For one JSON text that arrives in pieces."""
        return JsonStreamRedactor(self._scanners, self._replacement(vault))

    def _replacement(self, vault: Placeholders) -> Replacement:
        return Replacement(vault, dry_run=self.dry_run, restorable=self.restorable)

    def _check(self, text: str) -> None:
        if len(text) > self._longest_text:
            raise TextTooLong(len(text), self._longest_text)
