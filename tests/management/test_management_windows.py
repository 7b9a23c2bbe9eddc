"""The spend and the reset that are shown of teams, members and users are those of the window of now."""

from __future__ import annotations

from management.asking import get, post
from management.conftest import NOW

DAY = 86_400_000


async def test_spend_of_an_earlier_window_is_not_shown(gateway, admin):
    budget = {"max_budget": 5, "budget_duration": "1d"}
    await post(admin, "/team/new", team_id="t", **budget)
    await post(admin, "/user/new", user_id="u", **budget)
    member = {"max_budget_in_team": 5, "budget_duration": "1d"}
    await post(admin, "/team/member_add", team_id="t", member={"user_id": "u"}, **member)
    made = await gateway.generate(team_id="t", user_id="u", **budget)
    owners = {"team_id": "t", "user_id": "u"}
    await gateway.book(made["token"], spend=2 * 10**9, started_at=NOW - DAY, **owners)
    await gateway.book(made["token"], "second", spend=10**9, **owners)

    team = await get(admin, "/team/info", team_id="t")
    membership = next(one for one in team["team_memberships"] if one["user_id"] == "u")
    user = (await get(admin, "/user/info", user_id="u"))["user_info"]
    for shown in (team["team_info"], team["keys"][0], membership, user, await get(admin, "/v2/user/info", user_id="u")):
        assert shown["spend"] == 1.0
    gateway.now += 2 * DAY
    for shown in (
        (await get(admin, "/team/info", team_id="t"))["team_info"],
        (await get(admin, "/user/info", user_id="u"))["user_info"],
    ):
        assert (shown["spend"], shown["budget_reset_at"]) == (0.0, "2026-11-26T00:00:00.000Z")
