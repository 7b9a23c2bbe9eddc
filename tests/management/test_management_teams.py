"""Teams and their members are made, shown, changed, blocked and deleted as LiteLLM's clients expect."""

from __future__ import annotations

import pytest
from management.asking import error, get, post

from extproc.management import rows, team_rows

#: The two commands of the security page, as they are written there.
NEW_TEAM = """{
    "team_alias": "engineering",
    "models": ["gpt-4o", "claude-sonnet-4"],
    "max_budget": 1000.0,
    "budget_duration": "30d",
    "rpm_limit": 500,
    "tpm_limit": 500000
  }"""
ADD_MEMBER = """{
    "team_id": "team-123",
    "user_id": "user@example.com",
    "role": "member"
  }"""
JSON = {"content-type": "application/json"}
NOT_FOUND = {"type": "not_found_error", "message": "Team not found, passed team id: unknown."}


async def test_the_security_pages_command_makes_a_team(gateway, admin):
    response = await admin.post("/team/new", content=NEW_TEAM, headers=JSON)

    body = response.json()
    assert response.status_code == 200
    team_rows.TeamRow.model_validate(body)
    assert body.keys() == team_rows.TeamRow.model_fields.keys()
    assert {name: body[name] for name in ("team_alias", "models", "max_budget", "rpm_limit", "tpm_limit", "spend")} == {
        "team_alias": "engineering", "models": ["gpt-4o", "claude-sonnet-4"], "max_budget": 1000.0, "rpm_limit": 500,
        "tpm_limit": 500_000, "spend": 0.0,
    }  # fmt: skip
    assert (body["budget_duration"], body["budget_reset_at"]) == ("30d", "2026-12-01T00:00:00.000Z")
    assert body["members_with_roles"] == [{"user_id": "default_user_id", "user_email": None, "role": "admin"}]
    assert (body["blocked"], body["created_at"]) == (False, "2026-11-23T15:04:05.678Z")
    assert gateway.forgotten[0] == gateway.unseeded[0] == f"team {body['team_id']}"


async def test_the_security_pages_command_puts_a_member_into_it(admin):
    await post(admin, "/team/new", team_id="team-123")

    response = await admin.post("/team/member/add", content=ADD_MEMBER, headers=JSON)

    body = response.json()
    assert response.status_code == 200
    assert body["members_with_roles"][1] == {"user_id": "user@example.com", "user_email": None, "role": "user"}
    assert [user["user_id"] for user in body["updated_users"]] == ["user@example.com"]


class TestTeams:
    async def test_nothing_asked_for_is_a_team_without_limits(self, admin):
        body = (await admin.post("/team/new")).json()

        assert (body["models"], body["max_budget"], body["team_alias"]) == ([], None, None)

    async def test_every_field_is_kept_and_shown(self, admin):
        fields = {
            "team_id": "t", "team_alias": "a", "organization_id": "o", "models": ["m"], "metadata": {"a": 1},
            "max_budget": 1.5, "soft_budget": 1.0, "budget_duration": "1d", "max_parallel_requests": 3, "rpm_limit": 1,
            "tpm_limit": 2, "tpd_limit": 4, "model_rpm_limit": {"m": 1}, "model_tpm_limit": {"m": 2},
            "model_max_budget": {"m": {"max_budget": 0.5, "budget_duration": "1h"}},
            "budget_limits": [{"max_budget": 0.25, "budget_duration": "1h"}], "blocked": True,
            "team_member_budget": 0.5, "team_member_permissions": ["/key/info"], "guardrails": ["g"], "tags": ["t"],
        }  # fmt: skip

        made = await post(admin, "/team/new", **fields, unknown="ignored")

        assert {name: made[name] for name in fields} == fields
        shown = await get(admin, "/team/info", team_id="t")
        assert shown["team_info"] == made
        assert "unknown" not in made

    async def test_a_taken_id_is_refused_and_an_alias_may_be_shared(self, admin):
        await post(admin, "/team/new", team_id="t", team_alias="a")
        await post(admin, "/team/new", team_alias="a")

        refused = await admin.post("/team/new", json={"team_id": "t"})

        error(refused, 400, type="bad_request_error", param="team_id")

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"max_budget": -1}, 400), ({"budget_duration": "soon"}, 400), ({"team_id": "a:b"}, 400),
            ({"metadata": {"a": "x" * 70_000}}, 400), ({"rpm_limit": -1}, 422), ({"models": "m"}, 422),
            ({"members_with_roles": [{}]}, 422), ({"members_with_roles": [{"user_id": "u", "role": "king"}]}, 422),
            ({"budget_limits": [{"max_budget": 1}]}, 422), ({"model_max_budget": {"m": {}}}, 422),
        ],
    )  # fmt: skip
    async def test_what_cannot_be_is_said_so_and_nothing_is_made(self, admin, body, status):
        assert (await admin.post("/team/new", json=body)).status_code == status
        assert await get(admin, "/team/list") == []

    async def test_an_update_changes_what_it_names_and_tells_caches_and_counters(self, gateway, admin):
        made = await post(admin, "/team/new", team_id="t", team_alias="a", rpm_limit=1, tags=["x"])
        gateway.now += 1_000
        gateway.forgotten.clear()
        gateway.unseeded.clear()

        body = await post(
            admin, "/team/update", team_id="t", max_budget=7, rpm_limit=None, model_rpm_limit={"m": 2}, guardrails=["g"]
        )

        assert body["team_id"] == "t"
        assert body["data"] == made | {
            "max_budget": 7.0, "rpm_limit": None, "model_rpm_limit": {"m": 2}, "guardrails": ["g"],
            "updated_at": "2026-11-23T15:04:06.678Z",
        }  # fmt: skip
        assert gateway.forgotten == ["team t"]
        assert gateway.unseeded == ["team t", "model_per_team t:m"]

    async def test_spend_can_be_set_and_the_counters_are_told(self, gateway, admin):
        await post(admin, "/team/new", team_id="t")
        await gateway.book("d", team_id="t", spend=10**9)
        gateway.unseeded.clear()

        assert (await get(admin, "/team/info", team_id="t"))["team_info"]["spend"] == 1.0
        assert (await post(admin, "/team/update", team_id="t", spend=0.25))["data"]["spend"] == 0.25
        assert gateway.unseeded == ["team t"]

    async def test_a_change_of_names_only_does_not_touch_the_counters(self, gateway, admin):
        await post(admin, "/team/new", team_id="t")
        gateway.unseeded.clear()

        await post(admin, "/team/update", team_id="t", team_alias="b", metadata={"a": 1})
        await post(admin, "/team/block", team_id="t")

        assert gateway.unseeded == []

    @pytest.mark.parametrize("path", ["/team/update", "/team/block", "/team/unblock", "/team/member_add"])
    async def test_an_unknown_team_is_not_found(self, admin, path):
        error(await admin.post(path, json={"team_id": "unknown", "user_id": "u"}), 404, **NOT_FOUND)
        error(await admin.get("/team/info", params={"team_id": "unknown"}), 404, **NOT_FOUND)

    @pytest.mark.parametrize("path", ["/team/update", "/team/block", "/team/delete", "/team/member_update"])
    async def test_a_team_must_be_named(self, admin, path):
        assert (await admin.post(path, json={})).status_code == 422
        assert (await admin.get("/team/info")).status_code == 422

    async def test_a_blocked_teams_keys_are_refused_everywhere_until_it_is_unblocked(self, gateway, admin):
        await post(admin, "/team/new", team_id="t")
        made = await gateway.generate(team_id="t")
        async with gateway.caller(made["key"]) as owner:
            assert (await post(admin, "/team/block", team_id="t"))["blocked"] is True
            error(
                await owner.get("/v1/models"), 401, type="auth_error",
                message="Authentication Error, Team=t is blocked. Update via `/team/unblock` if you're an admin.",
            )  # fmt: skip

            assert (await post(admin, "/team/unblock", team_id="t"))["blocked"] is False
            assert (await owner.get("/v1/models")).status_code == 200
        assert gateway.forgotten[-2:] == ["team t", "team t"]

    async def test_a_deleted_teams_keys_are_unknown_at_once(self, gateway, admin):
        for team in ("s", "t"):
            await post(admin, "/team/new", team_id=team)
        made, other = await gateway.generate(team_id="t"), await gateway.generate(team_id="s")
        gateway.forgotten.clear()

        assert await post(admin, "/team/delete", team_ids=["t"]) == {"deleted_teams": ["t"]}

        assert gateway.forgotten == ["team t"]
        for key, status in [(made, 401), (other, 200)]:
            async with gateway.caller(key["key"]) as owner:
                assert (await owner.get("/key/info")).status_code == status
        error(await admin.get("/team/info", params={"team_id": "t"}), 404)

    async def test_one_unknown_team_spares_all(self, admin):
        await post(admin, "/team/new", team_id="t")

        refused = await admin.post("/team/delete", json={"team_ids": ["t", "unknown"]})

        assert (refused.status_code, refused.json()) == (
            404, {"detail": {"error": "Team not found, passed team_id=unknown"}}
        )  # fmt: skip
        assert (await get(admin, "/team/info", team_id="t"))["team_id"] == "t"

    async def test_deletion_works_while_the_counters_are_gone_and_a_new_limit_says_they_are(self, gateway, admin):
        await post(admin, "/team/new", team_id="t")
        gateway.counters_down = True

        error(await admin.post("/team/update", json={"team_id": "t", "max_budget": 1}), 503)
        assert (await post(admin, "/team/block", team_id="t"))["blocked"] is True
        assert await post(admin, "/team/delete", team_ids=["t"]) == {"deleted_teams": ["t"]}


class TestReading:
    async def test_a_team_is_shown_with_its_memberships_and_keys(self, gateway, admin):
        await post(admin, "/team/new", team_id="t")
        made = await gateway.generate(team_id="t", key_alias="k")
        await gateway.generate(team_id="s")

        body = await get(admin, "/team/info", team_id="t")

        team_rows.TeamInfo.model_validate(body)
        assert [key["token"] for key in body["keys"]] == [made["token"]]
        rows.KeyRow.model_validate(body["keys"][0])
        assert made["key"] not in str(body)
        assert [one["user_id"] for one in body["team_memberships"]] == ["default_user_id"]

    async def test_a_key_sees_its_team_and_itself_but_no_key_of_others(self, gateway, admin):
        for team in ("s", "t"):
            await post(admin, "/team/new", team_id=team)
        mine, other = await gateway.generate(team_id="t"), await gateway.generate(team_id="t")
        async with gateway.caller(mine["key"]) as owner:
            shown = await get(owner, "/team/info", team_id="t")
            listed = await get(owner, "/team/list")
            error(await owner.get("/team/info", params={"team_id": "s"}), 403)

        assert [key["token"] for key in shown["keys"]] == [mine["token"]]
        assert [(team["team_id"], [key["token"] for key in team["keys"]]) for team in listed] == [
            ("t", [mine["token"]])
        ]
        assert other["token"] not in str(shown) + str(listed)

    async def test_a_users_key_sees_the_teams_of_the_user_and_the_users_keys_there(self, gateway, admin):
        for team in ("s", "t", "r"):
            await post(admin, "/team/new", team_id=team)
        for team in ("s", "t"):
            await post(admin, "/team/member_add", team_id=team, user_id="u")
        mine, theirs = await gateway.generate(user_id="u"), await gateway.generate(user_id="u", team_id="t")
        await gateway.generate(user_id="v", team_id="t")
        async with gateway.caller(mine["key"]) as owner:
            listed = await get(owner, "/team/list")
            shown = await get(owner, "/team/info", team_id="t")
            error(await owner.get("/team/info", params={"team_id": "r"}), 403)

        assert {team["team_id"] for team in listed} == {"s", "t"}
        assert [key["token"] for key in shown["keys"]] == [theirs["token"]]

    async def test_teams_are_listed_by_user_and_by_organization(self, admin):
        await post(admin, "/team/new", team_id="s", organization_id="o")
        await post(admin, "/team/new", team_id="t")
        await post(admin, "/team/member_add", team_id="t", user_id="u")

        def ids(listed):
            return sorted(team["team_id"] for team in listed)

        listed = await get(admin, "/team/list")
        for team in listed:
            team_rows.ListedTeam.model_validate(team)
        assert ids(listed) == ["s", "t"]
        assert ids(await get(admin, "/team/list", user_id="u")) == ["t"]
        assert ids(await get(admin, "/team/list", organization_id="o")) == ["s"]
        assert ids(await get(admin, "/team/list", user_id="u", organization_id="o")) == []

    async def test_models_are_those_that_key_and_team_allow(self, gateway, admin):
        await post(admin, "/team/new", team_id="t", models=["gpt-4o", "openai/o3"])
        plain = await gateway.generate(team_id="t")
        all_of_them = await gateway.generate(team_id="t", models=["all-team-models"])
        narrow = await gateway.generate(team_id="t", models=["gpt-4o", "small"])

        async def models(made) -> list[str]:
            async with gateway.caller(made["key"]) as owner:
                return [model["id"] for model in (await get(owner, "/v1/models"))["data"]]

        assert await models(plain) == await models(all_of_them) == ["gpt-4o", "openai/o3"]
        assert await models(narrow) == ["gpt-4o"]


@pytest.mark.parametrize("field", ["team_member_budget_duration", "team_member_key_duration"])
async def test_a_team_cannot_give_its_members_what_is_no_duration(admin, field):
    error(await admin.post("/team/new", json={"team_id": "t", field: "soon"}), 400, param=field)
    await post(admin, "/team/new", team_id="t")
    error(await admin.post("/team/update", json={"team_id": "t", field: "soon"}), 400, param=field)
    await post(admin, "/team/update", team_id="t", **{field: "30d"})

    assert [team["team_id"] for team in await get(admin, "/team/list")] == ["t"]
