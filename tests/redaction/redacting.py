"""Policies, compiled once, and texts cut in any way."""

from collections.abc import Mapping
from functools import cache

from extproc.redaction import Action, Direction, Placeholders, Policy, Redactor, validators


@cache
def compiled(*entities: str) -> Redactor:
    """A redactor that masks these entities in requests."""
    return Policy(request=dict.fromkeys(entities, Action.MASK)).compile(Direction.REQUEST, validators())


def found(redactor: Redactor, text: str) -> list[tuple[str, str]]:
    """What a redactor finds in a text: entities and the texts."""
    findings = redactor.redact(text, Placeholders()).findings
    return [(span.entity, text[span.start : span.end]) for span in findings.spans]


def redactor(actions: Mapping[str, Action], direction: Direction = Direction.REQUEST, **options) -> Redactor:
    """A redactor for one direction, with the actions for both."""
    return Policy(request=actions, response=actions, **options).compile(direction, validators())


def cut(text: str, sizes: list[int]) -> list[str]:
    """A text in pieces of these sizes, and the rest of it."""
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    return [*pieces, text[at:]]
