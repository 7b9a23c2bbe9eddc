"""LiteLLM's later forms of what is shown and changed of teams and users."""

from __future__ import annotations

from management.asking import error, get, post

from extproc.management import team_views


async def test_a_team_is_patched_as_it_is_updated(admin):
    await post(admin, "/team/new", team_id="t", team_alias="a", max_budget=5, metadata={"x": 1})

    response = await admin.patch("/team/t", json={"max_budget": 7.5, "team_member_rpm_limit": 3})
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert (data["team_alias"], data["max_budget"], data["team_member_rpm_limit"], data["metadata"]) == (
        "a", 7.5, 3, {"x": 1},
    )  # fmt: skip
    error(await admin.patch("/team/unknown", json={"max_budget": 1}), 404)
    error(await admin.patch("/team/t", json={"max_budget": -1}), 400, param="max_budget")
    assert (await admin.patch("/team/t", json={"rpm_limit": -1})).status_code == 422


async def test_teams_come_in_pages_and_in_an_order(admin):
    for name in ("c", "a", "b"):
        await post(admin, "/team/new", team_id=name, team_alias=f"team {name}")

    body = await get(admin, "/v2/team/list", page_size=2, sort_by="team_id", sort_order="asc")
    team_views.TeamPage.model_validate(body)
    assert [team["team_id"] for team in body["teams"]] == ["a", "b"]
    assert (body["total"], body["page"], body["page_size"], body["total_pages"]) == (3, 1, 2, 2)
    for query in ({"team_id": "b"}, {"team_alias": "team b"}):
        assert [team["team_id"] for team in (await get(admin, "/v2/team/list", **query))["teams"]] == ["b"]
    error(await admin.get("/v2/team/list", params={"sort_by": "nothing"}), 400, param="sort_by")


async def test_a_key_sees_its_own_teams_only(gateway, admin):
    for name in ("mine", "others"):
        await post(admin, "/team/new", team_id=name)
    made = await gateway.generate(team_id="mine")

    async with gateway.caller(made["key"]) as owner:
        assert [team["team_id"] for team in (await get(owner, "/v2/team/list"))["teams"]] == ["mine"]
        assert (await get(owner, "/v2/team/list", team_id="others"))["total"] == 0
        error(await owner.get("/v2/team/list", params={"user_id": "somebody"}), 403)
        assert await get(owner, "/team/available") == []


async def test_a_user_is_shown_without_keys_to_the_administrator_and_to_itself(gateway, admin):
    await post(admin, "/team/new", team_id="t")
    made = await post(admin, "/user/new", user_id="u", user_email="u@example.com", teams=["t"])

    shown = await get(admin, "/v2/user/info", user_id="u")
    assert (shown["user_email"], shown["teams"]) == ("u@example.com", ["t"])
    assert made["token"] not in str(shown)
    async with gateway.caller(made["key"]) as owner:
        assert await get(owner, "/v2/user/info") == shown
        error(await owner.get("/v2/user/info", params={"user_id": "v"}), 403)
    error(await admin.get("/v2/user/info", params={"user_id": "v"}), 404)
