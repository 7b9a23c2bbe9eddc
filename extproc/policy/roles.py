"""Who may call which route of the management API, and whose things a caller sees: one table, and one value.

A role is asked for every route before a body is read. Every route must stand in the table; one that does not is
refused for everybody. Where a role may call a route for what is its own only, the endpoint asks `Sight` (whose things
are shown) or `keeping` (whose things are changed): both come from the caller, never from the request.

Roles are LiteLLM's. A key has the role of its user; one without a user, or whose user is in no such role, is `KEY` and
changes nothing. The administrator of a team is a member of it with the role `admin`; other members may do with the
team's keys what its `team_member_permissions` name.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from extproc.model import Key, Membership, Role, Team
from extproc.policy.access import MODEL_ROUTES


class Standing(StrEnum):
    """What a caller is, in LiteLLM's words; `KEY` is a key that belongs to nobody with a role."""

    PROXY_ADMIN = "proxy_admin"
    PROXY_ADMIN_VIEWER = "proxy_admin_viewer"
    INTERNAL_USER = "internal_user"
    INTERNAL_USER_VIEWER = "internal_user_viewer"
    CUSTOMER = "customer"
    KEY = "unknown"


_ADMIN = frozenset({Standing.PROXY_ADMIN})
_ALL_SEEING = _ADMIN | {Standing.PROXY_ADMIN_VIEWER}
_EVERY_KEY = frozenset(Standing)


class Who(StrEnum):
    """To whom a route is open. `OWNERS` read what is theirs; `KEEPERS` change it, and team admins their teams."""

    ANYONE = "anyone"
    EVERY_KEY = "every key"
    OWNERS = "owners"
    KEEPERS = "keepers"
    ALL_SEEING = "all seeing"
    ADMIN = "admin"


_STANDINGS: dict[Who, frozenset[Standing]] = {
    Who.ANYONE: _EVERY_KEY,
    Who.EVERY_KEY: _EVERY_KEY,
    Who.OWNERS: _EVERY_KEY - {Standing.CUSTOMER},
    Who.KEEPERS: _ADMIN | {Standing.INTERNAL_USER},
    Who.ALL_SEEING: _ALL_SEEING,
    Who.ADMIN: _ADMIN,
}

#: Method and path, as the application knows it. An `end_user` route is the `customer` route by its other name.
_TABLE: dict[Who, str] = {
    Who.ANYONE: """
        GET /health/liveliness  GET /health/liveness  GET /health/readiness  GET /metrics  GET /metrics/worker
        GET /openapi.json  GET /docs  GET /docs/assets/{name}
        GET /sso/key/generate  GET /sso/callback  GET /sso/callback/{name}  GET /sso/readiness  POST /sso/cli/key
    """,
    Who.EVERY_KEY: """
        GET /key/info  POST /key/health  GET /user/info  GET /v2/user/info  GET /health  GET /extproc/explain
        GET /user/{user_id}  GET /user/{user_id}/export
        GET /v1/models  GET /models  GET /v1/models/{model:path}  GET /models/{model:path}
        GET /model/info  GET /v1/model/info  GET /v2/model/info
        POST /session/logout  POST /guardrails/apply_guardrail  GET /guardrails/list
        GET /spend/logs  GET /spend/logs/v2  GET /spend/logs/ui  GET /spend/logs/ui/{request_id}
        POST /spend/calculate
    """,
    Who.OWNERS: """
        GET /key/spend/report  GET /team/spend/report  GET /user/spend/report
        GET /user/daily/activity  GET /user/daily/activity/aggregated  GET /user/daily/activity/export
        GET /team/daily/activity  GET /team/daily/activity/aggregated  GET /team/daily/activity/export
        GET /tag/daily/activity  GET /tag/daily/activity/aggregated  GET /tag/daily/activity/export
        GET /customer/daily/activity  GET /customer/daily/activity/aggregated  GET /customer/daily/activity/export
        GET /organization/daily/activity  GET /organization/daily/activity/aggregated
        GET /organization/daily/activity/export  GET /organization/spend/report
        GET /user/daily/activity/keys  GET /team/daily/activity/keys  GET /tag/daily/activity/keys
        GET /customer/daily/activity/keys  GET /organization/daily/activity/keys
        GET /user/daily/activity/search  GET /team/daily/activity/search  GET /tag/daily/activity/search
        GET /customer/daily/activity/search  GET /organization/daily/activity/search
        GET /key/list  GET /key/aliases  GET /team/info  GET /team/list  GET /v2/team/list  GET /team/available
    """,
    Who.KEEPERS: """
        POST /key/generate  POST /key/update  POST /key/delete  POST /key/block  POST /key/unblock
        POST /key/regenerate  POST /key/{key}/regenerate  POST /key/{key}/reset_spend
        POST /key/service-account/generate
        POST /team/update  POST /team/member_add  POST /team/member/add
        POST /team/member_update  POST /team/member_delete  PATCH /team/{team_id}
    """,
    Who.ALL_SEEING: """
        POST /v2/key/info  GET /user/list  GET /customer/info  GET /customer/list
        POST /budget/info  GET /budget/list  POST /tag/info  GET /tag/list
        GET /global/spend  GET /global/spend/logs  GET /global/spend/keys  GET /global/spend/teams
        GET /global/spend/models  GET /global/spend/provider  GET /global/spend/tags  GET /global/spend/all_tag_names
        GET /global/spend/report  POST /global/spend/end_users  GET /spend/users  GET /spend/tags
        GET /spend/keys  GET /extproc/authentication-failures  GET /extproc/suspicious-keys
        GET /audit  GET /audit/export  GET /audit/{id}
    """,
    Who.ADMIN: """
        POST /key/bulk_update  POST /global/spend/reset
        POST /team/new  POST /team/delete  POST /team/block  POST /team/unblock
        POST /user/new  POST /user/update  POST /user/delete  DELETE /user/delete  POST /user/block  POST /user/unblock
        POST /customer/new  POST /customer/update  POST /customer/delete  POST /customer/block  POST /customer/unblock
        DELETE /customer/delete  GET /customer/{customer_id}/export
        POST /budget/new  POST /budget/update  POST /budget/delete
        POST /tag/new  POST /tag/update  POST /tag/delete
        POST /model/new  POST /model/update  POST /model/delete  PATCH /model/{model_id}/update
    """,
}  # fmt: skip


def _rows() -> dict[tuple[str, str], Who]:
    found: dict[tuple[str, str], Who] = {}
    for who, text in _TABLE.items():
        words = text.split()
        for route in zip(words[::2], words[1::2], strict=True):
            if route in found:
                raise ValueError(f"{route} stands in the table twice")
            found[route] = who
    return found


ROUTES = _rows()


def who_may(method: str, path: str) -> Who | None:
    """To whom this route is open; `None` for one that is not in the table, which is open to nobody."""
    if path.startswith("/end_user/"):
        path = path.replace("/end_user/", "/customer/", 1)
    return ROUTES.get((method, path))


def may_call(standing: Standing, method: str, path: str) -> bool:
    """Whether a key of this standing may call the route."""
    who = who_may(method, path)
    return who is not None and standing in _STANDINGS[who]


def groups(method: str, path: str) -> frozenset[str]:
    """The names in a key's `allowed_routes` that this route of the management API goes by."""
    names = {"management_routes"}
    if method == "GET" and who_may(method, path) in {Who.EVERY_KEY, Who.OWNERS}:
        names.add("info_routes")
    if "/models" in path:
        names |= MODEL_ROUTES
    if path.startswith(("/spend/", "/global/spend")):
        names.add("spend_tracking_routes")
    return frozenset(names)


def standing(key: Key) -> Standing:
    """What a caller is. A role that has no standing here (`org_admin`, `team`) gives none."""
    if key.role is Role.PROXY_ADMIN:
        return Standing.PROXY_ADMIN
    role = None if key.user is None else key.user.role
    return Standing(role) if role in _EVERY_KEY else Standing.KEY


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """Whose things a caller sees: everybody's (`all`), or those of its user, of these teams, and of itself.

    `team_ids` are teams that the caller administers: everything of theirs is shown. `member_of` are all teams whose
    rows are shown, though not what belongs to others in them. `digest` is the caller's own key's.
    """

    all: bool = False
    user_id: str | None = None
    team_ids: tuple[str, ...] = ()
    member_of: tuple[str, ...] = ()
    digest: str = ""

    def shows(self, *, user_id: str | None, team_id: str | None, digest: str) -> bool:
        """Whether what belongs to this key, user and team is shown. Nobody's things are not everybody's."""
        if self.all or digest == self.digest:
            return True
        if team_id is not None and team_id in self.team_ids:
            return True
        return user_id is not None and user_id == self.user_id

    def shows_key(self, key: Key) -> bool:
        """The same, of a key."""
        return self.shows(user_id=key.user_id, team_id=key.team_id, digest=key.digest)


def sight(caller: Key, memberships: Iterable[Membership]) -> Sight:
    """What a caller sees. `memberships` are those of the caller's user."""
    if standing(caller) in _ALL_SEEING:
        return Sight(all=True, user_id=caller.user_id, digest=caller.digest)
    theirs = tuple(memberships) if caller.user_id is not None else ()
    own = () if caller.team_id is None else (caller.team_id,)
    return Sight(
        user_id=caller.user_id,
        team_ids=tuple(member.team_id for member in theirs if member.role == "admin"),
        member_of=tuple(dict.fromkeys([*own, *(member.team_id for member in theirs)])),
        digest=caller.digest,
    )


def permits(team: Team, route: str) -> bool:
    """Whether the team lets its members do this (a path such as `/key/generate`) with its keys."""
    return route in (team.fields.get("team_member_permissions") or ())
