"""Daily activity names the keys, and lists who spent in a range, the dearest first."""

from __future__ import annotations

import pytest
from management.asking import error, get

NOVEMBER = {"start_date": "2026-11-01", "end_date": "2026-11-30"}
KINDS = {"user": "user_id", "team": "team_id", "tag": "tag", "customer": "end_user", "organization": "organization_id"}


@pytest.fixture
async def booked(gateway):
    """A key with an alias that spent three dollars in two models, one that is gone and spent one, one of nobody's."""
    names = {
        "user_id": "Ursula",
        "team_id": "Ursula",
        "end_user": "Ursula",
        "tags": ("Ursula",),
        "organization_id": "Ursula",
    }
    made = await gateway.generate(key_alias="front", team_id="t")
    await gateway.book(made["token"], "e0", spend=10**9, **names)
    await gateway.book(made["token"], "e1", spend=2 * 10**9, model="other", **names)
    await gateway.book("gone", "e2", spend=10**9, **{**names, **dict.fromkeys(("user_id", "team_id", "end_user",
                       "organization_id"), "v"), "tags": ("v",)})  # fmt: skip
    await gateway.book("nobody's", "e3", spend=7)
    return made["token"]


@pytest.mark.parametrize("kind", KINDS)
async def test_keys_are_listed_with_alias_and_team_the_dearest_first(admin, booked, kind):
    found = await get(admin, f"/{kind}/daily/activity/keys", **NOVEMBER)

    rows = [(row["api_key"], row["key_alias"], row["team_id"], row["metrics"]["spend"]) for row in found["results"]]
    assert rows[:2] == [(booked, "front", "t", 3), ("gone", None, None, 1)]
    assert len(rows) == (3 if kind == "user" else 2)
    assert found["results"][0]["metrics"]["api_requests"] == 2


async def test_keys_come_in_pages(admin, booked):
    found = await get(admin, "/team/daily/activity/keys", page=2, page_size=1, **NOVEMBER)

    assert [row["api_key"] for row in found["results"]] == ["gone"]
    assert found["metadata"] == {"page": 2, "page_size": 1, "total": 2, "total_pages": 2, "has_more": False}


@pytest.mark.parametrize("kind", KINDS)
async def test_names_are_found_by_a_part_of_them_whatever_the_case(admin, booked, kind):
    found = await get(admin, f"/{kind}/daily/activity/search", search="RSU", **NOVEMBER)

    [row] = found["results"]
    assert (row[KINDS[kind]], row["metrics"]["spend"]) == ("Ursula", 3)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_caller_is_shown_its_own_only(gateway, admin, booked, kind):
    other = await gateway.generate()
    async with gateway.caller(other["key"]) as caller:
        for path in ("keys", "search"):
            assert (await get(caller, f"/{kind}/daily/activity/{path}", **NOVEMBER))["results"] == []
            error(await caller.get(f"/{kind}/daily/activity/{path}"), 400)


async def test_the_breakdown_by_key_names_alias_and_team(admin, booked):
    [day] = (await get(admin, "/user/daily/activity", **NOVEMBER))["results"]

    shown = {digest: row["metadata"] for digest, row in day["breakdown"]["api_keys"].items()}
    assert shown[booked] == {"key_alias": "front", "team_id": "t"}
    assert shown["gone"] == {"key_alias": None, "team_id": None}


async def test_organizations_have_a_report_too(admin, booked):
    [day] = await get(admin, "/organization/spend/report", organization_id="v", **NOVEMBER)

    assert [(row["organization"], row["total_spend"]) for row in day["organizations"]] == [("v", 1)]
