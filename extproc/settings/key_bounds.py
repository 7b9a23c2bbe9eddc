"""What keys get at most, and what they get unasked: `upperbound_key_generate_params`, `default_key_generate_params`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extproc.policy import windows
from extproc.policy.key_bounds import Bounds, Defaults, exceeded
from extproc.settings.document import Document
from extproc.settings.limits import nanos
from extproc.settings.schema import Configuration, KeyBounds, plain

_SECTIONS = ("upperbound_key_generate_params", "default_key_generate_params")
_DURATIONS = ("budget_duration", "duration")


def of(file: Configuration) -> dict[str, Any]:
    """The fields of `Settings` about them."""
    most, default = (getattr(file.litellm_settings, name) for name in _SECTIONS)
    further = {
        "models": tuple(default.models or ()),
        "metadata": plain(default.metadata or {}),
        "team_id": default.team_id,
    }
    return {"key_bounds": Bounds(**_bounds(most)), "key_defaults": Defaults(**_bounds(default), **further)}


def mistakes(file: Configuration, found: Document) -> Iterator[str]:
    """What has the right type and cannot be meant: one line for each."""
    told = [*_no_durations(file, found)]
    yield from told
    if not told:
        settings = of(file)
        # No duration depends on it, as long as it is the same for both.
        above = exceeded(settings["key_bounds"], settings["key_defaults"].told, now=0)
        if above is not None:
            place = found.at_value(("litellm_settings", _SECTIONS[1], above))
            yield f"{place}: {above} is above the one of upperbound_key_generate_params, so no key could be made"


def _no_durations(file: Configuration, found: Document) -> Iterator[str]:
    for section in _SECTIONS:
        for name in _DURATIONS:
            text = getattr(getattr(file.litellm_settings, section), name)
            try:
                windows.parse(text or "1d")
            except ValueError as error:
                yield f"{found.at_value(('litellm_settings', section, name))}: {name}: {error}"


def _bounds(section: KeyBounds) -> dict[str, Any]:
    told = {name: getattr(section, name) for name in Bounds.__struct_fields__}
    return {**told, "max_budget": nanos(section.max_budget)}
