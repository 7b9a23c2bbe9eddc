"""Which recognizers find an entity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from extproc.redaction.national_ids import NATIONAL_IDS
from extproc.redaction.placeholders import LITERAL
from extproc.redaction.recognizer import Recognizer, Valid
from extproc.redaction.recognizers import RECOGNIZERS
from extproc.redaction.secrets_recognizers import SECRETS_RECOGNIZERS

#: What looks like a placeholder of ours: see `placeholders.py`.
PLACEHOLDER = Recognizer(LITERAL, r"(?i)(?:<|\\u003c)[a-z](?:[a-z0-9]|\\{0,2}_){1,80}(?:>|\\u003e)", 253, score=1.0)
_BUILT_IN = RECOGNIZERS + SECRETS_RECOGNIZERS
_NATIONAL_NAMES = tuple(row.recognizer.entity for row in NATIONAL_IDS)
#: What no check digit and no prefix tells from other texts: a match that is just as well something else is something
#: else, and of several of these what the nearest word says.
WITHOUT_CHECK = ("US_SSN", "US_PASSPORT", "US_BANK_NUMBER", "US_DRIVER_LICENSE", "PHONE_NUMBER", "SECRET")
_ALL = dict.fromkeys([*(row.entity for row in _BUILT_IN), *_NATIONAL_NAMES])
#: Every entity that can be asked for by its name, some only with an extra installed; of equal matches the first counts.
ENTITIES = (*(entity for entity in _ALL if entity not in WITHOUT_CHECK), *WITHOUT_CHECK)


class UnknownEntity(ValueError):
    """An entity that no recognizer finds here. `str()` names it, and the extra that would find it."""


def recognizers(entity: str, known: Mapping[str, Valid], *, required: bool = True) -> list[Recognizer]:
    """The recognizers of an entity. `known` are the checks that extras brought, by entity.

    Raises `UnknownEntity` where there is none and one is `required`.
    """
    found = [_checked(row, known.get(entity)) for row in _BUILT_IN if row.entity == entity]
    if entity in known:
        found += [
            replace(row.recognizer, valid=known[entity]) for row in NATIONAL_IDS if row.recognizer.entity == entity
        ]
    if required and not found:
        extra = "; it needs python-stdnum: pip install 'llm-extproc[ids]'" if entity in _NATIONAL_NAMES else ""
        raise UnknownEntity(f"no recognizer finds {entity!r}{extra}")
    return found


def findable(known: Mapping[str, Valid]) -> list[str]:
    """Every entity that some recognizer finds here."""
    return [entity for entity in ENTITIES if recognizers(entity, known, required=False)]


def rank(entity: str) -> int:
    """Where an entity stands among the others; one from the configuration stands first."""
    return ENTITIES.index(entity) if entity in ENTITIES else -1


def _checked(row: Recognizer, known: Valid | None) -> Recognizer:
    """A row with a further check of an extra: both must agree."""
    if known is None:
        return row
    own = row.valid
    return replace(row, valid=known if own is None else lambda text: own(text) and known(text))
