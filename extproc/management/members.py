"""`/team/member_…`: who is in which team, and with which limits of their own there.

A member who is not known yet becomes a user. Two ways to say who is meant are understood: LiteLLM's `member`, one or a
list, and `user_id` and `role` beside `team_id`, as its security page has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from extproc.errors import AlreadyExists
from extproc.holds import Scope
from extproc.management import keeping, team_rows
from extproc.management.allowances import AllowanceFields, settle_allowance
from extproc.management.authentication import AdminRoute, Caller
from extproc.management.changes import changes_of
from extproc.management.documentation import ERRORS
from extproc.management.errors import NOT_A_MEMBER, Refused, not_found
from extproc.management.fields import MAX_LIST, Id, Text, Texts
from extproc.management.money import SomeDollars, to_nanos
from extproc.management.parts import ManagementParts, Parts
from extproc.management.telling import told_of, told_of_all
from extproc.model import Membership, Team, User

administration = APIRouter(route_class=AdminRoute, tags=["teams"], responses=ERRORS)

_RENAMED = {"max_budget_in_team": "max_budget", "allowed_models": "models"}
#: What a team gives its members, and the fields of theirs that it sets.
FROM_TEAM = {
    "team_member_budget": "max_budget",
    "team_member_budget_duration": "budget_duration",
    "team_member_rpm_limit": "rpm_limit",
    "team_member_tpm_limit": "tpm_limit",
}


def _user_is_meant(role: object) -> object:
    return "user" if role == "member" else role


TeamRole = Annotated[Literal["admin", "user"], BeforeValidator(_user_is_meant)]


class Member(BaseModel):
    """A user, named by id or by e-mail address."""

    user_id: Id = None
    user_email: Id = None
    role: TeamRole = "user"

    @model_validator(mode="after")
    def _names_a_user(self) -> Self:
        if self.user_id is None and self.user_email is None:
            raise PydanticCustomError("missing", "Either user_id or user_email is required")
        return self


class MemberLimits(AllowanceFields):
    """A member's own limits in the team, beside those of the team."""

    max_budget_in_team: SomeDollars | None = None
    allowed_models: Texts | None = None


class AddMembers(MemberLimits):
    """`POST /team/member_add`."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "team_id": "team-123",
                    "member": {"role": "user", "user_id": "user@example.com"},
                    "max_budget_in_team": 10.0,
                    "budget_duration": "30d",
                }
            ]
        },
    )

    team_id: Text
    member: Member | Annotated[list[Member], Field(min_length=1, max_length=MAX_LIST)] | None = None
    user_id: Id = None
    user_email: Id = None
    role: TeamRole = "user"

    @model_validator(mode="after")
    def _names_members(self) -> Self:
        if self.member is None and self.user_id is None and self.user_email is None:
            raise PydanticCustomError("missing", "member is required")
        return self

    @property
    def members(self) -> list[Member]:
        """All that are named."""
        if self.member is None:
            return [Member(user_id=self.user_id, user_email=self.user_email, role=self.role)]
        return self.member if isinstance(self.member, list) else [self.member]


class UpdateMember(MemberLimits):
    """`POST /team/member_update`. What is left out stays; null takes a limit away."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"team_id": "team-123", "user_id": "u-1", "max_budget_in_team": 20.0}]},
    )

    team_id: Text
    user_id: Id = None
    user_email: Id = None
    role: TeamRole | None = None

    @model_validator(mode="after")
    def _names_a_user(self) -> Self:
        if self.user_id is None and self.user_email is None:
            raise PydanticCustomError("missing", "Either user_id or user_email is required")
        return self


class RemoveMember(BaseModel):
    """`POST /team/member_delete`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"team_id": "team-123", "user_id": "u-1"}]})

    team_id: Text
    user_id: Id = None
    user_email: Annotated[Id, Field(validation_alias=AliasChoices("user_email", "email"))] = None

    @model_validator(mode="after")
    def _names_a_user(self) -> Self:
        if self.user_id is None and self.user_email is None:
            raise PydanticCustomError("missing", "Either user_id or user_email is required")
        return self


@administration.post("/team/member_add", response_model=team_rows.ChangedMembers, summary="Put users into a team")
@administration.post("/team/member/add", response_model=team_rows.ChangedMembers, include_in_schema=False)
async def add(parts: Parts, caller: Caller, wanted: AddMembers) -> Any:
    """Users who do not exist yet are made. A limit that is not given is the team's `team_member_…` one.

    Whoever administers the team adds new users, and those who are in a team with them already.
    """
    await keeping.check_team(parts, caller, wanted.team_id)
    team = await team_named(parts, wanted.team_id)
    for one in wanted.members:
        await keeping.check_acquaintance(parts, caller, await _known(parts, one.user_id, one.user_email))
    changes = changes_of(wanted, Membership, parts, renamed=_RENAMED)
    for name in ("user_id", "team_id", "role"):
        changes.pop(name, None)
    users, members = await enrol(parts, team, wanted.members, changes)
    return {
        **await team_rows.shown_team(parts, team),
        "updated_users": [team_rows.user_row(user, [team.id]) for user in users],
        "updated_team_memberships": [team_rows.membership_row(member) for member in members],
    }


@administration.post("/team/member_update", response_model=team_rows.ShownMember, summary="Change a member's limits")
async def update(parts: Parts, caller: Caller, wanted: UpdateMember) -> Any:
    """Answers with the member as it is now."""
    await keeping.check_team(parts, caller, wanted.team_id)
    await team_named(parts, wanted.team_id)
    user_id = await _user_id(parts, wanted.user_id, wanted.user_email)
    changes = changes_of(wanted, Membership, parts, renamed=_RENAMED)
    for name in ("user_id", "team_id"):
        changes.pop(name, None)
    async with told_of(parts, scope(user_id, wanted.team_id), changes=changes):
        member = await parts.entities.members.update(user_id, wanted.team_id, changes)
    if member is None:
        raise Refused(NOT_A_MEMBER)
    return team_rows.member_row(member, wanted.user_email)


@administration.post("/team/member_delete", response_model=team_rows.TeamRow, summary="Take a user out of a team")
async def remove(parts: Parts, caller: Caller, wanted: RemoveMember) -> Any:
    """The user's keys in this team are deleted, and refused from now on; the user and other keys stay."""
    await keeping.check_team(parts, caller, wanted.team_id)
    team = await team_named(parts, wanted.team_id)
    user_id = await _user_id(parts, wanted.user_id, wanted.user_email)
    async with told_of_all(parts, [scope(user_id, team.id)]):
        removed = await parts.entities.members.remove(
            user_id, team.id, deleted_by=caller.user_id or caller.name, now=parts.now()
        )
    if not removed:
        raise Refused(NOT_A_MEMBER)
    return await team_rows.shown_team(parts, team)


async def team_named(parts: ManagementParts, team_id: str) -> Team:
    """A team, or a 404."""
    team = await parts.entities.teams.find(team_id)
    if team is None:
        raise not_found("team", team_id)
    return team


async def enrol(
    parts: ManagementParts, team: Team, wanted: Sequence[Member], changes: dict[str, Any]
) -> tuple[list[User], list[Membership]]:
    """Put these into the team with these limits, making users where they are not known. Raises `AlreadyExists`."""
    limits = {**given_by(parts)(team.fields), **changes}
    users: dict[str, User] = {}
    members: dict[str, Membership] = {}
    for one in wanted:
        user = await _user(parts, one)
        users[user.id] = user
        members[user.id] = Membership(user_id=user.id, team_id=team.id, role=one.role, created_at=parts.now(), **limits)
    async with told_of_all(parts, (scope(user_id, team.id) for user_id in users)):
        await parts.entities.members.add([*members.values()])
    return [*users.values()], [*members.values()]


def given_by(parts: ManagementParts) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What a team with these `fields` gives to its members now, as fields of a `Membership`; `None` where nothing."""

    def given(fields: Mapping[str, Any]) -> dict[str, Any]:
        found = {ours: fields.get(name) for name, ours in FROM_TEAM.items()}
        if found["max_budget"] is not None:
            found["max_budget"] = to_nanos(found["max_budget"])
        settle_allowance(found, parts.now(), parts.zone)
        return found

    return given


async def _user(parts: ManagementParts, member: Member) -> User:
    """The user that is meant, made where there is none."""
    found = await _known(parts, member.user_id, member.user_email)
    if found is not None:
        return found
    now = parts.now()
    user = User(
        id=member.user_id or parts.new_id(),
        email=member.user_email,
        role="internal_user",
        created_at=now,
        updated_at=now,
    )
    try:
        async with told_of_all(parts, [Scope("user", user.id)]):
            return await parts.entities.users.create(user)
    except AlreadyExists:
        # Somebody was faster, or the address is another user's.
        found = await _known(parts, member.user_id, member.user_email)
        if found is None:
            raise
        return found


async def _known(parts: ManagementParts, user_id: str | None, email: str | None) -> User | None:
    if user_id is not None:
        return await parts.entities.users.find(user_id)
    found = await parts.entities.users.list({"email": email}, size=1)
    return next(iter(found.rows), None)


async def _user_id(parts: ManagementParts, user_id: str | None, email: str | None) -> str:
    found = user_id or next(iter(_ids(await parts.entities.users.list({"email": email}, size=1))), None)
    if found is None:
        raise Refused(NOT_A_MEMBER)
    return found


def _ids(page: Any) -> Iterable[str]:
    return (user.id for user in page.rows)


def scope(user_id: str, team_id: str) -> Scope:
    """Whom caches and counters are told of."""
    return Scope("team_member", f"{user_id}:{team_id}")
