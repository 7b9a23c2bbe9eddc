"""What the configuration gives to keys, and keeps them below; the administrator's requests are no exception.

As in LiteLLM, with two differences: a bound cannot be taken away by a null in `/key/update`, and a temporary increase
of a budget counts.
"""

from __future__ import annotations

from typing import Any, TypeVar

from extproc.management import schemas
from extproc.management.allowances import duration
from extproc.management.errors import Refused, bad_request
from extproc.management.money import to_dollars
from extproc.management.parts import ManagementParts
from extproc.model import Key, UnixMs
from extproc.policy import key_bounds

T = TypeVar("T", bound=schemas.KeyFields)
#: What asks for nothing; 0 is a limit.
_NOTHING: tuple[Any, ...] = (None, "", [], {})
_MONEY = frozenset({"max_budget"})


def with_defaults(parts: ManagementParts, wanted: schemas.GenerateKey) -> schemas.GenerateKey:
    """A new key with what it does not ask for. A `budget_duration` of null is a wish: a budget that never resets."""
    never_resets = {"budget_duration"} & wanted.model_fields_set
    told = parts.settings.key_defaults.told
    missing = {name: told[name] for name in told.keys() - never_resets if getattr(wanted, name) in _NOTHING}
    lists = {name: [*value] for name, value in missing.items() if isinstance(value, tuple)}
    return wanted.model_copy(update={**missing, **lists})


def of_new(parts: ManagementParts, wanted: T) -> T:
    """A new key with the bounds as its limits, where it asks for none. Raises `Refused` (400) for more."""
    bounds = parts.settings.key_bounds
    missing = {name: bound for name, bound in bounds.told.items() if getattr(wanted, name) in _NOTHING}
    bounded = wanted.model_copy(update=missing)
    _check(parts, bounded)
    return bounded


def of_changed(parts: ManagementParts, wanted: T, key: Key) -> T:
    """A change of a key; what takes a bounded limit away sets the bound. Raises `Refused` (400) for more.

    What is not asked for stays, even where the key has more from a time before the bound."""
    taken = {name: bound for name, bound in parts.settings.key_bounds.told.items() if name != "duration"}
    taken = {name: taken[name] for name in taken.keys() & wanted.model_fields_set if getattr(wanted, name) is None}
    bounded = wanted.model_copy(update=taken)
    _check(parts, bounded, key)
    return bounded


def _check(parts: ManagementParts, wanted: schemas.KeyFields, key: Key | None = None) -> None:
    bounds = parts.settings.key_bounds
    asked = {name: getattr(wanted, name) for name in bounds.told if getattr(wanted, name) not in _NOTHING}
    for name in ("budget_duration", "duration"):
        if name in asked and asked[name] != key_bounds.FOR_EVER:
            duration(asked[name], name)
    above = key_bounds.exceeded(bounds, asked, parts.now())
    if above is not None:
        raise _above(above, asked[above], bounds.told[above])
    if {"max_budget", "temp_budget_increase"} & wanted.model_fields_set:
        budget, increase = _as_it_will_be(wanted, key, "max_budget"), _increase(wanted, key, parts.now())
        if key_bounds.exceeded_for_a_time(bounds, budget, increase):
            raise _above("max_budget", (budget or 0) + (increase or 0), bounds.max_budget)


def _as_it_will_be(wanted: schemas.KeyFields, key: Key | None, name: str) -> int | None:
    found: int | None = getattr(wanted if key is None or name in wanted.model_fields_set else key, name)
    return found


def _increase(wanted: schemas.KeyFields, key: Key | None, now: UnixMs) -> int | None:
    """One that is over counts no more."""
    expiry: int | None = None if key is None else key.temp_budget_expiry
    over = "temp_budget_increase" not in wanted.model_fields_set and expiry is not None and expiry <= now
    return None if over else _as_it_will_be(wanted, key, "temp_budget_increase")


def _above(name: str, value: Any, bound: Any) -> Refused:
    asked, most = (to_dollars(value), to_dollars(bound)) if name in _MONEY else (value, bound)
    return bad_request(f"{name} is over max limit set in config - user_value={asked}; max_value={most}", name)
