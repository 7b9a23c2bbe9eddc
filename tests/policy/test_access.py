"""Whether a key may be used, and for which models."""

from __future__ import annotations

import pytest

from extproc.model import EndUser, Key, Membership, Team, User
from extproc.policy import access, refusals


def key(**fields):
    return Key(digest="d", name="sk-...abcd", **fields)


def test_a_plain_key_may_be_used():
    assert access.check_key(key(), now=1_000) is None


def test_a_blocked_key_is_refused_as_blocked_even_if_it_is_expired_too():
    assert access.check_key(key(blocked=True, expires_at=1), now=1_000) == refusals.KEY_BLOCKED


@pytest.mark.parametrize(("now", "refused"), [(999, False), (1_000, True), (1_001, True)])
def test_a_key_is_expired_from_the_millisecond_of_its_expiry(now, refused):
    assert (access.check_key(key(expires_at=1_000), now) is not None) is refused


@pytest.mark.parametrize(("now", "refusal"), [(999, None), (1_000, refusals.UNKNOWN_KEY)])
def test_a_credential_that_a_key_no_longer_has_is_nobodys(now, refusal):
    assert access.check_key(key(revoked_at=1_000), now=now) == refusal


@pytest.mark.parametrize(("models", "holds"), [((), True), (("a*",), True), (("b", "ab"), True), (("b",), False)])
def test_a_list_that_names_no_model_holds_them_all(models, holds):
    assert access.lists_model(models, "ab") is holds


def test_the_refusal_of_an_expired_key_names_both_moments():
    refusal = access.check_key(key(expires_at=1_700_000_000_000), now=1_700_000_000_500)

    assert refusal == refusals.expired_key(
        "sk-...abcd", "2023-11-14 22:13:20.000+00:00", "2023-11-14 22:13:20.500+00:00"
    )


@pytest.mark.parametrize(
    ("models", "model", "allowed"),
    [
        ((), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("gpt-4o",), "GPT-4O", False),
        (("openai/*",), "openai/gpt-4o", True),
        (("openai/*",), "openai", False),
        (("*-mini",), "gpt-4o-mini", True),
        (("a*a",), "a", False),
        (("a*a",), "aa", True),
        (("*",), "anything", True),
        (("all-proxy-models",), "anything", True),
        (("a", "b*"), "bc", True),
        (("a*b*",), "axbx", False),
    ],
)
def test_the_list_of_models_decides(models, model, allowed):
    assert access.allows_model(key(models=models), model) is allowed


def test_a_key_of_a_blocked_team_is_refused_and_the_team_is_named():
    refusal = access.check_key(key(team_id="t", team=Team(id="t", blocked=True)), now=1_000)

    assert refusal == refusals.team_blocked("t")
    assert (refusal.status, refusal.kind, refusal.message) == (
        401,
        "auth_error",
        "Authentication Error, Team=t is blocked. Update via `/team/unblock` if you're an admin.",
    )


def test_a_key_that_is_blocked_itself_is_told_so_before_its_team():
    assert access.check_key(key(blocked=True, team=Team(id="t", blocked=True)), now=1) == refusals.KEY_BLOCKED


def test_a_key_of_a_team_that_is_not_blocked_may_be_used():
    assert access.check_key(key(team_id="t", team=Team(id="t")), now=1_000) is None


def test_a_key_of_a_blocked_user_is_refused_and_the_user_is_named():
    blocked = User(id="u", fields={"blocked": True})

    assert access.check_key(key(user_id="u", user=blocked), now=1_000) == refusals.user_blocked("u")
    assert access.check_key(key(user_id="u", user=User(id="u")), now=1_000) is None


@pytest.mark.parametrize(
    ("routes", "path", "groups", "allowed"),
    [
        (None, "/v1/chat/completions", access.MODEL_ROUTES, True),
        ([], "/v1/chat/completions", access.MODEL_ROUTES, True),
        (["llm_api_routes"], "/v1/chat/completions", access.MODEL_ROUTES, True),
        (["info_routes"], "/v1/chat/completions", access.MODEL_ROUTES, False),
        (["/v1/chat/completions"], "/v1/chat/completions", access.MODEL_ROUTES, True),
        (["/v1/chat/completions"], "/v1/embeddings", access.MODEL_ROUTES, False),
        (["/v1/*"], "/v1/embeddings", access.MODEL_ROUTES, True),
        (["llm_api_routes"], "/key/info", ("management_routes", "info_routes"), False),
        (["unheard_of_routes"], "/v1/embeddings", access.MODEL_ROUTES, False),
    ],
)
def test_a_key_reaches_the_routes_that_its_list_names(routes, path, groups, allowed):
    refusal = access.check_route(key(fields={"allowed_routes": routes}), path, groups)

    assert refusal == (None if allowed else refusals.ROUTE_NOT_ALLOWED)


@pytest.mark.parametrize(
    ("text", "good"),
    [("llm_api_routes", True), ("/v1/*", True), ("/*/x", False), ("v1", False), ("", False), ("*", False)],
)
def test_a_route_is_a_group_or_a_path_that_may_end_with_a_star(text, good):
    assert access.is_route(text) is good


def team(*models, **fields):
    return {"team_id": "t", "team": Team(id="t", models=models), **fields}


def member(*models):
    return Membership(user_id="u", team_id="t", models=models)


def user(*models, **fields):
    return {"user_id": "u", "user": User(id="u", models=models), **fields}


@pytest.mark.parametrize(
    ("fields", "model", "kind"),
    [
        (team("a"), "a", None),
        (team("a"), "b", "team_model_access_denied"),
        (team(), "b", None),
        (team("a*"), "ab", None),
        (team("all-proxy-models"), "b", None),
        (team("a", "b", models=("a",)), "b", "key_model_access_denied"),
        (team("a", models=("b",)), "b", "team_model_access_denied"),
        (team("a", models=("all-team-models",)), "a", None),
        (team("a", models=("all-team-models",)), "b", "team_model_access_denied"),
        (team(models=("all-team-models",)), "b", None),
        ({"models": ("all-team-models",)}, "b", "key_model_access_denied"),
        ({"models": ("all-team-models",), "team_id": "unknown"}, "b", "key_model_access_denied"),
        (team("a", "b", membership=member("a")), "a", None),
        (team("a", "b", membership=member("a")), "b", "team_model_access_denied"),
        (team("a", membership=member()), "a", None),
        (user("a"), "a", None),
        (user("a"), "b", "key_model_access_denied"),
        (user("no-default-models"), "b", "key_model_access_denied"),
        (team("b", **user("a")), "b", None),
        (user("a", team_id="unknown"), "b", None),
    ],
)
def test_every_list_that_binds_a_key_must_hold_the_model(fields, model, kind):
    refusal = access.check_model(key(**fields), model)

    assert (refusal and refusal.kind) == kind
    assert access.allows_model(key(**fields), model) is (kind is None)
    assert refusal is None or (refusal.status, refusal.param) == (403, "model")


@pytest.mark.parametrize(
    ("end_user", "model", "kind"),
    [
        (EndUser(id="e"), "a", None),
        (EndUser(id="e", models=("a",)), "a", None),
        (EndUser(id="e", models=("a",)), "b", "customer_model_access_denied"),
        (EndUser(id="e", blocked=True), "a", "end_user_blocked"),
    ],
)
def test_an_end_user_may_be_blocked_and_may_have_models_of_their_own(end_user, model, kind):
    refusal = access.check_end_user(end_user, model)

    assert (refusal and refusal.kind) == kind


def test_the_refusal_of_a_blocked_end_user_says_who_and_what_to_do():
    refusal = refusals.end_user_blocked("e")

    assert (refusal.status, refusal.param, refusal.reason) == (400, "user", "end_user_blocked")
    assert refusal.message == "End User=e is blocked. Update via `/customer/unblock` if you're an admin."
