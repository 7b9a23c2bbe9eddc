"""What others found in a text, a model or a server, and what is done about it.

Strategy: others search what the engine has left. What it masked is a placeholder by then, and a finding never touches
one: it is cut around it. Findings that overlap become one, for a value must not lose its own tail; the one that blocks
gives it its name, else the one that begins first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from extproc.redaction.placeholders import Placeholders
from extproc.redaction.policy import DEFAULT_THRESHOLD
from extproc.redaction.recognizer import Recognizer
from extproc.redaction.scanner import Action, Rule
from extproc.redaction.streaming import Findings, Replacement, Span

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{0,63}_(?:[0-9]+|[0-9a-f]{16})>")


class Found(NamedTuple):
    """A finding: characters of the text, and how sure whoever found it is, from 0 to 1."""

    start: int
    end: int
    entity: str
    score: float


@dataclass(frozen=True, slots=True)
class Outside:
    """What is done about what others find, in one direction. What has no action passes, and so has a weak finding."""

    actions: Mapping[str, Action] = field(default_factory=dict)
    threshold: float = DEFAULT_THRESHOLD
    thresholds: Mapping[str, float] = field(default_factory=dict)
    dry_run: bool = False
    restorable: bool = True

    @property
    def entities(self) -> tuple[str, ...]:
        """What is to be looked for."""
        return tuple(entity for entity, action in self.actions.items() if action is not Action.ALLOW)

    def redact(self, text: str, found: Sequence[Found], vault: Placeholders, findings: Findings) -> str:
        """The text without what was found; what was done is added to `findings`. Raises `Blocked`."""
        replacement = Replacement(vault, self.dry_run, self.restorable)
        given, at = [], 0
        for start, end, entity in self._decided(text, found):
            rule = Rule(Recognizer(entity, "", 0), self.actions[entity], 0.0)
            findings.add(Span(start, end, entity, rule.action))
            put = replacement.of(text[start:end], rule)
            given += [text[at:start], text[start:end] if put is None else put]
            at = end
        return "".join([*given, text[at:]])

    def _decided(self, text: str, found: Sequence[Found]) -> Iterator[tuple[int, int, str]]:
        """What is acted on: in order, without overlaps, around placeholders."""
        sure = [one for one in found if one.entity in self.entities and one.score >= self._least(one.entity)]
        for start, end, entity in self._joined(sorted(sure)):
            for left, right in _around_placeholders(text, start, end):
                yield left, right, entity

    def _joined(self, found: Sequence[Found]) -> list[tuple[int, int, str]]:
        joined: list[tuple[int, int, str]] = []
        for start, end, entity, _ in found:
            if not joined or start >= joined[-1][1]:
                joined.append((start, end, entity))
                continue
            first, last, name = joined[-1]
            blocks = self.actions[name] is not Action.BLOCK and self.actions[entity] is Action.BLOCK
            joined[-1] = (first, max(last, end), entity if blocks else name)
        return joined

    def _least(self, entity: str) -> float:
        return self.thresholds.get(entity, self.threshold)


def _around_placeholders(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a finding that are no placeholder, without the white space around them."""
    at = start
    for match in _PLACEHOLDER.finditer(text):
        if match.end() <= start or match.start() >= end:
            continue
        yield from _stripped(text, at, match.start())
        at = match.end()
    yield from _stripped(text, at, end)


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    part = text[start:end] if start < end else ""
    if part.strip():
        yield start + len(part) - len(part.lstrip()), start + len(part.rstrip())
