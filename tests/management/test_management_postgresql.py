"""The same endpoints over PostgreSQL: one story through all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from management.asking import error, get, post
from management.conftest import Gateway
from running_postgres import fresh_database

from extproc.stores.sql import SqlStore


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with fresh_database() as url:
        store = await SqlStore.open(url)
        yield Gateway(store)
        await store.close()


async def test_a_team_lives_and_dies(gateway, admin):
    await post(admin, "/budget/new", budget_id="b", max_budget=5, budget_duration="30d")
    await post(admin, "/team/new", team_id="t", models=["gpt-4o"], max_budget=10, budget_limits=[
        {"max_budget": 1, "budget_duration": "1h"}
    ])  # fmt: skip
    await post(admin, "/team/member_add", team_id="t", member=[{"user_email": "u@example.com"}], max_budget_in_team=2)
    [user] = (await get(admin, "/user/list", user_email="u@example.com"))["users"]
    made = await gateway.generate(team_id="t", user_id=user["user_id"], budget_id="b", model_rpm_limit={"gpt-4o": 3})
    await post(admin, "/customer/new", user_id="c", budget_id="b")
    await post(admin, "/tag/new", name="batch", max_budget=3)

    await gateway.book(
        made["token"], team_id="t", user_id=user["user_id"], end_user="c", tags=("batch",), spend=1_500_000_000
    )

    shown = await get(admin, "/team/info", team_id="t")
    assert shown["team_info"]["spend"] == 1.5
    assert sorted(one["spend"] for one in shown["team_memberships"]) == [0.0, 1.5]
    assert shown["keys"][0]["spend"] == 1.5
    assert (await get(admin, "/customer/info", end_user_id="c"))["spend"] == 1.5
    assert (await post(admin, "/tag/info", names=["batch"]))["batch"]["spend"] == 1.5
    assert (await get(admin, "/user/info", user_id=user["user_id"]))["user_info"]["spend"] == 1.5
    assert [team["team_id"] for team in await get(admin, "/team/list", user_id=user["user_id"])] == ["t"]
    error(await admin.post("/user/new", json={"user_email": "u@example.com"}), 409, param="user_email")

    async with gateway.caller(made["key"]) as owner:
        await post(admin, "/team/block", team_id="t")
        error(await owner.get("/key/info"), 401, type="auth_error")
        await post(admin, "/team/unblock", team_id="t")
        assert (await get(owner, "/key/info"))["info"]["litellm_budget_table"]["max_budget"] == 5.0
        await post(admin, "/team/delete", team_ids=["t"])
        error(await owner.get("/key/info"), 401, type="token_not_found_in_db")
    assert await post(admin, "/user/delete", user_ids=[user["user_id"]]) == 1
