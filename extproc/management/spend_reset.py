"""`/global/spend/reset`: everybody's keys and teams begin anew. The ledger and the sums by day stay as they are."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from pydantic import BaseModel

from extproc.errors import StoreUnavailable
from extproc.holds import Scope
from extproc.management.authentication import AdminRoute, Caller
from extproc.management.documentation import ERRORS
from extproc.management.errors import Refused
from extproc.management.parts import ManagementParts, Parts
from extproc.model import MASTER_KEY_DIGEST
from extproc.policy.refusals import Refusal

logger = logging.getLogger(__name__)

administration = APIRouter(route_class=AdminRoute, tags=["spend"], responses=ERRORS)

MASTER_KEY_ONLY = Refusal(403, "auth_error", "Only the master key resets everybody's spend.", None, "master_key_only")


class AllReset(BaseModel):
    """LiteLLM's answer, and how many there were."""

    message: str
    status: str
    keys: int
    teams: int


@administration.post("/global/spend/reset", summary="Set what every key and team has spent to 0")
async def reset(parts: Parts, caller: Caller) -> AllReset:
    """In the window of now of their budgets, and for ever where these have none. What an outage cut short is asked for
    again, and begins anew."""
    if caller.digest != MASTER_KEY_DIGEST:
        raise Refused(MASTER_KEY_ONLY)
    counts = {"api_key": 0, "team": 0}
    async for kind, name in parts.entities.reset_spend(by=caller.user_id, now=parts.now()):
        counts[kind] += 1
        await _tell(parts, Scope(kind, name))
    return AllReset(
        message="Spend for all API Keys and Teams reset successfully", status="success",
        keys=counts["api_key"], teams=counts["team"],
    )  # fmt: skip


async def _tell(parts: ManagementParts, scope: Scope) -> None:
    """A counter that is not told knows of too much, and no more: the reset goes on."""
    parts.forget(scope)
    try:
        await parts.unseed(scope)
    except StoreUnavailable as outage:
        logger.warning("counters_not_told", extra={"store": outage.store, "reason": outage.reason})
