"""`/user/…`: make, show, change and list users; `persons.py` deletes them.

Only the administrator changes users. A blocked user's keys are refused everywhere. A key sees the user it belongs to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from extproc.errors import AlreadyExists
from extproc.holds import Scope
from extproc.management import key_bounds, key_changes, rows, schemas, team_rows
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Caller, Seen
from extproc.management.changes import changes_of, for_new
from extproc.management.documentation import ERRORS
from extproc.management.errors import NOT_YOURS, Refused, bad_request, not_found
from extproc.management.fields import Id
from extproc.management.members import Member, enrol, team_named
from extproc.management.parts import ManagementParts, Parts
from extproc.management.team_schemas import NamedUser, NewUser, UpdateUser, UserFields, UserFurther
from extproc.management.telling import told_of, told_of_all
from extproc.management.window_spend import of_owner
from extproc.model import Key, User
from extproc.stores.contract import KeyFilter

administration = APIRouter(route_class=AdminRoute, tags=["users"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["users"], responses=ERRORS)

_RENAMED = {"user_email": "email", "user_alias": "alias", "user_role": "role"}
_SORTABLE = {
    "user_id": "id", "user_email": "email", "user_alias": "alias", "user_role": "role", "spend": "spend",
    "created_at": "created_at", "updated_at": "updated_at", "max_budget": "max_budget",
}  # fmt: skip
#: A body that is left out.
_ANYTHING = NewUser()


class MadeUser(team_rows.UserRow):
    """A new user and, unless `auto_create_key` is false, a key. `key` is shown here and never again."""

    key: str
    key_name: str | None
    key_alias: str | None
    token: str | None
    token_id: str | None
    expires: str | None


class UserInfo(BaseModel):
    """`GET /user/info`."""

    user_id: str | None
    user_info: team_rows.UserRow | None
    keys: list[rows.KeyRow]
    teams: list[team_rows.TeamRow]


class UpdatedUser(BaseModel):
    """`POST /user/update`."""

    user_id: str
    data: team_rows.UserRow


class ListedUser(team_rows.UserRow):
    """A user, and how many keys they have."""

    key_count: int


class UserPage(BaseModel):
    """`GET /user/list`."""

    users: list[ListedUser]
    total: int
    page: int
    page_size: int
    total_pages: int


class ListQuery(BaseModel):
    """Which users `/user/list` shows; every given field must match."""

    role: Id = None
    user_ids: Annotated[Id, Field(description="Ids, with commas between them.")] = None
    user_email: Id = None
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 25
    sort_by: Id = None
    sort_order: Literal["asc", "desc"] = "desc"


@administration.post("/user/new", response_model=MadeUser, summary="Make a user")
async def new(parts: Parts, caller: Caller, wanted: Annotated[NewUser, Body()] = _ANYTHING) -> Any:
    """A taken id or e-mail address is a 409. Teams must exist; the user becomes a member of each.

    All of it or nothing: where the key's alias is taken there is no user either.
    """
    teams = [await team_named(parts, team_id) for team_id in dict.fromkeys(wanted.teams or ())]
    user_id = wanted.user_id or parts.new_id()
    first = schemas.GenerateKey(user_id=user_id, key_alias=wanted.key_alias, duration=wanted.duration)
    first = key_bounds.of_new(parts, first)
    # What is wrong with the key is told before there is a user.
    key, raw = key_changes.new_key(parts, caller, first)
    user = await make(parts, wanted, user_id)
    made: dict[str, Any] = dict.fromkeys(("key_name", "key_alias", "token", "token_id", "expires")) | {"key": ""}
    try:
        for team in teams:
            await enrol(parts, team, [Member(user_id=user.id)], {})
        if wanted.auto_create_key:
            async with told_of_all(parts, [key_changes.scope(key.digest)]):
                await parts.keys.create(key)
            shown = key_changes.generated(parts, key, raw, first)
            made = {name: value for name, value in shown.items() if name in made}
    except AlreadyExists:
        await _unmake(parts, caller, user_id)
        raise
    return {**team_rows.user_row(user, [team.id for team in teams]), **made}


@administration.post("/user/update", response_model=UpdatedUser, summary="Change a user")
async def update(parts: Parts, wanted: UpdateUser) -> Any:
    """What is left out stays as it is. A user who is not known is made, as in LiteLLM."""
    user_id = wanted.user_id or await _id_of(parts, wanted.user_email or "") or parts.new_id()
    changes = changes_of(wanted, User, parts, renamed=_RENAMED, further=UserFurther)
    if wanted.user_id is None:
        changes.pop("email", None)
    async with told_of(parts, Scope("user", user_id), changes=changes):
        user = await parts.entities.users.update(user_id, {**changes, "updated_at": parts.now()})
    if user is None:
        user = await make(parts, wanted, user_id)
    teams = await _teams_of(parts, [user])
    return {"user_id": user.id, "data": team_rows.user_row(user, teams[user.id])}


@administration.post("/user/block", response_model=team_rows.UserRow, summary="Refuse a user's keys from now on")
async def block(parts: Parts, wanted: NamedUser) -> Any:
    """Everywhere, in teams too. Every worker refuses them at once; exchanges in flight end."""
    return await _block(parts, wanted.user_id, blocked=True)


@administration.post("/user/unblock", response_model=team_rows.UserRow, summary="Admit a blocked user's keys again")
async def unblock(parts: Parts, wanted: NamedUser) -> Any:
    """Keys that are blocked themselves stay blocked."""
    return await _block(parts, wanted.user_id, blocked=False)


@reading.get("/user/info", response_model=UserInfo, summary="Show a user with their keys and teams")
async def info(parts: Parts, seen: Seen, user_id: Annotated[Id, Query()] = None) -> Any:
    """A virtual key may ask about the user it belongs to. Without `user_id` the administrator sees all keys and teams,
    at most a thousand each."""
    wanted = user_id or (None if seen.all else seen.user_id)
    if not seen.all and (wanted is None or wanted != seen.user_id):
        raise Refused(NOT_YOURS)
    user = await parts.entities.users.find(wanted) if wanted else None
    if wanted is not None and user is None:
        raise not_found("user", wanted)
    user = await of_owner(parts, "user", user.id, user) if user else None
    found = await team_rows.keys_of(parts, KeyFilter(user_id=wanted))
    ids = (await _teams_of(parts, [user]))[user.id] if user else None
    teams = (await parts.entities.teams.list({} if ids is None else {"id": tuple(ids)})).rows
    shown = await team_rows.shown_teams(parts, teams)
    return {
        "user_id": wanted,
        "user_info": team_rows.user_row(user, ids or ()) if user else None,
        "keys": [key for each in found.values() for key in each],
        "teams": [{name: team[name] for name in team_rows.TeamRow.model_fields} for team in shown],
    }


@administration.get("/user/list", response_model=UserPage, summary="List users")
async def list_users(parts: Parts, wanted: Annotated[ListQuery, Query()]) -> Any:
    """The newest first, unless another order is asked for."""
    column = _SORTABLE.get(wanted.sort_by or "created_at")
    if column is None:
        raise bad_request(f"sort_by must be one of {', '.join(sorted(_SORTABLE))}", "sort_by")
    chosen: dict[str, Any] = {"role": wanted.role, "email": wanted.user_email}
    if wanted.user_ids is not None:
        chosen["id"] = tuple(part.strip() for part in wanted.user_ids.split(","))
    page = await parts.entities.users.list(
        {name: value for name, value in chosen.items() if value is not None},
        page=wanted.page, size=wanted.page_size, sort_by=column, descending=wanted.sort_order == "desc",
    )  # fmt: skip
    teams = await _teams_of(parts, page.rows)
    counts = await parts.keys.count_by_user([user.id for user in page.rows])
    return {
        "users": [
            team_rows.user_row(user, teams[user.id]) | {"key_count": counts.get(user.id, 0)} for user in page.rows
        ],
        "total": page.total,
        "page": wanted.page,
        "page_size": wanted.page_size,
        "total_pages": -(-page.total // wanted.page_size),
    }


async def _block(parts: ManagementParts, user_id: str, *, blocked: bool) -> dict[str, Any]:
    async with told_of(parts, Scope("user", user_id), changes={}):
        user = await parts.entities.users.update(user_id, {"fields": {"blocked": blocked}, "updated_at": parts.now()})
    if user is None:
        raise not_found("user", user_id)
    return team_rows.user_row(user, (await _teams_of(parts, [user]))[user.id])


async def make(parts: ManagementParts, wanted: UserFields, user_id: str) -> User:
    """A new user. Raises `AlreadyExists` for a taken id or e-mail address."""
    now = parts.now()
    changes = for_new(changes_of(wanted, User, parts, renamed=_RENAMED, further=UserFurther))
    user = User(id=user_id, created_at=now, updated_at=now, **{"role": "internal_user", **changes})
    async with told_of_all(parts, [Scope("user", user_id)]):
        return await parts.entities.users.create(user)


async def _unmake(parts: ManagementParts, caller: Key, user_id: str) -> None:
    """As if the user had never been made."""
    async with told_of_all(parts, [Scope("user", user_id)]):
        await parts.entities.users.delete([user_id], deleted_by=caller.user_id or caller.name, now=parts.now())


async def _id_of(parts: ManagementParts, email: str) -> str | None:
    found = await parts.entities.users.list({"email": email}, size=1)
    return next((user.id for user in found.rows), None)


async def _teams_of(parts: ManagementParts, users: Sequence[User]) -> dict[str, list[str]]:
    """The ids of each user's teams."""
    teams: dict[str, list[str]] = defaultdict(list)
    for member in await parts.entities.members.of_users([user.id for user in users]):
        teams[member.user_id].append(member.team_id)
    return teams
