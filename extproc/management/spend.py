"""`/spend/…`: what was spent, from the ledger.

A caller sees what belongs to its key, its user, and the teams that it administers. Rows are made and encoded in a
thread, for exchanges run on the same loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from extproc.management import key_changes, rows, spend_content
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Seen
from extproc.management.documentation import ERRORS
from extproc.management.errors import NOT_YOUR_KEY, Refused, bad_request
from extproc.management.fields import AskedKey, Id
from extproc.management.money import to_dollars
from extproc.management.parts import ManagementParts, Parts
from extproc.management.spend_days import whose
from extproc.management.spend_rows import SpendRow, day_row, spend_row
from extproc.model import UnixMs
from extproc.policy.roles import Sight
from extproc.stores.spending import LogFilter

T = TypeVar("T")

administration = APIRouter(route_class=AdminRoute, tags=["spend"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["spend"], responses=ERRORS)

MOST_ROWS = 10_000
_DAY = timedelta(days=1)
_MOMENT = timedelta(milliseconds=1)


class SpendQuery(BaseModel):
    """Which exchanges are wanted. `request_id` is the provider's response id, our call id or our event id."""

    api_key: Annotated[AskedKey, Field(description="A raw key or its digest.")] = None
    user_id: Id = None
    request_id: Id = None
    start_date: Annotated[Id, Field(description="The first day (UTC), or a moment in ISO 8601.")] = None
    end_date: Annotated[Id, Field(description="The last day (UTC), which counts whole, or a moment.")] = None
    summarize: Annotated[bool, Field(description="With dates: a sum per day instead of the rows.")] = True
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS, description="The most rows to show, the newest first.")] = 1_000


@reading.get(
    "/spend/logs",
    summary="Exchanges and what they cost",
    response_model=None,
    responses={
        200: {
            "model": list[SpendRow] | list[dict[str, Any]],
            "description": "Rows; with dates, a sum per day. `x-extproc-more: true` where the limit cut rows off.",
        }
    },
)
async def logs(parts: Parts, seen: Seen, query: Annotated[SpendQuery, Query()]) -> Response:
    """Without dates: rows, the newest first. With dates: one object per UTC day, unless `summarize` is false."""
    wanted = LogFilter(
        key_digest=await _visible_digest(parts, query.api_key, seen),
        user_id=query.user_id,
        request_id=query.request_id,
        since=start_of(query.start_date),
        before=end_of(query.end_date),
        whose=whose(seen),
    )
    if wanted.since is not None and wanted.before is not None and wanted.before <= wanted.since:
        raise bad_request("end_date is before start_date.", "end_date")
    if query.summarize and (wanted.since is not None or wanted.before is not None):
        return await _json(await parts.ledger.by_day(wanted), day_row)
    found = await parts.ledger.rows(wanted, limit=query.limit + 1)
    # Of one exchange only: whoever looks through many has no use for all that was said.
    event_id = found[0].receipt.event_id if query.request_id is not None and len(found) == 1 else None
    said = await spend_content.read(parts, event_id) if event_id else {}
    shown = partial(spend_row, anonymous=parts.settings.redact_user_api_key_info, said=said)
    response = await _json(found[: query.limit], shown)
    if len(found) > query.limit:
        response.headers["x-extproc-more"] = "true"
    return response


@administration.get("/spend/keys", response_model=list[rows.KeySpendRow], summary="Keys, the dearest first")
async def by_key(parts: Parts, limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 1_000) -> Any:
    """Each key with its spend, and with all that was ever booked on it."""
    now = parts.now()
    found = await parts.ledger.by_key(limit=limit)
    return [{**rows.row(one.key, now), "total_spend": to_dollars(one.spend)} for one in found]


async def _visible_digest(parts: ManagementParts, api_key: str | None, seen: Sight) -> str | None:
    """The key whose rows are asked for, where the caller gets to see them. Raises `Refused` (403)."""
    asked = await key_changes.identity(parts, api_key) if api_key else None
    if asked is None or seen.all or asked == seen.digest:
        return asked
    key = await parts.keys.find(asked)
    if key is None or not seen.shows_key(key):
        raise Refused(NOT_YOUR_KEY)
    return asked


def start_of(text: str | None) -> UnixMs | None:
    """The first moment that counts. Raises `Refused` (400)."""
    return None if text is None else _unix_ms(text, "start_date", _DAY * 0, _DAY * 0)


def end_of(text: str | None) -> UnixMs | None:
    """The first moment that no longer counts. Raises `Refused` (400)."""
    return None if text is None else _unix_ms(text, "end_date", _DAY, _MOMENT)


def _unix_ms(text: str, param: str, after_day: timedelta, after_moment: timedelta) -> UnixMs:
    try:
        moment, after = _moment(text, after_day, after_moment)
        return int((moment + after - datetime.fromtimestamp(0, UTC)) / _MOMENT)
    except (ValueError, OverflowError):
        raise bad_request(f"Invalid date format for {param}. Expected: YYYY-MM-DD", param) from None


def _moment(text: str, after_day: timedelta, after_moment: timedelta) -> tuple[datetime, timedelta]:
    """A day begins at midnight UTC; a moment without an offset is in UTC."""
    if len(text) <= len("2026-11-23"):
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC), after_day
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)), after_moment


async def _json(found: Sequence[T], shown: Callable[[T], dict[str, Any]]) -> Response:
    content = await asyncio.to_thread(lambda: msgspec.json.encode([shown(one) for one in found]))
    return Response(content, media_type="application/json")
