"""`/team/…`: make, show, change, block, delete and list teams. Their members are in `members.py`.

Only the administrator makes teams and sets what limits them; whoever administers a team sets the rest. A key sees its
own team and those its user is in, and of their keys only its own and its user's, unless its user administers the team.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field

from extproc.holds import Scope
from extproc.management import keeping, team_rows
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Caller, Seen
from extproc.management.changes import changes_of, for_new
from extproc.management.documentation import ERRORS, DetailedError
from extproc.management.errors import NOT_YOURS, Refused, bad_request, not_found
from extproc.management.fields import MAX_LIST, Id
from extproc.management.members import FROM_TEAM, Member, enrol, given_by, scope
from extproc.management.parts import ManagementParts, Parts
from extproc.management.team_schemas import DeleteTeams, NamedTeam, TeamFields, TeamFurther, UpdateTeam
from extproc.management.telling import told_of, told_of_all
from extproc.model import Team
from extproc.policy.roles import Sight
from extproc.stores.contract import KeyFilter

administration = APIRouter(route_class=AdminRoute, tags=["teams"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["teams"], responses=ERRORS)

_RENAMED = {"team_alias": "alias"}


class NewTeam(TeamFields):
    """`POST /team/new`. An empty body makes a team without limits."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "team_alias": "engineering",
                    "models": ["gpt-4o", "claude-sonnet-4"],
                    "max_budget": 1000.0,
                    "budget_duration": "30d",
                    "rpm_limit": 500,
                    "tpm_limit": 500000,
                }
            ]
        },
    )

    team_id: Annotated[Id, Field(description="Your own id instead of a random one; without a colon.")] = None
    members_with_roles: list[Member] = Field(default_factory=list, max_length=MAX_LIST)


#: A body that is left out.
_ANYTHING = NewTeam()


@administration.post("/team/new", response_model=team_rows.TeamRow, summary="Make a team")
async def new(parts: Parts, caller: Caller, wanted: Annotated[NewTeam, Body()] = _ANYTHING) -> Any:
    """Whoever makes the team becomes its admin, as in LiteLLM."""
    now, team_id = parts.now(), wanted.team_id or parts.new_id()
    if ":" in team_id:
        raise bad_request("A team_id cannot have a colon.", "team_id")
    changes = for_new(changes_of(wanted, Team, parts, renamed=_RENAMED, further=TeamFurther))
    team = Team(id=team_id, created_at=now, updated_at=now, **changes)
    async with told_of_all(parts, [Scope("team", team_id)]):
        await parts.entities.teams.create(team)
    members = {member.user_id or member.user_email: member for member in wanted.members_with_roles}
    if caller.user_id is not None:
        members.setdefault(caller.user_id, Member(user_id=caller.user_id, role="admin"))
    await enrol(parts, team, [*members.values()], {})
    return await team_rows.shown_team(parts, team)


@administration.post("/team/update", response_model=team_rows.UpdatedTeam, summary="Change a team")
async def update(parts: Parts, caller: Caller, wanted: UpdateTeam) -> Any:
    """What is left out stays as it is. Whoever administers the team sets its alias and what its members get.

    Members who have what the team gave them before get what it gives now; who has limits of their own keeps them.
    """
    await keeping.check_team(parts, caller, wanted.team_id, wanted)
    changes = changes_of(wanted, Team, parts, renamed=_RENAMED, further=TeamFurther)
    is_of_members = not FROM_TEAM.keys().isdisjoint(changes.get("fields", {}))
    changed = await (_change_with_members if is_of_members else _change)(parts, wanted.team_id, changes)
    return {"team_id": wanted.team_id, "data": changed}


@administration.post("/team/block", response_model=team_rows.TeamRow, summary="Refuse a team's keys from now on")
async def block(parts: Parts, wanted: NamedTeam) -> Any:
    """Every worker refuses them at once; exchanges in flight end."""
    return await _change(parts, wanted.team_id, {"blocked": True})


@administration.post("/team/unblock", response_model=team_rows.TeamRow, summary="Admit a blocked team's keys again")
async def unblock(parts: Parts, wanted: NamedTeam) -> Any:
    """Keys that are blocked themselves stay blocked."""
    return await _change(parts, wanted.team_id, {"blocked": False})


@administration.post(
    "/team/delete",
    response_model=team_rows.DeletedTeams,
    responses={404: {"model": DetailedError, "description": "One of the teams does not exist; none was deleted"}},
    summary="Delete teams with their keys",
)
async def delete(parts: Parts, caller: Caller, wanted: DeleteTeams) -> Any:
    """All of them or, if one is unknown, none. Their keys are refused at once; what they spent stays in the ledger."""
    async with told_of_all(parts, (Scope("team", team_id) for team_id in wanted.team_ids)):
        deleted = await parts.entities.teams.delete(
            wanted.team_ids, deleted_by=caller.user_id or caller.name, now=parts.now()
        )
    if not deleted:
        # LiteLLM's clients know this one in FastAPI's shape.
        unknown = await _first_unknown(parts, wanted.team_ids)
        return JSONResponse({"detail": {"error": f"Team not found, passed team_id={unknown}"}}, 404)
    return {"deleted_teams": wanted.team_ids}


@reading.get("/team/info", response_model=team_rows.TeamInfo, summary="Show a team with its members and keys")
async def info(parts: Parts, seen: Seen, team_id: Annotated[str, Query(max_length=256)]) -> Any:
    """A virtual key may ask about its own team, and about those that its user is in."""
    if not seen.all and team_id not in seen.member_of:
        raise Refused(NOT_YOURS)
    team = await parts.entities.teams.find(team_id)
    if team is None:
        raise not_found("team", team_id)
    [shown] = await team_rows.shown_teams(parts, [team])
    keys = await _keys(parts, seen, [team_id])
    return {
        "team_id": team_id,
        "team_info": {name: shown[name] for name in team_rows.TeamRow.model_fields},
        "keys": keys[team_id],
        "team_memberships": shown["team_memberships"],
    }


@reading.get("/team/list", response_model=list[team_rows.ListedTeam], summary="List teams")
async def list_teams(
    parts: Parts,
    seen: Seen,
    user_id: Annotated[Id, Query(description="Only teams that this user is in.")] = None,
    organization_id: Annotated[Id, Query()] = None,
) -> Any:
    """The newest first, at most a thousand. A virtual key sees its own team, and those that its user is in."""
    wanted: dict[str, Any] = {} if organization_id is None else {"organization_id": organization_id}
    if user_id is not None or not seen.all:
        wanted["id"] = await team_ids(parts, seen, user_id)
    teams = (await parts.entities.teams.list(wanted)).rows
    keys = await _keys(parts, seen, [team.id for team in teams])
    return [{**team, "keys": keys[team["team_id"]]} for team in await team_rows.shown_teams(parts, teams)]


async def _change(parts: ManagementParts, team_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    async with told_of(parts, Scope("team", team_id), changes=changes):
        team = await parts.entities.teams.update(team_id, {**changes, "updated_at": parts.now()})
    if team is None:
        raise not_found("team", team_id)
    return await team_rows.shown_team(parts, team)


async def _change_with_members(parts: ManagementParts, team_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    """All members are told of, for it is the store that finds out whose limits change."""
    members = await parts.entities.members.of_teams([team_id])
    told = [Scope("team", team_id), *(scope(member.user_id, team_id) for member in members)]
    async with told_of(parts, *told, changes={**changes, **dict.fromkeys(FROM_TEAM.values())}):
        team = await parts.entities.teams.update_with_members(
            team_id, {**changes, "updated_at": parts.now()}, given_by(parts)
        )
    if team is None:
        raise not_found("team", team_id)
    return await team_rows.shown_team(parts, team)


async def _first_unknown(parts: ManagementParts, team_ids: list[str]) -> str:
    found = await parts.entities.teams.list({"id": tuple(team_ids)})
    known = {team.id for team in found.rows}
    return next((team_id for team_id in team_ids if team_id not in known), team_ids[0])


async def team_ids(parts: ManagementParts, seen: Sight, user_id: str | None) -> tuple[str, ...]:
    """The teams of a user, or of the caller; a caller who asks about somebody else gets a 403."""
    if user_id is None:
        return seen.member_of
    if not seen.all and user_id != seen.user_id:
        raise Refused(NOT_YOURS)
    return tuple(member.team_id for member in await parts.entities.members.of_users([user_id]))


async def _keys(parts: ManagementParts, seen: Sight, team_ids: list[str]) -> dict[str | None, list[dict[str, Any]]]:
    """Of teams that the caller administers all keys; of the others the caller's user's, or its own."""
    administered = tuple(team_id for team_id in team_ids if seen.all or team_id in seen.team_ids)
    others = tuple(team_id for team_id in team_ids if team_id not in administered)
    own: dict[str, Any] = {"user_id": seen.user_id} if seen.user_id is not None else {"digest": seen.digest}
    found = await team_rows.keys_of(parts, KeyFilter(team_ids=administered))
    if others:
        found |= await team_rows.keys_of(parts, KeyFilter(team_ids=others, **own))
    return found
