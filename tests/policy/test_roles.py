"""Who may call which route, and whose things a caller sees."""

from __future__ import annotations

import pytest

from extproc.model import Key, Membership, Role, Team, User
from extproc.policy import roles
from extproc.policy.access import MODEL_ROUTES
from extproc.policy.roles import Sight, Standing, Who


def key(role: str | None = None, **fields):
    user = {"user_id": "u", "user": User(id="u", role=role)} if role else {}
    return Key(**{"digest": "d", "name": "sk-...abcd", **user, **fields})


@pytest.mark.parametrize(
    ("caller", "standing"),
    [
        (key(), Standing.KEY),
        (key(role=None, user_id="unknown"), Standing.KEY),
        (key("proxy_admin"), Standing.PROXY_ADMIN),
        (key("proxy_admin_viewer"), Standing.PROXY_ADMIN_VIEWER),
        (key("internal_user"), Standing.INTERNAL_USER),
        (key("internal_user_viewer"), Standing.INTERNAL_USER_VIEWER),
        (key("customer"), Standing.CUSTOMER),
        (key("team"), Standing.KEY),
        (key("org_admin"), Standing.KEY),
        (key("unknown"), Standing.KEY),
        (key("PROXY_ADMIN"), Standing.KEY),
        (Key(digest="d", name="", role=Role.PROXY_ADMIN), Standing.PROXY_ADMIN),
    ],
)
def test_a_key_has_the_role_of_its_user_and_none_that_is_not_known(caller, standing):
    assert roles.standing(caller) is standing


def test_a_route_that_is_not_in_the_table_is_open_to_nobody():
    assert not any(roles.may_call(standing, "POST", "/key/unheard-of") for standing in Standing)
    assert not any(roles.may_call(standing, "DELETE", "/key/info") for standing in Standing)


def test_only_administrators_change_what_has_no_owner():
    for (method, path), who in roles.ROUTES.items():
        allowed = {standing for standing in Standing if roles.may_call(standing, method, path)}
        if who is Who.ADMIN:
            assert allowed == {Standing.PROXY_ADMIN}, path
        if who is Who.KEEPERS:
            assert allowed == {Standing.PROXY_ADMIN, Standing.INTERNAL_USER}, path


def test_an_end_user_route_is_the_customer_route_by_its_other_name():
    assert roles.who_may("POST", "/end_user/block") is roles.who_may("POST", "/customer/block") is Who.ADMIN


@pytest.mark.parametrize(
    ("method", "path", "groups"),
    [
        ("GET", "/key/info", {"management_routes", "info_routes"}),
        ("POST", "/key/generate", {"management_routes"}),
        ("GET", "/user/list", {"management_routes"}),
        ("GET", "/spend/logs", {"management_routes", "info_routes", "spend_tracking_routes"}),
        ("GET", "/v1/models", {"management_routes", "info_routes", *MODEL_ROUTES}),
    ],
)
def test_a_route_goes_by_the_names_of_its_groups(method, path, groups):
    assert roles.groups(method, path) == groups


def member(team_id: str, role: str = "user") -> Membership:
    return Membership(user_id="u", team_id=team_id, role=role)


@pytest.mark.parametrize("role", ["proxy_admin", "proxy_admin_viewer"])
def test_administrators_and_their_viewers_see_everything(role):
    seen = roles.sight(key(role), ())

    assert seen.all
    assert seen.shows(user_id="other", team_id="other", digest="other")


def test_everybody_else_sees_their_user_the_teams_they_administer_and_their_own_key():
    seen = roles.sight(key("internal_user", team_id="t0"), [member("t1"), member("t2", "admin")])

    assert seen == Sight(user_id="u", team_ids=("t2",), member_of=("t0", "t1", "t2"), digest="d")
    assert seen.shows(user_id="u", team_id=None, digest="x")
    assert seen.shows(user_id="v", team_id="t2", digest="x")
    assert seen.shows(user_id=None, team_id=None, digest="d")
    assert not seen.shows(user_id="v", team_id="t1", digest="x")
    assert not seen.shows(user_id=None, team_id="t0", digest="x")


def test_what_is_nobodys_is_not_seen_by_whoever_is_nobody():
    seen = roles.sight(key(), [member("t", "admin")])

    assert seen == Sight(digest="d")
    assert not seen.shows_key(Key(digest="other", name=""))


@pytest.mark.parametrize(("fields", "allowed"), [({}, False), ({"team_member_permissions": None}, False)])
def test_a_team_permits_nothing_that_it_does_not_name(fields, allowed):
    assert roles.permits(Team(id="t", fields=fields), "/key/generate") is allowed


def test_a_team_permits_what_it_names():
    team = Team(id="t", fields={"team_member_permissions": ["/key/generate"]})

    assert roles.permits(team, "/key/generate")
    assert not roles.permits(team, "/key/update")


def test_a_route_may_stand_in_the_table_once_only(monkeypatch):
    monkeypatch.setattr(roles, "_TABLE", {Who.ADMIN: "GET /a  GET /a"})

    with pytest.raises(ValueError, match="stands in the table twice"):
        roles._rows()
