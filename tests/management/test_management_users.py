"""Users are made, shown, changed, deleted and listed as LiteLLM's clients expect."""

from __future__ import annotations

import pytest
from management.asking import error, get, post

from extproc.management import team_rows, users


async def test_a_new_user_comes_with_a_key_that_works(gateway, admin):
    body = await post(admin, "/user/new", user_id="u", user_email="u@example.com", max_budget=5, budget_duration="1d")

    users.MadeUser.model_validate(body)
    assert body.keys() == users.MadeUser.model_fields.keys()
    assert (body["user_id"], body["user_email"], body["user_role"]) == ("u", "u@example.com", "internal_user")
    assert (body["max_budget"], body["budget_reset_at"]) == (5.0, "2026-11-24T00:00:00.000Z")
    async with gateway.caller(body["key"]) as owner:
        assert (await get(owner, "/key/info"))["info"]["user_id"] == "u"
        assert (await get(owner, "/user/info"))["user_info"]["max_budget"] == 5.0


async def test_a_user_may_come_without_a_key_and_with_an_id_of_ours(admin):
    body = (await admin.post("/user/new", json={"auto_create_key": False})).json()

    assert (body["key"], body["token"], len(body["user_id"])) == ("", None, 36)
    assert (await get(admin, "/user/info", user_id=body["user_id"]))["keys"] == []


async def test_a_new_user_joins_teams_that_exist(admin):
    await post(admin, "/team/new", team_id="t")

    assert (await post(admin, "/user/new", user_id="u", teams=["t"]))["teams"] == ["t"]
    error(await admin.post("/user/new", json={"user_id": "v", "teams": ["unknown"]}), 404)
    error(await admin.get("/user/info", params={"user_id": "v"}), 404)


@pytest.mark.parametrize(
    ("taken", "param"), [({"user_id": "u"}, "user_id"), ({"user_email": "u@example.com"}, "user_email")]
)
async def test_a_taken_id_or_address_is_a_409(admin, taken, param):
    await post(admin, "/user/new", user_id="u", user_email="u@example.com")

    error(await admin.post("/user/new", json=taken), 409, param=param)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"user_role": "king"}, 422), ({"password": "secret-password"}, 422), ({"max_budget": -1}, 400),
     ({"budget_duration": "soon"}, 400), ({"duration": "soon"}, 400), ({"user_email": 1}, 422)],
)  # fmt: skip
async def test_what_cannot_be_is_said_so(admin, body, status):
    response = await admin.post("/user/new", json=body)

    assert response.status_code == status
    assert "secret-password" not in response.text


async def test_an_update_changes_what_it_names_and_tells_caches_and_counters(gateway, admin):
    await post(admin, "/user/new", user_id="u", user_email="u@example.com", user_alias="a")
    gateway.forgotten.clear()
    gateway.unseeded.clear()

    body = await post(admin, "/user/update", user_id="u", rpm_limit=3, spend=1.5)
    by_address = await post(admin, "/user/update", user_email="u@example.com", user_alias="b")

    users.UpdatedUser.model_validate(body)
    assert (body["user_id"], body["data"]["rpm_limit"], body["data"]["spend"]) == ("u", 3, 1.5)
    assert (by_address["user_id"], by_address["data"]["user_alias"]) == ("u", "b")
    assert by_address["data"]["user_email"] == "u@example.com"
    assert (gateway.forgotten, gateway.unseeded) == (["user u", "user u"], ["user u"])


async def test_an_update_of_somebody_unknown_makes_a_user(admin):
    assert (await post(admin, "/user/update", user_id="new", max_budget=1))["data"]["max_budget"] == 1.0
    body = await post(admin, "/user/update", user_email="x@example.com")
    assert (await get(admin, "/user/info", user_id=body["user_id"]))["user_info"]["user_email"] == "x@example.com"
    assert (await admin.post("/user/update", json={"max_budget": 1})).status_code == 422


async def test_a_deleted_users_keys_are_unknown_at_once(gateway, admin):
    await post(admin, "/team/new", team_id="t")
    made = await post(admin, "/user/new", user_id="u", teams=["t"])
    gateway.forgotten.clear()

    assert await post(admin, "/user/delete", user_ids=["u"]) == 1

    assert {*gateway.forgotten} == {"user u"}
    async with gateway.caller(made["key"]) as owner:
        error(await owner.get("/key/info"), 401, type="token_not_found_in_db")
    assert (await get(admin, "/team/info", team_id="t"))["team_info"]["members"] == ["default_user_id"]


async def test_one_unknown_user_spares_all(admin):
    await post(admin, "/user/new", user_id="u")

    error(await admin.post("/user/delete", json={"user_ids": ["u", "unknown"]}), 404, type="not_found_error")
    assert (await get(admin, "/user/info", user_id="u"))["user_id"] == "u"


class TestReading:
    async def test_a_user_is_shown_with_keys_and_teams(self, gateway, admin):
        await post(admin, "/team/new", team_id="t", max_budget=3)
        made = await post(admin, "/user/new", user_id="u", teams=["t"])

        body = await get(admin, "/user/info", user_id="u")

        users.UserInfo.model_validate(body)
        assert [key["token"] for key in body["keys"]] == [made["token"]]
        assert [(team["team_id"], team["max_budget"]) for team in body["teams"]] == [("t", 3.0)]
        assert made["key"] not in str(body)

    async def test_the_administrator_sees_all_keys_and_teams_without_naming_a_user(self, gateway, admin):
        await post(admin, "/team/new", team_id="t")
        made = [await gateway.generate(team_id="t"), await gateway.generate()]

        body = await get(admin, "/user/info")

        assert (body["user_id"], body["user_info"]) == (None, None)
        assert {key["token"] for key in body["keys"]} == {key["token"] for key in made}
        assert [team["team_id"] for team in body["teams"]] == ["t"]

    async def test_a_key_sees_its_own_user_only(self, gateway, admin):
        mine = await post(admin, "/user/new", user_id="u")
        await post(admin, "/user/new", user_id="v")
        async with gateway.caller(mine["key"]) as owner:
            assert (await get(owner, "/user/info"))["user_id"] == "u"
            assert (await get(owner, "/user/info", user_id="u"))["user_id"] == "u"
            error(await owner.get("/user/info", params={"user_id": "v"}), 403)
            error(await owner.get("/user/info", params={"user_id": "unknown"}), 403)

    async def test_an_unknown_user_is_not_found(self, admin):
        error(await admin.get("/user/info", params={"user_id": "x"}), 404, message="User x not found")

    async def test_users_are_listed_in_pages_and_chosen(self, gateway, admin):
        for number in range(3):
            gateway.now += 1
            await post(admin, "/user/new", user_id=f"u{number}", user_role="internal_user" if number else "proxy_admin")
        await gateway.generate(user_id="u2")

        def ids(page):
            return [user["user_id"] for user in page["users"]]

        body = await get(admin, "/user/list", page_size=2)
        users.UserPage.model_validate(body)
        assert (ids(body), body["total"], body["total_pages"]) == (["u2", "u1"], 3, 2)
        assert [user["key_count"] for user in body["users"]] == [2, 1]
        assert ids(await get(admin, "/user/list", page_size=2, page=2)) == ["u0"]
        assert ids(await get(admin, "/user/list", role="proxy_admin")) == ["u0"]
        assert ids(await get(admin, "/user/list", user_ids="u0, u2", sort_by="user_id", sort_order="asc")) == [
            "u0",
            "u2",
        ]
        error(await admin.get("/user/list", params={"sort_by": "nothing"}), 400, param="sort_by")


async def test_a_key_without_a_team_may_use_its_users_models_only(gateway, admin):
    made = await post(admin, "/user/new", user_id="u", models=["small"])
    await post(admin, "/team/new", team_id="t")
    in_team = await gateway.generate(user_id="u", team_id="t", models=["gpt-4o"])

    async def models(key: str) -> list[str]:
        async with gateway.caller(key) as owner:
            return [model["id"] for model in (await get(owner, "/v1/models"))["data"]]

    assert await models(made["key"]) == ["small"]
    assert await models(in_team["key"]) == ["gpt-4o"]


async def test_rows_of_users_match_their_schema(admin):
    await post(admin, "/user/new", user_id="u", metadata={"a": 1}, aliases={"x": "y"})

    shown = (await get(admin, "/user/info", user_id="u"))["user_info"]

    assert shown.keys() == team_rows.UserRow.model_fields.keys()
    assert (shown["metadata"], shown["aliases"]) == ({"a": 1}, {"x": "y"})
