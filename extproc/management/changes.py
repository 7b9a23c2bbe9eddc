"""What a request sets: LiteLLM's fields, as far as they were given, turned into the fields of our values.

Null takes a limit, a budget or an id away and empties a collection; for what can be neither (`blocked`, `spend`) it
means "as it is". What has no field of its own goes into `fields`, to be shown again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import BaseModel

from extproc.management.allowances import duration, settle_allowance
from extproc.management.errors import bad_request
from extproc.management.parts import ManagementParts

#: A key and its owners are kept in memory by the data path: what is attached to them stays small.
MAX_ATTACHED_BYTES = 64 * 1024
#: Kept aside, and given to others later: what cannot be must not get that far.
_DURATIONS = ("team_member_budget_duration", "team_member_key_duration")


def changes_of(
    wanted: BaseModel,
    kind: type[msgspec.Struct],
    parts: ManagementParts,
    *,
    renamed: Mapping[str, str] | None = None,
    further: type[BaseModel] | None = None,
) -> dict[str, Any]:
    """The fields of `kind` that a request sets. `renamed` gives ours for names of LiteLLM's, `further` is what is kept
    aside. Raises `Refused` (400) for what cannot be."""
    names = renamed or {}
    given = {names.get(name, name): getattr(wanted, name) for name in wanted.model_fields_set}
    changes = _known(given, kind)
    settle_allowance(changes, parts.now(), parts.zone)
    if further is not None:
        kept = wanted.model_dump(mode="json", include={*further.model_fields}, exclude_unset=True)
        for name in _DURATIONS:
            if kept.get(name):
                duration(kept[name], name)
        if kept:
            changes["fields"] = kept
    check_size(changes)
    return changes


def for_new(changes: Mapping[str, Any]) -> dict[str, Any]:
    """For a new row there is nothing to take away."""
    further = {name: value for name, value in changes.get("fields", {}).items() if value is not None}
    return {**changes, "fields": further}


def check_size(changes: Mapping[str, Any]) -> None:
    """Raises `Refused` (400) where more is attached than a data path should carry."""
    for name in ("metadata", "fields"):
        if len(json.dumps(changes.get(name))) > MAX_ATTACHED_BYTES:
            raise bad_request(f"{name} is larger than {MAX_ATTACHED_BYTES} bytes.", name)


def _known(given: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Those that are fields of this kind, with null as the empty collection where the field is one."""
    changes: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name not in given:
            continue
        value = given[field.name]
        if value is None and field.default == ():
            value = ()
        elif value is None and field.default_factory is dict:
            value = {}
        if value is not None or field.default is None:
            changes[field.name] = tuple(value) if isinstance(value, list) and field.default == () else value
    return changes
