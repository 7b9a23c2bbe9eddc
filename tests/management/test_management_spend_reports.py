"""Reports add up the ledger by day and by whoever spent, in LiteLLM's shapes, and show each caller its own."""

from __future__ import annotations

import pytest
from management.asking import error, get, post

from extproc.model import Membership, Usage

DAY = 86_400_000
NOVEMBER = {"start_date": "2026-11-01", "end_date": "2026-11-30"}
RANGES = (
    "/global/spend/report", "/key/spend/report", "/team/spend/report", "/user/spend/report", "/user/daily/activity",
    "/team/daily/activity/aggregated", "/tag/daily/activity/export", "/customer/daily/activity",
    "/organization/daily/activity",
)  # fmt: skip


@pytest.fixture
async def booked(gateway):
    """One dollar each: two of team `t` on two days, one of nobody's that failed."""
    names = {"user_id": "u", "team_id": "t", "end_user": "end", "tags": ("x", "y"), "organization_id": "o"}
    await gateway.book("a", "e0", spend=10**9, **names)
    await gateway.book("b", "e1", spend=10**9, started_at=gateway.now + DAY, **{**names, "user_id": "v"})
    await gateway.book("c", "e2", spend=10**9, status="failure", model="other", model_group="other", provider="azure",
                       usage=Usage(input_tokens=1, output_tokens=0))  # fmt: skip


async def test_what_was_spent_in_all_is_the_sum_of_the_ledger(admin, booked):
    assert await get(admin, "/global/spend") == {"spend": 3.0, "max_budget": None}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/global/spend/logs", [{"date": "2026-11-23", "spend": 2.0}, {"date": "2026-11-24", "spend": 1.0}]),
        ("/global/spend/models", [
            {"model": "gpt-4o-2024-08-06", "total_spend": 2.0}, {"model": "other", "total_spend": 1.0},
        ]),
        ("/global/spend/provider", [{"provider": "openai", "spend": 2.0}, {"provider": "azure", "spend": 1.0}]),
        ("/global/spend/tags", {"spend_per_tag": [
            {"name": "x", "spend": 2.0, "log_count": 2}, {"name": "y", "spend": 2.0, "log_count": 2},
        ]}),
        ("/global/spend/all_tag_names", {"tag_names": ["x", "y"]}),
        ("/spend/tags", [
            {"individual_request_tag": "x", "total_spend": 2.0, "log_count": 2},
            {"individual_request_tag": "y", "total_spend": 2.0, "log_count": 2},
        ]),
    ],
)  # fmt: skip
async def test_spend_is_listed_by(admin, booked, path, expected):
    assert await get(admin, path, **NOVEMBER) == expected


async def test_the_dearest_keys_come_with_their_names(gateway, admin):
    made = await gateway.generate(key_alias="front")
    await gateway.book(made["token"], spend=10**9)

    [row] = await get(admin, "/global/spend/keys")
    assert row == {
        "api_key": made["token"], "key_alias": "front", "key_name": made["key_name"], "total_spend": 1.0,
    }  # fmt: skip


async def test_teams_are_shown_by_day_and_in_all(admin, booked):
    shown = await get(admin, "/global/spend/teams", **NOVEMBER)
    assert shown["daily_spend"] == [{"date": "2026-11-23", "": 1.0, "t": 1.0}, {"date": "2026-11-24", "t": 1.0}]
    assert shown["total_spend_per_team"] == [{"team_id": "t", "total_spend": 2.0}, {"team_id": "", "total_spend": 1.0}]


async def test_end_users_are_listed_with_what_they_spent(admin, booked):
    found = await post(admin, "/global/spend/end_users", startTime="2026-11-01", endTime="2026-11-30")
    assert found == [{"end_user": "end", "total_count": 2, "total_spend": 2.0}]


@pytest.mark.parametrize("group", ["team", "customer", "api_key", "user", "model", "tag"])
async def test_a_report_groups_by(admin, booked, group):
    days = await get(admin, "/global/spend/report", group_by=group, **NOVEMBER)
    assert [day["group_by_day"] for day in days] == ["2026-11-23", "2026-11-24"]
    total = sum(one["total_spend"] for day in days for one in day[f"{group}s"])
    assert total == (4.0 if group == "tag" else 3.0)


async def test_activity_shows_days_the_newest_first_with_what_they_are_made_of(admin, booked):
    shown = await get(admin, "/user/daily/activity", **NOVEMBER)
    assert [day["date"] for day in shown["results"]] == ["2026-11-24", "2026-11-23"]
    metrics = shown["results"][1]["metrics"]
    assert (metrics["spend"], metrics["successful_requests"], metrics["failed_requests"]) == (2.0, 1, 1)
    assert shown["results"][1]["breakdown"]["models"]["other"]["metrics"]["spend"] == 1.0
    assert (shown["metadata"]["total_spend"], shown["metadata"]["total_api_requests"]) == (3.0, 3)


@pytest.mark.parametrize(
    ("kind", "total"), [("user", 3), ("team", 2), ("tag", 4), ("customer", 2), ("organization", 2)]
)
async def test_activity_counts_what_has_such_a_name(admin, booked, kind, total):
    shown = await get(admin, f"/{kind}/daily/activity/aggregated", **NOVEMBER)
    assert shown["metadata"]["total_spend"] == total


async def test_pages_of_activity_count_days(admin, booked):
    shown = await get(admin, "/user/daily/activity", page=2, page_size=1, **NOVEMBER)
    assert [day["date"] for day in shown["results"]] == ["2026-11-23"]
    assert (shown["metadata"]["total_pages"], shown["metadata"]["has_more"]) == (2, False)


async def test_an_export_holds_no_formula(gateway, admin):
    await gateway.book("a", end_user="=1+1")
    response = await admin.get("/customer/daily/activity/export", params=NOVEMBER)
    assert response.headers["content-type"].startswith("text/csv")
    assert "2026-11-23,'=1+1,gpt-4o-2024-08-06" in response.text


@pytest.mark.parametrize("path", RANGES)
@pytest.mark.parametrize(
    "query",
    [
        {}, {"start_date": "2026-11-01"}, {"start_date": "yesterday", "end_date": "2026-11-30"},
        {"start_date": "2026-12-01", "end_date": "2026-11-30"}, {"start_date": "2000-01-01", "end_date": "2026-11-30"},
        {"start_date": "2026-11-01", "end_date": "9999-99-99"},
    ],
)  # fmt: skip
async def test_days_that_cannot_be_are_said_so(admin, path, query):
    error(await admin.get(path, params=query), 400)


class TestSight:
    async def test_a_user_sees_its_own_spend_only(self, gateway, booked):
        key = (await gateway.generate(user_id="u"))["key"]
        async with gateway.caller(key) as user:
            assert (await get(user, "/user/daily/activity", **NOVEMBER))["metadata"]["total_spend"] == 1.0
            assert (await get(user, "/spend/logs/v2", **NOVEMBER))["total"] == 1
            assert [row["event_id"] for row in await get(user, "/spend/logs")] == ["e0"]
            assert len(await get(user, "/team/spend/report", **NOVEMBER)) == 1

    async def test_the_admin_of_a_team_sees_all_of_the_team(self, gateway, booked):
        key = (await gateway.generate(user_id="w"))["key"]
        member = Membership(user_id="w", team_id="t", role="admin", created_at=gateway.now)
        await gateway.store.members.add([member])
        async with gateway.caller(key) as user:
            assert (await get(user, "/team/daily/activity", **NOVEMBER))["metadata"]["total_spend"] == 2.0
            assert (await get(user, "/user/daily/activity", user_id="u", **NOVEMBER))["metadata"]["total_spend"] == 1.0

    async def test_who_is_nobody_sees_nothing_of_others(self, gateway, booked):
        key = (await gateway.generate())["key"]
        async with gateway.caller(key) as nobody:
            assert (await get(nobody, "/tag/daily/activity", tags="x", **NOVEMBER))["results"] == []
            error(await nobody.get("/global/spend"), 401)


class TestPages:
    async def test_rows_come_in_pages(self, admin, booked):
        shown = await get(admin, "/spend/logs/v2", page=2, page_size=2, **NOVEMBER)
        assert [row["event_id"] for row in shown["data"]] == ["e0"]
        assert (shown["total"], shown["total_pages"], shown["total_is_exact"]) == (3, 2, True)

    @pytest.mark.parametrize(
        ("query", "events"),
        [
            ({"team_id": "t"}, "e1 e0"), ({"end_user": "end"}, "e1 e0"), ({"model": "other"}, "e2"),
            ({"status_filter": "failure"}, "e2"), ({"min_spend": 2}, ""), ({"max_spend": 2}, "e1 e2 e0"),
            ({"api_key": "a"}, "e0"), ({"user_id": "v"}, "e1"), ({"request_id": "call-e2"}, "e2"),
            ({"sort_order": "asc"}, "e0 e2 e1"),
        ],
    )  # fmt: skip
    async def test_rows_are_chosen(self, admin, booked, query, events):
        shown = await get(admin, "/spend/logs/ui", **NOVEMBER, **query)
        assert [row["event_id"] for row in shown["data"]] == events.split()

    async def test_pages_end_where_counting_does(self, admin):
        error(await admin.get("/spend/logs/v2", params={"page": 1_001, "page_size": 100}), 400, param="page")


class TestCalculation:
    async def test_a_response_costs_what_its_exchange_would(self, admin):
        response = {"model": "gpt-4o", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000}}
        assert await post(admin, "/spend/calculate", completion_response=response) == {"cost": 12.5}

    async def test_of_messages_the_prompt_is_priced(self, admin):
        shown = await post(admin, "/spend/calculate", model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
        assert 0 < shown["cost"] < 0.001

    @pytest.mark.parametrize(
        "body",
        [
            {}, {"model": "gpt-4o"}, {"model": "no-such-model", "messages": []},
            {"completion_response": {"model": "gpt-4o"}},
            {"completion_response": {"model": "gpt-4o", "usage": {"prompt_tokens": "1"}}},
        ],
    )  # fmt: skip
    async def test_what_has_no_price_is_not_free(self, admin, body):
        error(await admin.post("/spend/calculate", json=body), 400)


async def test_a_teams_members_show_what_each_has_spent_in_it(gateway, admin):
    await post(admin, "/team/new", team_id="t", members_with_roles=[{"role": "user", "user_id": "u"}])
    for event, user, team in (("a", "u", "t"), ("b", "u", None), ("c", "v", "t")):
        await gateway.book("d", event, user_id=user, team_id=team, spend=10**9)

    shown = await get(admin, "/team/info", team_id="t")
    spent = {member["user_id"]: member["spend"] for member in shown["team_memberships"]}
    assert (spent["u"], shown["team_info"]["spend"]) == (1.0, 2.0)
