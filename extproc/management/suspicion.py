"""`/extproc/suspicious-keys`: which keys behave as a stolen one would. Ours; LiteLLM has no such route."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from extproc.activity import Activity
from extproc.management.authentication import AdminRoute
from extproc.management.documentation import ERRORS
from extproc.management.moments import iso
from extproc.management.money import Dollars, to_dollars
from extproc.management.parts import Parts
from extproc.policy import suspicion
from extproc.policy.suspicion import Suspicion

administration = APIRouter(route_class=AdminRoute, tags=["spend"], responses=ERRORS)

_USUAL_THRESHOLD = 100_000_000_000


class SuspiciousKey(BaseModel):
    """A key with what it did in the last hours. `reasons` are sentences; the `score` is their weight together."""

    token: str
    key_name: str | None
    key_alias: str | None
    user_id: str | None
    team_id: str | None
    blocked: bool
    score: int
    reasons: list[str]
    requests: int
    failures: int
    spend: float
    used_before: str | None
    new_addresses: list[str]


@administration.get("/extproc/suspicious-keys", summary="Keys that behave unusually")
async def suspicious(
    parts: Parts,
    hours: Annotated[int, Query(ge=1, le=168, description="How far to look back.")] = 1,
    threshold: Annotated[
        Dollars, Query(description="US dollars that no key should spend in these hours.")
    ] = _USUAL_THRESHOLD,
    everything: Annotated[bool, Query(alias="all", description="Show keys without a reason, too.")] = False,
) -> list[SuspiciousKey]:
    """The most suspicious first: spend beyond the threshold or beyond what is usual for the key (the week before), many
    times the usual requests, use after two weeks of silence, use from addresses never seen before, failures.

    Looks at the 500 keys that spent most. To stop one: `/key/block`.
    """
    now = parts.now()
    found = []
    for activity in await parts.ledger.activities(hours=hours, now=now):
        judged = suspicion.judge(activity, hours, threshold, now)
        if judged.score or everything:
            found.append(await _shown(parts, activity, judged))
    return sorted(found, key=lambda each: (-each.score, -each.spend, each.token))


async def _shown(parts: Parts, activity: Activity, judged: Suspicion) -> SuspiciousKey:
    key = await parts.keys.find(activity.key_digest)
    return SuspiciousKey(
        token=activity.key_digest,
        key_name=key.name if key else None,
        key_alias=key.alias if key else None,
        user_id=key.user_id if key else None,
        team_id=key.team_id if key else None,
        blocked=key.blocked if key else False,
        score=judged.score,
        reasons=[*judged.reasons],
        requests=activity.requests,
        failures=activity.failures,
        spend=to_dollars(activity.spend) or 0.0,
        used_before=iso(activity.used_before),
        new_addresses=[*activity.new_addresses[:20]],
    )
