"""What is done about what is found: a frozen value, and the redactor compiled from it.

An entity without an action is not looked for, so a policy costs what it asks for. `mask` puts a placeholder in place of
the value, `hash` a keyed hash; `block` refuses the exchange; `log` only counts; `allow` says that it was thought of.
A dry run finds, counts and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from extproc.redaction import catalog
from extproc.redaction.placeholders import LITERAL
from extproc.redaction.recognizer import Recognizer, Valid
from extproc.redaction.redactor import Redactor
from extproc.redaction.scanner import Action, Rule

DEFAULT_THRESHOLD = 0.4
MAX_TEXT_CHARS = 4 * 1024 * 1024
_ENTITY = re.compile(r"[A-Z][A-Z0-9_]{0,62}[A-Z]|[A-Z]")


class Direction(StrEnum):
    REQUEST = "request"
    RESPONSE = "response"


class OnFailure(StrEnum):
    """What becomes of an exchange whose texts cannot be searched: it is refused, or passes unsearched."""

    REFUSE = "refuse"
    ALLOW = "allow"


def check_name(entity: str) -> None:
    """Raises `UnknownEntity` for what no entity can be called: placeholders would not be known again."""
    if not _ENTITY.fullmatch(entity) or entity == LITERAL:
        raise catalog.UnknownEntity(
            f"{entity!r} is not a name for an entity: capital letters, digits and underscores, a letter at both ends"
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """What to look for, and what to do about it.

    `request` and `response` give each entity's action. `restore`: placeholders in answers become the client's values
    again. `custom` are recognizers from the configuration (`custom.py`); one whose entity is known already is searched
    for besides. `context` adds words to an entity's own. `threshold` is the score that a match must have, `thresholds`
    the same for single entities. `longest_text` is in characters; a longer text is an error, never a pass.
    `on_failure` is for the caller to heed. `guards` for who masks more than the engine finds (`outside.py`):
    placeholders that the client wrote itself are masked even where the engine has nothing else to mask.
    """

    request: Mapping[str, Action] = field(default_factory=dict)
    response: Mapping[str, Action] = field(default_factory=dict)
    restore: bool = True
    dry_run: bool = False
    custom: tuple[Recognizer, ...] = ()
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    threshold: float = DEFAULT_THRESHOLD
    thresholds: Mapping[str, float] = field(default_factory=dict)
    on_failure: OnFailure = OnFailure.REFUSE
    guards: bool = False
    longest_text: int = MAX_TEXT_CHARS

    def compile(self, direction: Direction, validators: Mapping[str, Valid] | None = None) -> Redactor:
        """The redactor of one direction. Costs up to a second: keep it, it holds nothing of any exchange.

        `validators` are what the installed extras know (`extras.validators()`). Raises `UnknownEntity` for an entity
        that no recognizer finds, and names the extra where one would; `InvalidPattern` for what cannot be compiled.
        """
        known = validators or {}
        actions = self.request if direction is Direction.REQUEST else self.response
        ordered = sorted(actions.items(), key=lambda pair: catalog.rank(pair[0]))
        rules = [rule for entity, action in ordered for rule in self._rules(entity, action, known)]
        restorable = direction is Direction.REQUEST and self.restore
        if restorable and not self.dry_run and (self.guards or any(rule.action is Action.MASK for rule in rules)):
            rules.append(Rule(catalog.PLACEHOLDER, Action.MASK, 0.0))
        return Redactor(rules, dry_run=self.dry_run, restorable=restorable, longest_text=self.longest_text)

    def _rules(self, entity: str, action: Action, known: Mapping[str, Valid]) -> list[Rule]:
        own = [recognizer for recognizer in self.custom if recognizer.entity == entity]
        check_name(entity)
        found = own + catalog.recognizers(entity, known, required=not own)
        if action is Action.ALLOW:
            return []
        threshold = self.thresholds.get(entity, self.threshold)
        words = self.context.get(entity, ())
        by_word = entity in catalog.WITHOUT_CHECK
        return [Rule(replace(one, context=one.context + tuple(words)), action, threshold, by_word) for one in found]
