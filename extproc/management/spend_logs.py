"""`/spend/logs/v2` and `/spend/logs/ui`: the ledger in pages; `/spend/calculate`: what a request would cost.

Counting all rows of a large ledger takes long, so it is counted up to `MOST_COUNTED`: a `total` of exactly that means
"so many or more", and `total_is_exact` says which. Pages end there too; dates lead further back.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from extproc.management import key_changes
from extproc.management.authentication import AnyKeyRoute, Seen
from extproc.management.documentation import ERRORS
from extproc.management.errors import bad_request
from extproc.management.fields import AskedKey, Id, Text
from extproc.management.money import Dollars, to_dollars
from extproc.management.parts import ManagementParts, Parts
from extproc.management.spend import end_of, start_of
from extproc.management.spend_days import whose
from extproc.management.spend_rows import spend_row
from extproc.model import Usage
from extproc.policy.roles import Sight
from extproc.pricing import tokens
from extproc.pricing.catalog import tariff_for
from extproc.stores.spending import LogFilter

reading = APIRouter(route_class=AnyKeyRoute, tags=["spend"], responses=ERRORS)

MOST_COUNTED = 100_000
_SORTED = {
    "startTime": "started_at",
    "endTime": "ended_at",
    "spend": "spend",
    "model": "model",
}
#: Without dates the last day is shown, as in LiteLLM's pages.
_DAY_MS = 86_400_000


class PageQuery(BaseModel):
    """Which rows, and which page of them. Without dates: the last 24 hours. Amounts are dollars."""

    api_key: AskedKey = None
    user_id: Id = None
    team_id: Id = None
    end_user: Id = None
    model: Annotated[Id, Field(description="The name that clients ask for.")] = None
    model_id: Id = None
    key_alias: Id = None
    request_id: Id = None
    status_filter: Literal["success", "failure"] | None = None
    min_spend: Dollars | None = None
    max_spend: Dollars | None = None
    start_date: Id = None
    end_date: Id = None
    page: Annotated[int, Field(ge=1, le=MOST_COUNTED)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 50
    sort_by: Literal["startTime", "endTime", "spend", "model"] = "startTime"
    sort_order: Literal["asc", "desc"] = "desc"


@reading.get("/spend/logs/v2", response_model=None, summary="Exchanges, in pages")
@reading.get("/spend/logs/ui", response_model=None, summary="Exchanges, in pages")
async def pages(parts: Parts, seen: Seen, query: Annotated[PageQuery, Query()]) -> dict[str, Any]:
    """`total` is counted up to 100 000; `total_is_exact` says whether that is all."""
    if query.page * query.page_size > MOST_COUNTED:
        raise bad_request(f"Pages end at {MOST_COUNTED} rows: choose dates instead.", "page")
    wanted = await _filter(parts, seen, query)
    total = await parts.ledger.log_count(wanted, most=MOST_COUNTED)
    column, descending = _SORTED[query.sort_by], query.sort_order == "desc"
    found = await parts.ledger.log_page(
        wanted, page=query.page, size=query.page_size, sort_by=column, descending=descending
    )
    anonymous = parts.settings.redact_user_api_key_info
    return {
        "data": await asyncio.to_thread(lambda: [spend_row(one, anonymous=anonymous) for one in found]),
        "total": total,
        "total_is_exact": total < MOST_COUNTED,
        "page": query.page,
        "page_size": query.page_size,
        "total_pages": -(-total // query.page_size),
    }


async def _filter(parts: ManagementParts, seen: Sight, query: PageQuery) -> LogFilter:
    key = query.api_key
    since, before = start_of(query.start_date), end_of(query.end_date)
    if since is not None and before is not None and before <= since:
        raise bad_request("end_date is before start_date.", "end_date")
    if since is None and before is None and query.request_id is None:
        since = parts.now() - _DAY_MS
    return LogFilter(
        key_digest=await key_changes.identity(parts, key) if key else None,
        user_id=query.user_id,
        team_id=query.team_id,
        end_user=query.end_user,
        model_group=query.model,
        model_id=query.model_id,
        key_alias=query.key_alias,
        request_id=query.request_id,
        status=query.status_filter,
        minimum=query.min_spend,
        maximum=query.max_spend,
        since=since,
        before=before,
        whose=whose(seen),
    )


class CalculateBody(BaseModel):
    """A model and messages, or the provider's response."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}]}
    )

    model: Text | None = None
    messages: list[dict[str, Any]] | None = None
    completion_response: dict[str, Any] | None = None


@reading.post("/spend/calculate", response_model=None, summary="What a request would cost")
async def calculate(parts: Parts, body: CalculateBody) -> dict[str, Any]:
    """Of messages the prompt alone is known, and priced."""
    response = body.completion_response or {}
    model = body.model or response.get("model")
    if not isinstance(model, str) or (body.messages is None and not response):
        raise bad_request("Pass model and messages, or completion_response.", "model")
    usage = _reported(response) if response else await asyncio.to_thread(_counted, body.messages)
    served = next((one for one in parts.serving if one.model_name == model), None)
    if served is None:
        tariff = tariff_for("openai", (model,))
    else:
        tariff = tariff_for(served.provider, (served.provider_model,), served.prices)
    cost = None if tariff is None else tariff.cost(usage, parts.now())
    if cost is None:
        raise bad_request("No price is known for this model.", "model")
    return {"cost": to_dollars(cost)}


def _counted(messages: Any) -> Usage:
    return Usage(input_tokens=tokens.count_prompt([msgspec.json.encode(messages)]))


def _reported(response: dict[str, Any]) -> Usage:
    usage = response.get("usage")
    counts = [usage.get(name, 0) for name in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else []
    if not counts or not all(type(count) is int and 0 <= count < 2**53 for count in counts):
        raise bad_request("completion_response has no usage that can be read.", "completion_response")
    return Usage(input_tokens=counts[0], output_tokens=counts[1])
