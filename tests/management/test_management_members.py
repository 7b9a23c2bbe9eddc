"""Members of teams come and go, and have the limits that their team gives them."""

from __future__ import annotations

import pytest
from management.asking import error, get, post

from extproc.management import team_rows


async def member_limits(client, team="t"):
    """What each member may: dollars, their window, requests and tokens."""
    rows = (await get(client, "/team/info", team_id=team))["team_memberships"]
    names = ("max_budget", "budget_duration", "rpm_limit", "tpm_limit")
    return {row["user_id"]: tuple(row["litellm_budget_table"][name] for name in names) for row in rows}


class TestMembers:
    @pytest.fixture
    async def team(self, admin) -> None:
        await post(
            admin, "/team/new", team_id="t", team_member_budget=2.5, team_member_rpm_limit=9,
            team_member_budget_duration="30d",
        )  # fmt: skip

    async def test_members_come_one_or_many_and_users_are_made_by_the_way(self, admin, team):
        await post(admin, "/user/new", user_id="known", user_email="known@example.com", auto_create_key=False)

        body = await post(
            admin, "/team/member_add", team_id="t", max_budget_in_team=1.5, tpm_limit=3, allowed_models=["m"],
            member=[{"user_email": "known@example.com", "role": "admin"}, {"user_id": "new"}],
        )  # fmt: skip

        team_rows.ChangedMembers.model_validate(body)
        assert [(one["user_id"], one["role"]) for one in body["members_with_roles"][1:]] == [
            ("known", "admin"), ("new", "user")
        ]  # fmt: skip
        assert (body["admins"], body["members"]) == (["default_user_id", "known"], ["default_user_id", "known", "new"])
        for membership in body["updated_team_memberships"]:
            limits = membership["litellm_budget_table"]
            assert (limits["max_budget"], limits["tpm_limit"], membership["allowed_models"]) == (1.5, 3, ["m"])
            assert (limits["rpm_limit"], limits["budget_duration"]) == (9, "30d")
        assert (await get(admin, "/user/info", user_id="new"))["user_info"]["teams"] == ["t"]

    async def test_a_member_without_limits_of_their_own_gets_the_teams(self, admin, team):
        body = await post(admin, "/team/member_add", team_id="t", member={"user_id": "u", "role": "user"})

        [membership] = body["updated_team_memberships"]
        assert membership["litellm_budget_table"]["max_budget"] == 2.5

    async def test_a_change_of_what_the_team_gives_holds_for_members_without_limits_of_their_own(
        self, gateway, admin, team
    ):
        await post(admin, "/team/member_add", team_id="t", user_id="follows")
        await post(admin, "/team/member_add", team_id="t", user_id="poor", max_budget_in_team=1)
        await post(admin, "/team/member_add", team_id="t", user_id="free", budget_duration=None, rpm_limit=None)
        await post(admin, "/team/member_update", team_id="t", user_id="free", max_budget_in_team=None)
        gateway.forgotten.clear()

        await post(admin, "/team/update", team_id="t", team_member_budget=7, team_member_rpm_limit=3)
        limits = await member_limits(admin)

        assert limits["follows"] == (7.0, "30d", 3, None)
        assert limits["poor"] == (1.0, "30d", 3, None)
        assert limits["free"] == (None, None, None, None)
        assert "team_member follows:t" in gateway.forgotten
        assert "team_member follows:t" in gateway.unseeded

    async def test_what_the_team_gives_for_the_first_time_and_no_more_holds_too(self, admin):
        await post(admin, "/team/new", team_id="t")
        await post(admin, "/team/member_add", team_id="t", user_id="u")

        await post(admin, "/team/update", team_id="t", team_member_tpm_limit=5, team_member_budget_duration="1d")
        await post(admin, "/team/update", team_id="t", team_member_budget=2)
        given = (await member_limits(admin))["u"]
        patched = await admin.patch("/team/t", json={"team_member_budget": None, "team_member_tpm_limit": None})

        assert given == (2.0, "1d", None, 5)
        assert patched.status_code == 200
        assert (await member_limits(admin))["u"] == (None, "1d", None, None)

    async def test_each_member_whose_limits_follow_has_an_entry_in_the_audit_trail(self, admin, team):
        await post(admin, "/team/member_add", team_id="t", user_id="u")
        await post(admin, "/team/member_add", team_id="t", user_id="v", rpm_limit=1)
        await post(admin, "/team/update", team_id="t", team_member_rpm_limit=3)

        told = (await get(admin, "/audit", table_name="LiteLLM_TeamMembership", action="updated"))["audit_logs"]

        # The administrator is a member of the team, too.
        assert {entry["object_id"] for entry in told} == {"u:t", "default_user_id:t"}
        assert all(entry["updated_values"] == {"rpm_limit": 3} for entry in told)

    async def test_members_of_other_teams_do_not_follow(self, admin, team):
        await post(admin, "/team/new", team_id="other", team_member_rpm_limit=9)
        await post(admin, "/team/member_add", team_id="other", user_id="u")
        await post(admin, "/team/update", team_id="t", team_member_rpm_limit=3)
        error(await admin.post("/team/update", json={"team_id": "gone", "team_member_rpm_limit": 3}), 404)

        assert (await member_limits(admin, "other"))["u"][2] == 9

    async def test_who_is_a_member_already_is_told_so(self, admin, team):
        await post(admin, "/team/member_add", team_id="t", user_id="u")

        refused = await admin.post(
            "/team/member_add", json={"team_id": "t", "member": [{"user_id": "v"}, {"user_id": "u"}]}
        )

        error(refused, 400, type="team_member_already_in_team", param="member")
        assert [one["user_id"] for one in (await get(admin, "/team/info", team_id="t"))["team_memberships"]] == [
            "default_user_id", "u"
        ]  # fmt: skip

    async def test_an_update_answers_with_the_member_and_tells_caches_and_counters(self, gateway, admin, team):
        await post(admin, "/team/member_add", team_id="t", user_email="u@example.com")
        [user_id] = [user["user_id"] for user in (await get(admin, "/user/list", user_email="u@example.com"))["users"]]
        gateway.forgotten.clear()
        gateway.unseeded.clear()

        body = await post(
            admin, "/team/member_update", team_id="t", user_email="u@example.com", max_budget_in_team=7, role="admin",
            temp_budget_increase=1, temp_budget_expiry="2026-12-01T00:00:00+01:00",
        )  # fmt: skip

        team_rows.ShownMember.model_validate(body)
        assert (body["user_id"], body["max_budget_in_team"], body["role"], body["rpm_limit"]) == (
            user_id,
            7.0,
            "admin",
            9,
        )
        assert (body["temp_budget_increase"], body["temp_budget_expiry"]) == (1.0, "2026-11-30T23:00:00.000Z")
        assert gateway.forgotten == gateway.unseeded == [f"team_member {user_id}:t"]

    async def test_a_removed_members_keys_of_the_team_are_unknown_at_once(self, gateway, admin, team):
        await post(admin, "/team/member_add", team_id="t", user_id="u")
        made, other = await gateway.generate(team_id="t", user_id="u"), await gateway.generate(user_id="u")

        body = await post(admin, "/team/member_delete", team_id="t", user_id="u")

        assert body["members"] == ["default_user_id"]
        assert gateway.forgotten[-1] == "team_member u:t"
        for key, status in [(made, 401), (other, 200)]:
            async with gateway.caller(key["key"]) as owner:
                assert (await owner.get("/key/info")).status_code == status

    @pytest.mark.parametrize("path", ["/team/member_update", "/team/member_delete"])
    @pytest.mark.parametrize("named", [{"user_id": "unknown"}, {"user_email": "unknown@example.com"}])
    async def test_who_is_no_member_is_told_so(self, admin, team, path, named):
        error(await admin.post(path, json={"team_id": "t", **named}), 400, message="User not found in team")

    @pytest.mark.parametrize("path", ["/team/member_add", "/team/member_update", "/team/member_delete"])
    async def test_a_member_must_be_named(self, admin, team, path):
        assert (await admin.post(path, json={"team_id": "t"})).status_code == 422
