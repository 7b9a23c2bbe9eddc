"""What no key gets more of, on every way to a key, and what a new key gets unasked."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from management.asking import error, post
from management.conftest import SETTINGS

from extproc.policy.key_bounds import Bounds, Defaults

DOLLAR = 10**9
BOUNDS = Bounds(max_budget=100 * DOLLAR, budget_duration="10d", duration="30d", rpm_limit=10)
DEFAULTS = Defaults(max_budget=5 * DOLLAR, budget_duration="1d", models=("small",), metadata={"a": 1}, team_id="t")


@pytest.fixture
async def bounded(gateway, admin):
    """The administrator, where keys are bounded, and a team with a key that is older than the bounds."""
    await post(admin, "/team/new", team_id="t")
    await post(admin, "/user/new", user_id="u", auto_create_key=False)
    await post(admin, "/key/generate", key="sk-of-before-123456", max_budget=500.0, rpm_limit=50)
    gateway.with_parts(settings=msgspec.structs.replace(SETTINGS, key_bounds=BOUNDS))
    async with gateway.caller() as client:
        yield client


async def asked(client: httpx.AsyncClient, path: str, **body: Any) -> httpx.Response:
    """A key is asked for, on each of the ways to one."""
    named = {
        "/key/update": {"key": "sk-of-before-123456"},
        "/key/regenerate": {"key": "sk-of-before-123456"},
        "/key/service-account/generate": {"team_id": "t"},
    }
    return await client.post(path, json={**named.get(path, {}), **body})


WAYS = ["/key/generate", "/key/service-account/generate", "/key/update", "/key/regenerate"]


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"max_budget": 200}, "max_budget is over max limit set in config - user_value=200.0; max_value=100.0"),
        ({"rpm_limit": 11}, "rpm_limit is over max limit set in config - user_value=11; max_value=10"),
        ({"duration": "31d"}, "duration is over max limit set in config - user_value=31d; max_value=30d"),
        ({"duration": "-1"}, "duration is over max limit set in config - user_value=-1; max_value=30d"),
        ({"budget_duration": "30d"}, "budget_duration is over max limit set in config - user_value=30d; max_value=10d"),
        (
            {"max_budget": 90, "temp_budget_increase": 20, "temp_budget_expiry": "2027-01-01T00:00:00Z"},
            "max_budget is over max limit set in config - user_value=110.0; max_value=100.0",
        ),
    ],
)
async def test_more_than_a_bound_is_refused_on_every_way_to_a_key(bounded, path, body, said):
    error(await asked(bounded, path, **body), 400, message=said)


@pytest.mark.parametrize("path", WAYS[:2])
async def test_a_new_key_that_asks_for_nothing_gets_the_bounds(bounded, path):
    made = (await asked(bounded, path, rpm_limit=0, duration="")).json()

    assert (made["max_budget"], made["budget_duration"], made["rpm_limit"]) == (100.0, "10d", 0)
    assert (made["duration"], made["expires"]) == ("30d", "2026-12-23T15:04:05.678Z")


async def test_the_first_key_of_a_user_is_bounded_too_and_without_a_key_there_is_no_user(bounded):
    error(await bounded.post("/user/new", json={"user_id": "v", "duration": "31d"}), 400, param="duration")
    error(await bounded.get("/user/info", params={"user_id": "v"}), 404)
    made = await post(bounded, "/user/new", user_id="v")
    found = (await bounded.get("/key/info", params={"key": made["key"]})).json()["info"]

    assert (found["max_budget"], found["rpm_limit"], made["expires"]) == (100.0, 10, "2026-12-23T15:04:05.678Z")


@pytest.mark.parametrize("path", WAYS[2:])
async def test_a_key_of_before_keeps_what_no_change_names(bounded, path):
    changed = (await asked(bounded, path, metadata={"a": 1})).json()

    assert (changed["max_budget"], changed["rpm_limit"], changed["expires"]) == (500.0, 50, None)


@pytest.mark.parametrize("path", WAYS[2:])
async def test_taking_a_limit_away_leaves_the_bound(bounded, path):
    changed = (await asked(bounded, path, max_budget=None, rpm_limit=None, duration=None)).json()

    assert (changed["max_budget"], changed["rpm_limit"], changed["expires"]) == (100.0, 10, None)


async def test_an_increase_counts_on_top_of_the_budget_that_the_key_has(bounded):
    made = await post(bounded, "/key/generate", max_budget=60)
    more = {"key": made["key"], "temp_budget_expiry": "2027-01-01T00:00:00Z"}

    error(await bounded.post("/key/update", json={**more, "temp_budget_increase": 41}), 400, param="max_budget")
    await post(bounded, "/key/update", **more, temp_budget_increase=40)
    error(await bounded.post("/key/update", json={"key": made["key"], "max_budget": 61}), 400, param="max_budget")


async def test_an_increase_that_is_over_counts_no_more(bounded, gateway):
    made = await post(bounded, "/key/generate", max_budget=60)
    more = {"temp_budget_expiry": "2027-01-01T00:00:00Z", "temp_budget_increase": 40}
    await post(bounded, "/key/update", key=made["key"], **more)
    gateway.now = 1_800_000_000_000

    changed = await post(bounded, "/key/update", key=made["key"], max_budget=100)

    assert changed["max_budget"] == 100.0


async def test_of_many_changes_only_those_above_a_bound_fail(bounded):
    made = await post(bounded, "/key/generate")
    changed = await post(
        bounded, "/key/bulk_update", keys=[{"key": made["key"], "rpm_limit": n} for n in (9, 11)],
    )  # fmt: skip

    assert [each["key_info"]["rpm_limit"] for each in changed["successful_updates"]] == [9]
    assert ["over max limit" in each["failed_reason"] for each in changed["failed_updates"]] == [True]


async def test_what_is_no_duration_is_told_before_it_is_compared(bounded):
    error(await bounded.post("/key/generate", json={"duration": "soon"}), 400, param="duration")


@pytest.fixture
async def given(gateway, admin):
    """The administrator, where new keys get something unasked."""
    await post(admin, "/team/new", team_id="t")
    gateway.with_parts(settings=msgspec.structs.replace(SETTINGS, key_defaults=DEFAULTS))
    async with gateway.caller() as client:
        yield client


@pytest.mark.parametrize("path", WAYS[:2])
async def test_a_new_key_gets_the_defaults_for_what_it_does_not_ask(given, path):
    made = await post(given, path)

    assert (made["max_budget"], made["budget_duration"], made["models"]) == (5.0, "1d", ["small"])
    assert (made["metadata"], made["team_id"]) == ({"a": 1}, "t")


async def test_what_a_new_key_asks_for_it_gets(given):
    made = await post(
        given, "/key/generate", max_budget=0, budget_duration=None, models=["gpt-4o"], metadata={"b": 2}, team_id="x"
    )

    assert (made["max_budget"], made["budget_duration"], made["models"]) == (0.0, None, ["gpt-4o"])
    assert (made["metadata"], made["team_id"]) == ({"b": 2}, "x")


async def test_a_default_team_takes_in_nobody_who_may_not_make_keys_in_it(gateway, given):
    made = await post(given, "/user/new", user_id="stranger")

    async with gateway.caller(made["key"]) as stranger:
        error(await stranger.post("/key/generate", json={}), 403)
