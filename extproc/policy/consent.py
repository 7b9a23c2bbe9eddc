"""What the person behind a request has agreed to, as the request's metadata says it, and what a gateway may demand.

The shape is that of LiteLLM's security page: `{"user_consent": "analytics:true,storage:true", "consent_date":
"2024-01-01"}`. The request's own metadata counts; where it tells nothing that of the key, then that of the key's user.
What is not plainly granted is not granted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta

import msgspec

from extproc.model import Key, UnixMs
from extproc.policy import refusals
from extproc.policy.refusals import Refusal

CONSENT, GIVEN_ON = "user_consent", "consent_date"
#: The purpose without which no message of a person who was asked is stored.
STORAGE = "storage"
#: Somebody's clock, or time zone, may be ahead.
_AHEAD = timedelta(days=1)


class Demand(msgspec.Struct, frozen=True):
    """What every request must have consent to. `max_age_days` is how old a consent may be, `None` for any."""

    purposes: tuple[str, ...] = ()
    max_age_days: int | None = None

    def check(self, key: Key, metadata: Mapping[str, object], now: UnixMs) -> Refusal | None:
        """Refuse a request without the consent that is demanded."""
        if not self.purposes and self.max_age_days is None:
            return None
        told = told_of(key, metadata)
        missing = [purpose for purpose in self.purposes if not grants(told, purpose)]
        if missing:
            return refusals.consent_missing(missing)
        if self.max_age_days is not None and not _is_recent(told.get(GIVEN_ON), self.max_age_days, now):
            return refusals.consent_out_of_date(self.max_age_days)
        return None


def told_of(key: Key, metadata: Mapping[str, object]) -> Mapping[str, object]:
    """The metadata that tells of a consent, or nothing."""
    owner = key.user.metadata if key.user is not None else {}
    return next((each for each in (metadata, key.metadata, owner) if each.get(CONSENT) is not None), {})


def grants(told: Mapping[str, object], purpose: str) -> bool:
    """Whether the consent plainly has this purpose. One that is granted and denied is denied."""
    answers = {granted for name, granted in _answers(told.get(CONSENT)) if name == purpose.casefold()}
    return answers == {True}


def forbids_storage(told: Mapping[str, object]) -> bool:
    """Whether a consent was told that does not have storage in it."""
    return told.get(CONSENT) is not None and not grants(told, STORAGE)


def _answers(consent: object) -> Iterator[tuple[str, bool]]:
    """Purposes and whether they are granted, of a text (`a:true,b:false`) or of an object."""
    if isinstance(consent, str):
        for part in consent.split(","):
            name, _, granted = part.partition(":")
            yield name.strip().casefold(), granted.strip().casefold() == "true"
    elif isinstance(consent, dict):
        for name, value in consent.items():
            yield str(name).strip().casefold(), value is True


def _is_recent(told: object, max_age_days: int, now: UnixMs) -> bool:
    today = datetime.fromtimestamp(now / 1_000, UTC).date()
    try:
        given_on = date.fromisoformat(told[:10]) if isinstance(told, str) else None
    except ValueError:
        given_on = None
    return given_on is not None and today - timedelta(days=max_age_days) <= given_on <= today + _AHEAD
