"""What no key gets more of, whoever asks, and what a new key gets unasked: LiteLLM's `upperbound_key_generate_params`
and `default_key_generate_params`.

A value above a bound is refused, never cut. A bound is a default, too: a new key that asks for nothing gets it, and
nobody can take it away again. Durations are compared as the moments that they lead to from now on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from extproc.model import Nanos, UnixMs
from extproc.policy import windows

#: A key's `duration` that means for ever.
FOR_EVER = "-1"
#: Later than any moment that a duration leads to.
_NEVER: UnixMs = 1 << 62
_DURATIONS = frozenset({"budget_duration", "duration"})


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """By the names of a key's fields; `None` is no bound. Durations are texts that `windows.parse` reads."""

    max_budget: Nanos | None = None
    budget_duration: str | None = None
    duration: str | None = None
    max_parallel_requests: int | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None

    @property
    def told(self) -> dict[str, Any]:
        """Those that there are."""
        values = msgspec.structs.asdict(self)
        return {name: value for name, value in values.items() if value not in (None, (), {})}


class Defaults(Bounds, frozen=True, kw_only=True):
    """What a new key gets that does not ask for it."""

    models: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    team_id: str | None = None


def exceeded(bounds: Bounds, asked: Mapping[str, Any], now: UnixMs) -> str | None:
    """The first field of what is asked that is above its bound. Raises `ValueError` for what is no duration."""
    for name, bound in bounds.told.items():
        value = asked.get(name)
        if value is not None and _measure(name, value, now) > _measure(name, bound, now):
            return name
    return None


def exceeded_for_a_time(bounds: Bounds, max_budget: Nanos | None, increase: Nanos | None) -> bool:
    """Whether a budget with its temporary increase is above the bound."""
    return None not in {bounds.max_budget, max_budget} and (max_budget or 0) + (increase or 0) > (
        bounds.max_budget or 0
    )


def _measure(name: str, value: Any, now: UnixMs) -> int:
    if name not in _DURATIONS:
        return int(value)
    return _NEVER if value == FOR_EVER else windows.expiry(windows.parse(value), now)
