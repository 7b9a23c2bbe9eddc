"""Who must be told of a change: caches that remember someone, and counters that were seeded for someone.

Caches are told always, also when the store did not say whether the change took place: asking again is cheap. Counters
are told where the ledger's sums or the limits may be others than those they started from: when somebody is made or
deleted, when `spend` is set, and when limits change, for a limit that was not there before has not been counted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from extproc.errors import StoreUnavailable
from extproc.holds import Scope
from extproc.management.parts import ManagementParts
from extproc.model import Allowance

logger = logging.getLogger(__name__)

_COUNTED = frozenset(Allowance.__struct_fields__) | {"spend", "budget_id"}
_OF_MODELS = ("model_rpm_limit", "model_tpm_limit", "model_max_budget")
#: Scopes of somebody's models.
_MODEL_SCOPES = {"api_key": "model_per_key", "team": "model_per_team"}


@contextlib.asynccontextmanager
async def told_of(parts: ManagementParts, *scopes: Scope, changes: Mapping[str, Any]) -> AsyncIterator[None]:
    """Tell of these changes to these, when they have been made. Raises `StoreUnavailable` where a counter must know
    and cannot be told."""
    try:
        yield
    finally:
        for scope in scopes:
            parts.forget(scope)
    if changes.keys() & _COUNTED:
        for scope in scopes:
            for counted in _counted(scope, changes):
                await parts.unseed(counted)


@contextlib.asynccontextmanager
async def told_of_all(parts: ManagementParts, scopes: Iterable[Scope]) -> AsyncIterator[None]:
    """Tell that these are made or gone. Counters that cannot be told do not stop it: they only know of too much."""
    scopes = tuple(scopes)
    try:
        yield
    finally:
        for scope in scopes:
            parts.forget(scope)
            try:
                await parts.unseed(scope)
            except StoreUnavailable as outage:
                logger.warning("counters_not_told", extra={"store": outage.store, "reason": outage.reason})


def _counted(scope: Scope, changes: Mapping[str, Any]) -> list[Scope]:
    kind = _MODEL_SCOPES.get(scope.kind, "")
    models = {model for name in _OF_MODELS for model in changes.get(name) or ()} if kind else ()
    return [scope, *(Scope(kind, f"{scope.id}:{model}") for model in sorted(models))]
