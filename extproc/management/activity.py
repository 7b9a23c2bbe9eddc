"""`/{user,team,tag,customer,organization}/daily/activity`: sums by UTC day, broken down, from the table of days.

`/aggregated` is all of a range in one answer; without it `page` and `page_size` count days, the newest first. `/export`
is the same as rows, JSON or CSV; `/keys` and `/search` are in `activity_lists.py`. A caller sees what belongs to its
key, its user, and the teams that it administers.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from extproc.management.authentication import AnyKeyRoute, Seen
from extproc.management.documentation import ERRORS
from extproc.management.fields import AskedKey, Id
from extproc.management.parts import ManagementParts, Parts
from extproc.management.spend_days import (
    UNKNOWN_KEY,
    KeysNamed,
    between,
    keys_named,
    metrics,
    plus,
    sums,
    whose,
)
from extproc.policy import credentials
from extproc.policy.roles import Sight
from extproc.stores.spending import SpendSum, SumFilter

reading = APIRouter(route_class=AnyKeyRoute, tags=["spend"], responses=ERRORS)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: By the first word of the path: the column that it is about, and the parameter that names several.
KINDS = {
    "user": ("user_id", "user_id"),
    "team": ("team_id", "team_ids"),
    "tag": ("tag", "tags"),
    "customer": ("end_user", "end_user_ids"),
    "organization": ("organization_id", "organization_ids"),
}
_BREAKDOWN = {"models": "model", "model_groups": "model_group", "providers": "provider", "api_keys": "key_digest"}


class ActivityQuery(BaseModel):
    """Which days of whom. Names of several are joined by commas."""

    start_date: Annotated[Id, Field(description="The first day, UTC: YYYY-MM-DD")] = None
    end_date: Annotated[Id, Field(description="The last day, which counts whole")] = None
    model: Id = None
    api_key: AskedKey = None
    user_id: Annotated[str | None, Field(max_length=4_096)] = None
    team_ids: Annotated[str | None, Field(max_length=4_096)] = None
    tags: Annotated[str | None, Field(max_length=4_096)] = None
    end_user_ids: Annotated[str | None, Field(max_length=4_096)] = None
    organization_ids: Annotated[str | None, Field(max_length=4_096)] = None
    page: Annotated[int, Field(ge=1, le=10_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=1_000)] = 50


class ExportQuery(ActivityQuery):
    """The same, as rows."""

    format: Literal["json", "csv"] = "csv"


def filter_of(kind: str, query: ActivityQuery, sight: Sight) -> SumFilter:
    """What is asked for, bounded by what the caller sees. Raises `Refused` (400)."""
    first, last = between(query.start_date, query.end_date)
    column, param = KINDS[kind]
    among = {column: _names(getattr(query, param))} if getattr(query, param) else {}
    if query.model:
        among["model"] = (query.model,)
    if query.api_key:
        key = query.api_key
        among["key_digest"] = (credentials.digest(key) if key.startswith("sk-") else key,)
    return SumFilter(first=first, last=last, among=among, whose=whose(sight))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.replace("\0", "").split(",") if (name := part.strip()))


async def _answered(parts: ManagementParts, found: tuple[SpendSum, ...], page: int, size: int) -> dict[str, Any]:
    place = 2 + list(_BREAKDOWN).index("api_keys")
    known = await keys_named(parts, {one.by[place] for one in found})
    return await asyncio.to_thread(_answer, found, known, page, size)


async def _found(parts: ManagementParts, kind: str, wanted: SumFilter) -> tuple[SpendSum, ...]:
    """By day, the kind's own column, and what is broken down."""
    found = await sums(parts, ("day", KINDS[kind][0], *_BREAKDOWN.values()), wanted)
    # What was spent without a team is no team's; without a user it is still somebody's.
    return found if kind == "user" else tuple(one for one in found if one.by[1] is not None)


def _days(found: Iterable[SpendSum], known: KeysNamed) -> list[dict[str, Any]]:
    """LiteLLM's results, the newest day first."""
    days: dict[str, list[SpendSum]] = {}
    for one in found:
        days.setdefault(str(one.by[0]), []).append(one)
    return [
        {"date": day, "metrics": metrics(_total(days[day])), "breakdown": _breakdown(days[day], known)}
        for day in sorted(days, reverse=True)
    ]


def _breakdown(found: list[SpendSum], known: KeysNamed) -> dict[str, Any]:
    places = {"entities": 1, **{name: place for place, name in enumerate(_BREAKDOWN, start=2)}}
    shown = {name: _grouped(found, place) for name, place in places.items()}
    for digest, row in shown["api_keys"].items():
        row["metadata"] = known.get(digest, UNKNOWN_KEY)
    return shown | {"mcp_servers": {}, "endpoints": {}}


def _grouped(found: list[SpendSum], place: int) -> dict[str, dict[str, Any]]:
    groups: dict[str, SpendSum] = {}
    for one in found:
        name = one.by[place] or ""
        groups[name] = plus(groups[name], one) if name in groups else one
    return {name: {"metrics": metrics(total), "metadata": {}} for name, total in groups.items()}


def _total(found: Iterable[SpendSum]) -> SpendSum:
    total = SpendSum(by=())
    for one in found:
        total = plus(total, one)
    return total


def _answer(found: tuple[SpendSum, ...], known: KeysNamed, page: int, size: int) -> dict[str, Any]:
    results = _days(found, known)
    pages = max(1, -(-len(results) // size))
    total = {f"total_{name.removeprefix('total_')}": value for name, value in metrics(_total(found)).items()}
    metadata = {**total, "page": page, "total_pages": pages, "has_more": page < pages}
    return {"results": results[(page - 1) * size : page * size], "metadata": metadata}


def _csv(found: tuple[SpendSum, ...], entity: str) -> str:
    written = io.StringIO()
    names = ["date", entity, "model", "model_group", "provider", "api_key"]
    rows = csv.writer(written)
    rows.writerow([*names, *metrics(SpendSum(by=()))])
    rows.writerows([*map(_cell, one.by), *metrics(one).values()] for one in found)
    return written.getvalue()


def _cell(value: str | None) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{value}" if value and value.startswith(_FORMULA) else value or ""


def _activity(kind: str) -> Callable[..., Awaitable[Any]]:
    async def activity(parts: Parts, seen: Seen, query: Annotated[ActivityQuery, Query()]) -> Any:
        """Days, the newest first; `page_size` counts days."""
        found = await _found(parts, kind, filter_of(kind, query, seen))
        return await _answered(parts, found, query.page, query.page_size)

    return activity


def _aggregated(kind: str) -> Callable[..., Awaitable[Any]]:
    async def aggregated(parts: Parts, seen: Seen, query: Annotated[ActivityQuery, Query()]) -> Any:
        """All days in one answer."""
        found = await _found(parts, kind, filter_of(kind, query, seen))
        return await _answered(parts, found, 1, max(1, len(found)))

    return aggregated


def _export(kind: str) -> Callable[..., Awaitable[Any]]:
    async def export(parts: Parts, seen: Seen, query: Annotated[ExportQuery, Query()]) -> Any:
        """One row per day, name, model, provider and key."""
        found = await _found(parts, kind, filter_of(kind, query, seen))
        if query.format == "csv":
            headers = {"content-disposition": f'attachment; filename="{kind}-activity.csv"'}
            return Response(await asyncio.to_thread(_csv, found, KINDS[kind][0]), 200, headers, "text/csv")
        names = ("date", KINDS[kind][0], "model", "model_group", "provider", "api_key")
        return [{**dict(zip(names, one.by, strict=True)), **metrics(one)} for one in found]

    return export


_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}
for _kind in KINDS:
    for _path, _made in {"": _activity, "/aggregated": _aggregated, "/export": _export}.items():
        reading.add_api_route(
            f"/{_kind}/daily/activity{_path}",
            _made(_kind),
            methods=["GET"],
            response_model=None,
            responses=_CSV if _path == "/export" else None,
            name=f"{_kind}_daily_activity{_path.replace('/', '_')}",
            summary=f"Spend by day and {_kind}",
        )
