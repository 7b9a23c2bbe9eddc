"""`/audit`: every change leaves one entry, and what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trails
from fastapi.routing import APIRoute
from management.asking import error, get, post
from management.conftest import AUDIT_KEY, MASTER

from extproc.policy import credentials
from extproc.stores.audit_chain import Verifier

#: For each route that changes something: what is made before, a body, and what the entry says.
TEAM, KEY = ("/team/new", {"team_id": "t"}), ("/key/generate", {"key": "sk-of-a-test-0123456789"})
USER = ("/user/new", {"user_id": "u", "auto_create_key": False})
CUSTOMER, BUDGET = ("/customer/new", {"user_id": "c"}), ("/budget/new", {"budget_id": "b"})
TAG, SAMPLE = ("/tag/new", {"name": "x"}), "sk-of-a-test-0123456789"
MEMBER = ("/team/member_add", {"team_id": "t", "member": {"user_id": "u"}})
CHANGES: dict[str, tuple[list[tuple[str, dict[str, Any]]], dict[str, Any], str]] = {
    "/key/generate": ([], {}, "created"),
    "/key/service-account/generate": ([TEAM], {"team_id": "t"}, "created"),
    "/key/update": ([KEY], {"key": SAMPLE, "rpm_limit": 5}, "updated"),
    "/key/bulk_update": ([KEY], {"keys": [{"key": SAMPLE, "rpm_limit": 5}]}, "updated"),
    "/key/block": ([KEY], {"key": SAMPLE}, "blocked"),
    "/key/unblock": ([KEY], {"key": SAMPLE}, "unblocked"),
    "/key/delete": ([KEY], {"keys": [SAMPLE]}, "deleted"),
    "/key/regenerate": ([KEY], {"key": SAMPLE}, "rotated"),
    "/key/{key}/regenerate": ([KEY], {}, "rotated"),
    "/key/{key}/reset_spend": ([KEY], {"reset_to": 0}, "updated"),
    "/team/new": ([USER], {"members_with_roles": []}, "created"),
    "/team/update": ([TEAM], {"team_id": "t", "rpm_limit": 5}, "updated"),
    "/team/block": ([TEAM], {"team_id": "t"}, "blocked"),
    "/team/unblock": ([TEAM], {"team_id": "t"}, "unblocked"),
    "/team/delete": ([TEAM, ("/team/member_delete", {"team_id": "t", "user_id": "default_user_id"})],
                     {"team_ids": ["t"]}, "deleted"),
    "/team/member_add": ([TEAM, USER], {"team_id": "t", "member": {"user_id": "u"}}, "created"),
    "/team/member_update": ([TEAM, USER, MEMBER], {"team_id": "t", "user_id": "u", "max_budget_in_team": 1}, "updated"),
    "/team/member_delete": ([TEAM, USER, MEMBER], {"team_id": "t", "user_id": "u"}, "deleted"),
    "/user/new": ([], {"auto_create_key": False}, "created"),
    "/user/update": ([USER], {"user_id": "u", "rpm_limit": 5}, "updated"),
    "/customer/new": ([], {"user_id": "c"}, "created"),
    "/customer/update": ([CUSTOMER], {"user_id": "c", "max_budget": 5}, "updated"),
    "/customer/block": ([CUSTOMER], {"user_ids": ["c"]}, "blocked"),
    "/customer/unblock": ([CUSTOMER], {"user_ids": ["c"]}, "unblocked"),
    "/customer/delete": ([CUSTOMER], {"user_ids": ["c"]}, "deleted"),
    "/budget/new": ([], {}, "created"),
    "/budget/update": ([BUDGET], {"budget_id": "b", "max_budget": 5}, "updated"),
    "/budget/delete": ([BUDGET], {"id": "b"}, "deleted"),
    "/tag/new": ([], {"name": "x"}, "created"),
    "/tag/update": ([TAG], {"name": "x", "max_budget": 5}, "updated"),
    "/tag/delete": ([TAG], {"name": "x"}, "deleted"),
}  # fmt: skip
#: What is asked with a POST and changes nothing, and what has a test of its own.
HARMLESS = {"/v2/key/info", "/key/health", "/budget/info", "/tag/info"}
ELSEWHERE = {"/model/new", "/model/update", "/model/delete", "/user/delete"}


async def entries(client: Any, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await get(client, "/audit", page_size=100, **query))["audit_logs"]
    return found


@pytest.mark.parametrize("path", CHANGES)
async def test_a_change_leaves_exactly_one_entry(gateway, admin, path):
    before, body, action = CHANGES[path]
    for made in before:
        await post(admin, made[0], **made[1])
    known = len(await entries(admin))
    await post(admin, path.replace("{key}", credentials.digest(SAMPLE)), **body)
    found = await entries(admin)
    # The one who makes a team becomes a user and a member of it.
    own = [one for one in found[: len(found) - known] if "default_user_id" not in one["object_id"]]

    assert [one["action"] for one in own] == [action]
    assert own[0]["changed_by"] == "default_user_id"
    assert own[0]["changed_by_api_key"] == "litellm_proxy_master_key"


def test_every_route_that_changes_something_is_in_the_table_above(gateway):
    mutating = {
        route.path
        for route in gateway.app.routes
        if isinstance(route, APIRoute) and route.include_in_schema and not {*(route.methods or ())} <= {"GET", "HEAD"}
    }

    assert mutating - HARMLESS - ELSEWHERE <= CHANGES.keys()


async def test_what_is_refused_leaves_no_entry(gateway, admin):
    made = await gateway.generate()
    known = len(await entries(admin))
    async with gateway.caller(made["key"]) as client:
        assert (await client.post("/key/generate", json={})).status_code in {401, 403}
    await admin.post("/key/delete", json={"keys": ["sk-nobody-has-this-key"]})
    await admin.post("/team/update", json={"team_id": "unknown"})

    assert len(await entries(admin)) == known


async def test_no_raw_key_stands_in_the_whole_database(gateway, admin, tmp_path):
    raw = (await post(admin, "/key/generate", metadata={"owner_key": "sk-somebody-elses-0123456789"}))["key"]
    new = (await post(admin, "/key/regenerate", key=raw))["key"]
    await post(admin, "/key/delete", keys=[new])
    async with gateway.store.database.reading() as connection:
        dumped = "\n".join(
            [*(await connection.run_sync(lambda sync: [*sync.connection.driver_connection._conn.iterdump()]))]
        )

    assert credentials.digest(raw) in dumped
    assert raw not in dumped
    assert new not in dumped
    assert MASTER not in dumped
    assert "sk-somebody-elses" not in "".join(json.dumps(one) for one in await entries(admin))


async def test_who_it_was_and_from_where(gateway, admin):
    named = {"litellm-changed-by": "carol", "x-forwarded-for": "198.51.100.9, 203.0.113.7"}
    await admin.post("/team/new", json={"team_id": "t"}, headers=named)
    [found] = await entries(admin, object_id="t")

    assert (found["changed_by"], found["source_ip"]) == ("carol", "203.0.113.7")
    assert found["updated_at"].startswith("20")


async def test_entries_are_filtered_paged_and_found_one_by_one(admin):
    for number in range(5):
        await post(admin, "/budget/new", budget_id=f"b{number}", max_budget=number)
    await post(admin, "/budget/update", budget_id="b3", max_budget=9.25)
    page = await get(admin, "/audit", page=2, page_size=2, action="created")
    [updated] = await entries(admin, action="updated", table_name="LiteLLM_BudgetTable", object_id="b3")

    assert (page["total"], page["total_pages"]) == (5, 3)
    assert [one["object_id"] for one in page["audit_logs"]] == ["b2", "b1"]
    assert updated["before_value"] == {"max_budget": 3}
    assert updated["updated_values"] == {"max_budget": 9.25}
    assert await get(admin, f"/audit/{updated['id']}") == updated
    assert [one["object_id"] for one in await entries(admin, search="9.25")] == ["b3"]
    assert len(await entries(admin, start_date="2026-01-01")) == 6
    assert await entries(admin, end_date="2026-01-01") == []
    error(await admin.get("/audit/unknown"), 404)


async def test_the_export_is_the_whole_trail_as_lines(gateway, admin):
    for number in range(3):
        await post(admin, "/budget/new", budget_id=f"b{number}")
    response = await admin.get("/audit/export")
    lines = [json.loads(line) for line in response.text.splitlines()]

    assert response.headers["content-type"] == "application/x-ndjson"
    assert lines == [*reversed(await entries(admin))]


async def test_what_the_management_api_writes_is_one_sound_chain(gateway, admin):
    await post(admin, "/team/new", team_id="t")
    await post(admin, "/user/new", user_id="u", teams=["t"])
    await post(admin, "/team/delete", team_ids=["t"])
    verifier = Verifier([AUDIT_KEY])

    assert await trails.problems(gateway.store, verifier) == []
    assert verifier.last.seq > 5
