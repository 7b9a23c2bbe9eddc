"""`/extproc/explain`: why a request was refused, in numbers.

Ours; LiteLLM has no such route. The administrator may ask about every refusal, a key about its own.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from extproc.management.authentication import AnyKeyRoute, Caller, sees_all
from extproc.management.documentation import ERRORS
from extproc.management.errors import Refused
from extproc.management.moments import iso
from extproc.management.parts import Parts
from extproc.policy.refusals import Refusal

reading = APIRouter(route_class=AnyKeyRoute, tags=["limits"], responses=ERRORS)

NOT_EXPLAINED = Refusal(
    404,
    "not_found_error",
    "No refusal is known for this request; those of limits are kept for an hour.",
    "request_id",
    "not_found",
)


class Explained(BaseModel):
    """The limit that had no room. Amounts are in the unit of `limit_type`; `spend` is in nanos of a US dollar."""

    request_id: str
    event_id: str
    status: int
    reason: str
    refused_at: str
    scope: Annotated[str, Field(examples=["api_key"])]
    who: Annotated[str, Field(examples=["frontend-app (sk-...1234)"])]
    setting: Annotated[str, Field(examples=["max_budget"])]
    limit_type: Annotated[str, Field(examples=["spend"])]
    limit: int
    used: Annotated[int, Field(description="Used in the limit's window by exchanges that are over.")]
    held: Annotated[int, Field(description="Reserved by exchanges in flight.")]
    asked: Annotated[int, Field(description="What this request wanted to reserve.")]
    frees_at: Annotated[str | None, Field(description="When it would fit; null where time alone does not help.")]


@reading.get("/extproc/explain", summary="Why a request was refused", response_model=Explained)
async def explain(
    parts: Parts,
    caller: Caller,
    request_id: Annotated[str, Query(max_length=256, description="The response's `x-litellm-call-id`.")],
) -> Any:
    """Which scope, which limit, how much was used, held and asked, and when it frees."""
    found = await parts.explanations.find(request_id)
    if found is None or not (sees_all(caller) or found.key_digest == caller.digest):
        raise Refused(NOT_EXPLAINED)
    why = found.explanation
    return Explained(
        request_id=found.call_id,
        event_id=found.event_id,
        status=found.status,
        reason=found.reason,
        refused_at=iso(found.at) or "",
        scope=why.kind,
        who=why.who,
        setting=why.setting,
        limit_type=why.measure,
        limit=why.maximum,
        used=why.settled,
        held=why.held,
        asked=why.asked,
        frees_at=iso(why.frees_at),
    )
