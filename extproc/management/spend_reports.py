"""`/global/spend…` and `/…/spend/report`: who spent how much, from the table of days.

Without days a list is of the last thirty, as in LiteLLM; `/global/spend`, `/spend/users` and `/spend/tags` are of all
time. The routes under `/global` show everybody's spend, those of keys, teams and users what the caller may see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from extproc.management import key_changes
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Seen
from extproc.management.documentation import ERRORS
from extproc.management.fields import AskedKey, Id
from extproc.management.money import to_dollars
from extproc.management.parts import ManagementParts, Parts
from extproc.management.spend_days import FirstDay, LastDay, between, days_or, sums, whose
from extproc.policy.roles import Sight
from extproc.stores.spending import SpendSum, SumFilter

administration = APIRouter(route_class=AdminRoute, tags=["spend"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["spend"], responses=ERRORS)

Most = Annotated[int, Query(ge=1, le=1_000)]
MostKeys = Annotated[int, Query(ge=1, le=100)]
#: What a report groups by, and the ledger's column.
_GROUPS = {
    "team": "team_id",
    "customer": "end_user",
    "api_key": "key_digest",
    "user": "user_id",
    "model": "model_group",
    "tag": "tag",
    "organization": "organization_id",
}


@administration.get("/global/spend", summary="Everything that was ever spent")
async def everything(parts: Parts) -> dict[str, Any]:
    """What all days add up to, purged rows included."""
    found = await parts.ledger.sums((), SumFilter(), limit=1)
    return {"spend": to_dollars(sum(one.spend for one in found)), "max_budget": _maximum(parts)}


@administration.get("/global/spend/logs", summary="Spend by day")
async def by_day(
    parts: Parts, first: FirstDay = None, last: LastDay = None, api_key: AskedKey = None
) -> list[dict[str, Any]]:
    """One object per day with any spend, the oldest first."""
    begin, end = days_or(parts, first, last)
    among = {"key_digest": (await key_changes.identity(parts, api_key),)} if api_key else {}
    found = await sums(parts, ("day",), SumFilter(first=begin, last=end, among=among))
    return [{"date": one.by[0], "spend": to_dollars(one.spend)} for one in found]


@administration.get("/global/spend/keys", summary="The dearest keys")
async def by_key(
    parts: Parts, limit: MostKeys = 5, first: FirstDay = None, last: LastDay = None
) -> list[dict[str, Any]]:
    """The dearest of the range."""
    found = await _dearest(parts, "key_digest", limit, first, last)
    keys = [await parts.keys.find(one.by[0] or "") for one in found]
    return [
        {
            "api_key": one.by[0],
            "key_alias": key.alias if key else None,
            "key_name": key.name if key else None,
            "total_spend": to_dollars(one.spend),
        }
        for one, key in zip(found, keys, strict=True)
    ]


@administration.get("/global/spend/teams", summary="Spend of teams: by day, and in all")
async def by_team(parts: Parts, first: FirstDay = None, last: LastDay = None) -> dict[str, Any]:
    """`""` is what no team spent."""
    begin, end = days_or(parts, first, last)
    found = await sums(parts, ("day", "team_id"), SumFilter(first=begin, last=end))
    teams = sorted({one.by[1] or "" for one in found})
    days: dict[str, dict[str, Any]] = {}
    totals = dict.fromkeys(teams, 0)
    for one in found:
        days.setdefault(str(one.by[0]), {"date": one.by[0]})[one.by[1] or ""] = to_dollars(one.spend)
        totals[one.by[1] or ""] += one.spend
    listed = sorted(totals, key=lambda team: -totals[team])
    return {
        "daily_spend": [*days.values()],
        "teams": teams,
        "total_spend_per_team": [{"team_id": team, "total_spend": to_dollars(totals[team])} for team in listed],
    }


@administration.get("/global/spend/models", summary="The dearest models")
async def by_model(
    parts: Parts, limit: Most = 10, first: FirstDay = None, last: LastDay = None
) -> list[dict[str, Any]]:
    """The dearest of the range, by the model that answered."""
    found = await _dearest(parts, "model", limit, first, last)
    return [{"model": one.by[0], "total_spend": to_dollars(one.spend)} for one in found]


@administration.get("/global/spend/provider", summary="Spend by provider")
async def by_provider(
    parts: Parts, limit: Most = 100, first: FirstDay = None, last: LastDay = None
) -> list[dict[str, Any]]:
    """The dearest of the range."""
    found = await _dearest(parts, "provider", limit, first, last)
    return [{"provider": one.by[0], "spend": to_dollars(one.spend)} for one in found]


@administration.get("/global/spend/tags", summary="Spend by tag")
async def by_tag(
    parts: Parts,
    tags: Annotated[str | None, Query(max_length=4_096)] = None,
    limit: Most = 100,
    first: FirstDay = None,
    last: LastDay = None,
) -> dict[str, Any]:
    """`tags` are joined by commas."""
    begin, end = days_or(parts, first, last)
    names = tuple(name for part in (tags or "").replace("\0", "").split(",") if (name := part.strip()))
    wanted = SumFilter(first=begin, last=end, among={"tag": names} if names else {})
    found = await parts.ledger.sums(("tag",), wanted, limit=limit, dearest_first=True)
    return {"spend_per_tag": [_named("name", one, count="log_count") for one in found]}


@administration.get("/global/spend/all_tag_names", summary="Every tag that something was spent under")
async def tag_names(parts: Parts) -> dict[str, Any]:
    """In the order of their names."""
    return {"tag_names": [one.by[0] for one in await sums(parts, ("tag",), SumFilter())]}


class EndUsersBody(BaseModel):
    """Of which key, and which days; camel case as LiteLLM has it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"startTime": "2026-11-01", "endTime": "2026-11-30"}]})

    api_key: AskedKey = None
    startTime: Id = None  # noqa: N815 - LiteLLM's name
    endTime: Id = None  # noqa: N815 - LiteLLM's name


@administration.post("/global/spend/end_users", summary="The dearest end users")
async def by_end_user(parts: Parts, body: EndUsersBody) -> list[dict[str, Any]]:
    """At most a hundred."""
    begin, end = days_or(parts, body.startTime, body.endTime)
    among = {"key_digest": (await key_changes.identity(parts, body.api_key),)} if body.api_key else {}
    wanted = SumFilter(first=begin, last=end, among=among)
    found = await parts.ledger.sums(("end_user",), wanted, limit=100, dearest_first=True)
    return [
        {"end_user": one.by[0], "total_count": _requests(one), "total_spend": to_dollars(one.spend)}
        for one in found
        if one.by[0]
    ]


@administration.get("/global/spend/report", summary="Spend by day, grouped")
async def report(
    parts: Parts,
    seen: Seen,
    first: FirstDay = None,
    last: LastDay = None,
    group_by: Literal["team", "customer", "api_key", "user", "model", "tag"] = "team",
) -> list[dict[str, Any]]:
    """One object per day."""
    return await _report(parts, seen, group_by, between(first, last), {})


@administration.get("/spend/users", summary="Users, the dearest first")
async def by_user(parts: Parts, user_id: Annotated[Id, Query()] = None, limit: Most = 1_000) -> list[dict[str, Any]]:
    """With what stands beside their names."""
    wanted = {"id": user_id} if user_id else {}
    page = await parts.entities.users.list(wanted, size=limit, sort_by="spend")
    return [{"user_id": user.id, "user_email": user.email, "spend": to_dollars(user.spend)} for user in page.rows]


@administration.get("/spend/tags", summary="Tags, the dearest first")
async def tags(parts: Parts, limit: Most = 1_000, first: FirstDay = None, last: LastDay = None) -> list[dict[str, Any]]:
    """Of the days that are given, else of all time."""
    begin, end = between(first, last) if first or last else (None, None)
    wanted = SumFilter(first=begin, last=end)
    found = await parts.ledger.sums(("tag",), wanted, limit=limit, dearest_first=True)
    return [_named("individual_request_tag", one, count="log_count", spend="total_spend") for one in found]


@reading.get("/key/spend/report", summary="Spend of keys by day")
async def of_keys(
    parts: Parts, seen: Seen, first: FirstDay = None, last: LastDay = None, api_key: AskedKey = None
) -> list[dict[str, Any]]:
    """One object per day."""
    among = {"key_digest": (await key_changes.identity(parts, api_key),)} if api_key else {}
    return await _report(parts, seen, "api_key", between(first, last), among)


@reading.get("/team/spend/report", summary="Spend of teams by day")
async def of_teams(
    parts: Parts, seen: Seen, first: FirstDay = None, last: LastDay = None, team_id: Annotated[Id, Query()] = None
) -> list[dict[str, Any]]:
    """One object per day."""
    among = {"team_id": (team_id,)} if team_id else {}
    return await _report(parts, seen, "team", between(first, last), among)


@reading.get("/user/spend/report", summary="Spend of users by day")
async def of_users(
    parts: Parts, seen: Seen, first: FirstDay = None, last: LastDay = None, user_id: Annotated[Id, Query()] = None
) -> list[dict[str, Any]]:
    """One object per day."""
    among = {"user_id": (user_id,)} if user_id else {}
    return await _report(parts, seen, "user", between(first, last), among)


@reading.get("/organization/spend/report", summary="Spend of organizations by day")
async def of_organizations(
    parts: Parts,
    seen: Seen,
    first: FirstDay = None,
    last: LastDay = None,
    organization_id: Annotated[Id, Query()] = None,
) -> list[dict[str, Any]]:
    """One object per day."""
    among = {"organization_id": (organization_id,)} if organization_id else {}
    return await _report(parts, seen, "organization", between(first, last), among)


async def _report(
    parts: ManagementParts, seen: Sight, group: str, days: tuple[str, str], among: Mapping[str, tuple[str, ...]]
) -> list[dict[str, Any]]:
    """One object per day: who spent how much, and on which models."""
    wanted = SumFilter(first=days[0], last=days[1], among=among, whose=whose(seen))
    shown: dict[tuple[str | None, ...], dict[str, Any]] = {}
    for one in await sums(parts, ("day", _GROUPS[group], "model"), wanted):
        row = shown.setdefault(one.by[:2], {"spend": 0, "models": []})
        row["spend"] += one.spend
        row["models"].append({
            "model": one.by[2], "total_spend": to_dollars(one.spend),
            "total_input_tokens": one.input_tokens, "total_output_tokens": one.output_tokens,
        })  # fmt: skip
    return _by_day(group, shown)


def _by_day(group: str, shown: dict[tuple[str | None, ...], dict[str, Any]]) -> list[dict[str, Any]]:
    days: dict[str | None, list[dict[str, Any]]] = {}
    for (day, name), row in shown.items():
        total = to_dollars(row["spend"])
        days.setdefault(day, []).append({group: name or "", "total_spend": total, "metadata": row["models"]})
    return [{"group_by_day": day, f"{group}s": found} for day, found in days.items()]


async def _dearest(
    parts: ManagementParts, column: str, limit: int, first: str | None, last: str | None
) -> tuple[SpendSum, ...]:
    begin, end = days_or(parts, first, last)
    return await parts.ledger.sums((column,), SumFilter(first=begin, last=end), limit=limit, dearest_first=True)


def _named(name: str, one: SpendSum, *, count: str, spend: str = "spend") -> dict[str, Any]:
    return {name: one.by[0], spend: to_dollars(one.spend), count: _requests(one)}


def _requests(one: SpendSum) -> int:
    return one.successful_requests + one.failed_requests


def _maximum(parts: ManagementParts) -> float | None:
    return to_dollars(parts.settings.everybody.max_budget)
