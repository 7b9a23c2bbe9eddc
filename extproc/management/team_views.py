"""LiteLLM's later forms of what there is already: teams by pages, a user without keys and teams, `PATCH` of a team."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from extproc.management import team_rows, teams
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Caller, Seen
from extproc.management.documentation import ERRORS
from extproc.management.errors import NOT_YOURS, Refused, bad_request, not_found
from extproc.management.fields import Id
from extproc.management.parts import Parts
from extproc.management.team_schemas import TeamFields, UpdateTeam
from extproc.management.window_spend import of_owner

administration = APIRouter(route_class=AdminRoute, tags=["teams"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["teams"], responses=ERRORS)

_SORTABLE = {
    "team_id": "id", "team_alias": "alias", "created_at": "created_at", "updated_at": "updated_at", "spend": "spend",
    "max_budget": "max_budget",
}  # fmt: skip


class TeamPage(BaseModel):
    """`GET /v2/team/list`."""

    teams: list[team_rows.TeamRow]
    total: int
    page: int
    page_size: int
    total_pages: int


class PatchTeam(TeamFields):
    """`PATCH /team/{team_id}`. What is left out stays; null takes a limit, a budget or an id away."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"max_budget": 2000.0}]})


class TeamQuery(BaseModel):
    """Which teams are shown; every given field must match."""

    team_id: Id = None
    team_alias: Id = None
    organization_id: Id = None
    user_id: Annotated[Id, Field(description="Only teams that this user is in.")] = None
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    sort_by: Id = None
    sort_order: Literal["asc", "desc"] = "desc"


@administration.patch("/team/{team_id}", response_model=team_rows.UpdatedTeam, summary="Change this team")
async def patch(parts: Parts, caller: Caller, team_id: Annotated[str, Path(max_length=256)], wanted: PatchTeam) -> Any:
    """As `/team/update`."""
    told = {name: getattr(wanted, name) for name in wanted.model_fields_set} | {"team_id": team_id}
    return await teams.update(parts, caller, UpdateTeam.model_construct(_fields_set={*told}, **told))


@reading.get("/v2/team/list", response_model=TeamPage, summary="List teams by pages")
async def list_page(parts: Parts, seen: Seen, wanted: Annotated[TeamQuery, Query()]) -> Any:
    """The newest first, unless another order is asked for. A virtual key sees its own team, and its user's."""
    column = _SORTABLE.get(wanted.sort_by or "created_at")
    if column is None:
        raise bad_request(f"sort_by must be one of {', '.join(sorted(_SORTABLE))}", "sort_by")
    chosen: dict[str, Any] = {"alias": wanted.team_alias, "organization_id": wanted.organization_id}
    if wanted.user_id is not None or not seen.all:
        mine = await teams.team_ids(parts, seen, wanted.user_id)
        chosen["id"] = tuple(one for one in mine if wanted.team_id in {None, one})
    else:
        chosen["id"] = wanted.team_id
    page = await parts.entities.teams.list(
        {name: value for name, value in chosen.items() if value is not None},
        page=wanted.page, size=wanted.page_size, sort_by=column, descending=wanted.sort_order == "desc",
    )  # fmt: skip
    names = team_rows.TeamRow.model_fields
    shown = await team_rows.shown_teams(parts, page.rows)
    return {
        "teams": [{name: team[name] for name in names} for team in shown],
        "total": page.total,
        "page": wanted.page,
        "page_size": wanted.page_size,
        "total_pages": -(-page.total // wanted.page_size),
    }


@reading.get("/team/available", response_model=list[team_rows.TeamRow], summary="Teams that one may join oneself")
async def available() -> Any:
    """None: here whoever administers a team puts users into it."""
    return []


@reading.get("/v2/user/info", response_model=team_rows.UserRow, summary="Show a user without keys", tags=["users"])
async def user(parts: Parts, seen: Seen, user_id: Annotated[Id, Query()] = None) -> Any:
    """A virtual key may ask about the user it belongs to; without `user_id` it does."""
    wanted = user_id or seen.user_id
    if wanted is None or not (seen.all or wanted == seen.user_id):
        raise Refused(NOT_YOURS)
    found = await parts.entities.users.find(wanted)
    if found is None:
        raise not_found("user", wanted)
    members = await parts.entities.members.of_users([found.id])
    found = await of_owner(parts, "user", found.id, found)
    return team_rows.user_row(found, [member.team_id for member in members])
