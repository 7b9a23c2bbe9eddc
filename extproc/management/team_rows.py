"""Teams, their members and users as LiteLLM shows them.

Members are rows of their own here; LiteLLM's `members_with_roles`, `admins` and `members` are made from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from extproc.management.allowances import AllowanceColumns, shown
from extproc.management.moments import iso
from extproc.management.money import to_dollars
from extproc.management.parts import ManagementParts
from extproc.management.rows import KeyRow, row
from extproc.management.team_schemas import TeamFurther, UserFurther
from extproc.management.window_spend import of_key, of_owner
from extproc.model import Membership, Team, User
from extproc.stores.contract import KeyFilter

#: The most keys that are shown with teams or a user.
MOST_KEYS = 1_000


class RoleOfMember(BaseModel):
    """Who is in a team, as what."""

    user_id: str
    user_email: str | None
    role: str


class TeamColumns(BaseModel):
    """What most people look for."""

    team_id: str
    team_alias: str | None
    organization_id: str | None
    models: list[str]
    spend: float
    blocked: bool
    members_with_roles: list[RoleOfMember]
    admins: list[str]
    members: list[str]
    metadata: dict[str, Any]
    created_at: str
    updated_at: str


class TeamRow(TeamFurther, AllowanceColumns, TeamColumns):
    """A team."""


class MembershipRow(BaseModel):
    """A member's own limits; `litellm_budget_table` has them under the names of a budget."""

    user_id: str
    team_id: str
    role: str
    spend: float
    allowed_models: list[str]
    budget_id: str | None = None
    litellm_budget_table: AllowanceColumns


class UserColumns(BaseModel):
    """What most people look for."""

    user_id: str
    user_email: str | None
    user_alias: str | None
    sso_user_id: str | None
    user_role: str | None
    blocked: bool
    teams: list[str]
    models: list[str]
    spend: float
    metadata: dict[str, Any]
    created_at: str
    updated_at: str


class UserRow(UserFurther, AllowanceColumns, UserColumns):
    """A user."""


class ChangedMembers(TeamRow):
    """The team, and whom the request put into it."""

    updated_users: list[UserRow]
    updated_team_memberships: list[MembershipRow]


class MemberNames(BaseModel):
    """A member, as named by the request."""

    team_id: str
    user_id: str
    user_email: str | None
    role: str
    max_budget_in_team: float | None
    allowed_models: list[str]


class ShownMember(AllowanceColumns, MemberNames):
    """A member with the limits of now."""


class ListedTeam(TeamRow):
    """A team with its members' limits and its keys."""

    team_memberships: list[MembershipRow]
    keys: list[KeyRow]


class TeamInfo(BaseModel):
    """`GET /team/info`."""

    team_id: str
    team_info: TeamRow
    keys: list[KeyRow]
    team_memberships: list[MembershipRow]


class UpdatedTeam(BaseModel):
    """`POST /team/update`."""

    team_id: str
    data: TeamRow


class DeletedTeams(BaseModel):
    """`POST /team/delete`."""

    deleted_teams: list[str]


def team_row(team: Team, members: Sequence[Membership], emails: dict[str, str | None]) -> dict[str, Any]:
    """The columns of `TeamRow`. `emails` are those of users, by id."""
    return {
        **TeamFurther.model_construct().model_dump(),
        **team.fields,
        "team_id": team.id,
        "team_alias": team.alias,
        "organization_id": team.organization_id,
        "models": [*team.models],
        "spend": to_dollars(team.spend),
        "blocked": team.blocked,
        "members_with_roles": [
            {"user_id": member.user_id, "user_email": emails.get(member.user_id), "role": member.role}
            for member in members
        ],
        "admins": [member.user_id for member in members if member.role == "admin"],
        "members": [member.user_id for member in members],
        "metadata": team.metadata,
        **shown(team),
        "created_at": iso(team.created_at),
        "updated_at": iso(team.updated_at),
    }


def membership_row(member: Membership) -> dict[str, Any]:
    """The columns of `MembershipRow`."""
    return {
        "user_id": member.user_id,
        "team_id": member.team_id,
        "role": member.role,
        "spend": to_dollars(member.spend),
        "allowed_models": [*member.models],
        "budget_id": None,
        "litellm_budget_table": shown(member),
    }


def member_row(member: Membership, email: str | None) -> dict[str, Any]:
    """The columns of `ShownMember`."""
    limits = shown(member)
    return {
        "team_id": member.team_id,
        "user_id": member.user_id,
        "user_email": email,
        "role": member.role,
        "allowed_models": [*member.models],
        "max_budget_in_team": limits["max_budget"],
        **limits,
    }


def user_row(user: User, team_ids: Iterable[str]) -> dict[str, Any]:
    """The columns of `UserRow`."""
    return {
        **UserFurther.model_construct().model_dump(),
        **user.fields,
        "user_id": user.id,
        "user_email": user.email,
        "user_alias": user.alias,
        "sso_user_id": user.sso_user_id,
        "user_role": user.role,
        "blocked": user.blocked,
        "teams": [*team_ids],
        "models": [*user.models],
        "spend": to_dollars(user.spend),
        "metadata": user.metadata,
        **shown(user),
        "created_at": iso(user.created_at),
        "updated_at": iso(user.updated_at),
    }


async def shown_team(parts: ManagementParts, team: Team) -> dict[str, Any]:
    """One team's row."""
    [found] = await shown_teams(parts, [team])
    return {name: found[name] for name in TeamRow.model_fields}


async def shown_teams(parts: ManagementParts, teams: Sequence[Team]) -> list[dict[str, Any]]:
    """The columns of `ListedTeam` without the keys, in as many questions for many teams as for one."""
    members: dict[str, list[Membership]] = defaultdict(list)
    for member in await parts.entities.members.of_teams([team.id for team in teams]):
        members[member.team_id].append(member)
    users = {member.user_id for each in members.values() for member in each}
    emails = await _emails(parts, sorted(users))
    return [await _shown_team(parts, team, members[team.id], emails) for team in teams]


async def _shown_team(
    parts: ManagementParts, team: Team, members: Sequence[Membership], emails: dict[str, str | None]
) -> dict[str, Any]:
    """With the spend of the windows of now."""
    now = [await of_owner(parts, "team_member", f"{one.user_id}:{one.team_id}", one) for one in members]
    shown = team_row(await of_owner(parts, "team", team.id, team), members, emails)
    return {**shown, "team_memberships": [membership_row(member) for member in now]}


async def keys_of(parts: ManagementParts, chosen: KeyFilter) -> dict[str | None, list[dict[str, Any]]]:
    """Rows of keys by team, the newest first."""
    page = await parts.keys.list(chosen, page=1, size=MOST_KEYS, sort_by="created_at", descending=True)
    found: dict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for key in page.keys:
        found[key.team_id].append(row(await of_key(parts, key), parts.now()))
    return found


async def _emails(parts: ManagementParts, user_ids: Sequence[str]) -> dict[str, str | None]:
    if not user_ids:
        return {}
    page = await parts.entities.users.list({"id": tuple(user_ids)}, size=len(user_ids))
    return {user.id: user.email for user in page.rows}
