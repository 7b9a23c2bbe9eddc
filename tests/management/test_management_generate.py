"""A key is made as LiteLLM makes it, and what cannot be is refused in a sentence."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from extproc.management import rows, schemas

SEED = """{
    "key_alias": "frontend-app",
    "models": ["gpt-4o", "claude-sonnet-4"],
    "max_budget": 100.0,
    "budget_duration": "30d",
    "rpm_limit": 100,
    "tpm_limit": 100000,
    "team_id": "team-engineering",
    "metadata": {
      "environment": "production",
      "app": "chat-widget"
    }
  }"""


def error(response, status: int, **expected: object) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()["error"]
    assert body["code"] == str(status)
    assert {name: body[name] for name in expected} == expected
    return body


async def info(admin, key: str) -> dict[str, Any]:
    response = await admin.get("/key/info", params={"key": key})
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()["info"]
    return shown


async def test_the_command_of_the_security_page_answers_with_its_fields(admin):
    response = await admin.post("/key/generate", content=SEED, headers={"content-type": "application/json"})

    body = response.json()
    assert response.status_code == 200
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", body["key"])
    assert body["key_name"] == f"sk-...{body['key'][-4:]}"
    assert {name: body[name] for name in ("expires", "models", "max_budget", "budget_duration")} == {
        "expires": None, "models": ["gpt-4o", "claude-sonnet-4"], "max_budget": 100.0, "budget_duration": "30d"
    }  # fmt: skip


async def test_the_answer_has_every_column_and_matches_its_schema(admin):
    body = (await admin.post("/key/generate", content=SEED, headers={"content-type": "application/json"})).json()

    rows.GeneratedKey.model_validate(body)
    assert body.keys() == rows.GeneratedKey.model_fields.keys()
    assert [*body][:2] == ["key", "key_name"]
    assert body["token"] == body["token_id"] == hashlib.sha256(body["key"].encode()).hexdigest()
    assert {name: body[name] for name in ("team_id", "rpm_limit", "tpm_limit", "spend", "created_by")} == {
        "team_id": "team-engineering", "rpm_limit": 100, "tpm_limit": 100_000, "spend": 0.0,
        "created_by": "default_user_id",
    }  # fmt: skip
    assert body["budget_reset_at"] == "2026-12-01T00:00:00.000Z"
    assert body["created_at"] == body["updated_at"] == "2026-11-23T15:04:05.678Z"
    assert (body["status"], body["blocked"], body["user_id"]) == ("active", False, None)


@pytest.mark.parametrize("content", [b"", b"{}"])
async def test_nothing_asked_for_is_a_key_without_limits(admin, content):
    body = (await admin.post("/key/generate", content=content, headers={"content-type": "application/json"})).json()

    assert (body["models"], body["max_budget"], body["expires"]) == ([], None, None)


async def test_every_key_is_another_one(gateway):
    assert len({(await gateway.generate())["key"] for _ in range(5)}) == 5


async def test_only_the_digest_is_stored(gateway, tmp_path):
    made = await gateway.generate(key_alias="a")

    stored = b"".join(file.read_bytes() for file in tmp_path.glob("extproc.db*"))
    assert made["key"].encode() not in stored
    assert made["token"].encode() in stored


async def test_every_further_field_is_kept_and_shown(gateway, admin):
    further = {
        "aliases": {"gpt": "gpt-4o"}, "config": {"a": 1}, "permissions": {"p": True}, "budget_id": "b",
        "model_max_budget": {"gpt-4o": {"max_budget": 0.0001, "budget_duration": "1d"}},
        "budget_limits": [{"max_budget": 1.5, "budget_duration": "1h"}], "budget_fallbacks": {"a": ["b"]},
        "project_id": "p", "agent_id": "x", "model_rpm_limit": {"gpt-4o": 1}, "model_tpm_limit": {"gpt-4o": 0},
        "tag_rpm_limit": {"t": 2}, "mcp_rpm_limit": {"m": 3}, "rpm_limit_type": "dynamic",
        "tpm_limit_type": "guaranteed_throughput", "allowed_routes": ["/v1/*"], "allowed_ips": ["10.0.0.0/8"],
        "allowed_cache_controls": ["no-store"],
        "guardrails": ["g"], "policies": ["p"], "prompts": ["p"], "tags": ["t"], "enforced_params": ["user"],
        "allowed_passthrough_routes": ["/x"], "object_permission": {"o": []}, "auto_rotate": True,
        "rotation_interval": "30d", "throttle_on_budget_exceeded": False, "send_invite_email": False,
        "router_settings": {"r": None}, "key_type": "default",
    }  # fmt: skip

    made = await gateway.generate(**further, unknown_field="ignored")

    assert {name: made[name] for name in further} == further
    shown = await info(admin, made["key"])
    assert {name: shown[name] for name in further} == further
    assert "unknown_field" not in shown
    assert schemas.FurtherFields.model_fields.keys() <= further.keys()


async def test_the_old_names_of_a_models_budget_are_understood(gateway):
    made = await gateway.generate(model_max_budget={"m": {"budget_limit": 2, "time_period": "1d"}})

    assert made["model_max_budget"] == {"m": {"max_budget": 2.0, "budget_duration": "1d"}}


async def test_a_key_type_decides_its_routes(gateway):
    assert (await gateway.generate(key_type="read_only"))["allowed_routes"] == ["info_routes"]
    assert (await gateway.generate(key_type="llm_api", allowed_routes=["/a"]))["allowed_routes"] == ["/a"]


@pytest.mark.parametrize(
    ("duration", "expires"),
    [
        ("30d", "2026-12-23T15:04:05.678Z"), ("1mo", "2026-12-23T15:04:05.678Z"),
        ("12h", "2026-11-24T03:04:05.678Z"),
        ("", None), (None, None), ("-1", None),
    ],
)  # fmt: skip
async def test_a_duration_becomes_an_expiry(gateway, duration, expires):
    made = await gateway.generate(duration=duration)

    assert (made["expires"], made["duration"]) == (expires, duration)


@pytest.mark.parametrize("field", ["duration", "budget_duration"])
@pytest.mark.parametrize("text", ["forever", "1h30m", "0d", "30 d"])
async def test_what_is_no_duration_is_said_so(admin, field, text):
    error(await admin.post("/key/generate", json={field: text}), 400, param=field, type="bad_request_error")


@pytest.mark.parametrize("field", ["budget_limits", "model_max_budget"])
async def test_the_windows_of_further_budgets_are_checked_too(admin, field):
    window = {"max_budget": 1, "budget_duration": "soon"}
    wanted = [window] if field == "budget_limits" else {"gpt-4o": window}

    error(await admin.post("/key/generate", json={field: wanted}), 400, param="budget_duration")


@pytest.mark.parametrize(
    ("written", "nanos"),
    [("100.0", 10**11), ("0", 0), ("0.1", 10**8), ("1e-9", 1), ('"2.50"', 25 * 10**8), ("1e9", 10**18),
     ("0.0000000014", 1), ("0.0000000016", 2), ("12345.678901234", 12_345_678_901_234)],
)  # fmt: skip
async def test_dollars_are_kept_to_the_nano(gateway, admin, written, nanos):
    response = await admin.post(
        "/key/generate", content=f'{{"max_budget": {written}}}', headers={"content-type": "application/json"}
    )

    key = await gateway.store.find(response.json()["token"])
    assert key.max_budget == nanos
    assert response.json()["max_budget"] == nanos / 10**9


@pytest.mark.parametrize("field", ["max_budget", "soft_budget", "spend"])
async def test_negative_money_is_refused(admin, field):
    error(await admin.post("/key/generate", json={field: -0.5}), 400, param=field)


@pytest.mark.parametrize(
    "body",
    [
        '{"max_budget": "NaN"}', '{"max_budget": "Infinity"}', '{"max_budget": true}', '{"max_budget": []}',
        '{"max_budget": 1e10}', '{"max_budget": "1e999999999999999999"}', '{"max_budget": "%s"}' % ("1" * 65),
        '{"rpm_limit": -1}', '{"rpm_limit": true}', '{"rpm_limit": 1.5}', '{"rpm_limit": 1e300}',
        '{"models": "gpt-4o"}', '{"models": [1]}', '{"metadata": []}', '{"key_alias": {}}',
        '{"team_id": "a\\u0000"}',
        '{"key_type": "root"}', '{"key_alias": "%s"}' % ("a" * 257), '{"models": %s}' % (["a"] * 501),
        '{"temp_budget_increase": 1}', '{"budget_limits": [{"max_budget": -1}]}', "[]", '"text"', "1",
    ],
)  # fmt: skip
async def test_a_wrong_type_is_a_422_that_repeats_no_input(admin, body):
    response = await admin.post(
        "/key/generate", content=body.replace("'", '"'), headers={"content-type": "application/json"}
    )

    assert response.status_code == 422, response.text
    assert response.json()["detail"]
    assert all(one.keys() == {"type", "loc", "msg"} for one in response.json()["detail"])


async def test_a_key_of_ones_own_works(gateway, admin):
    made = await gateway.generate(key="sk-my-own-key-of-mine")

    assert (made["key"], made["key_name"]) == ("sk-my-own-key-of-mine", "sk-...mine")
    async with gateway.caller("sk-my-own-key-of-mine") as owner:
        assert (await owner.get("/key/info")).status_code == 200


@pytest.mark.parametrize("key", ["my-own-key-of-mine", "sk-short", "sk-with a space 1234", "sk-ümlaut-0123456789"])
async def test_a_key_that_clients_could_not_send_is_refused(admin, key):
    error(await admin.post("/key/generate", json={"key": key}), 400, param="key", type="bad_request_error")


async def test_the_master_key_cannot_be_a_virtual_key(admin):
    error(await admin.post("/key/generate", json={"key": "sk-master-0123456789"}), 400, param="key")


async def test_a_taken_key_is_refused_and_stays_as_it_was(gateway, admin):
    made = await gateway.generate(key="sk-my-own-key-of-mine", max_budget=1)

    refused = await admin.post("/key/generate", json={"key": made["key"], "max_budget": 1000})

    body = error(refused, 400, param="key", type="bad_request_error")
    assert made["token"] not in str(body)
    assert (await info(admin, made["key"]))["max_budget"] == 1.0


async def test_a_taken_alias_is_refused_in_litellms_words(gateway, admin):
    await gateway.generate(key_alias="frontend-app")

    error(
        await admin.post("/key/generate", json={"key_alias": "frontend-app"}), 400, param="key_alias",
        type="bad_request_error",
        message="Key with alias 'frontend-app' already exists. Unique key aliases across all keys are required.",
    )  # fmt: skip


async def test_a_blank_id_is_none(gateway):
    made = await gateway.generate(key_alias="", user_id="", team_id="", key="")

    assert (made["key_alias"], made["user_id"], made["team_id"]) == (None, None, None)
    await gateway.generate(key_alias="")


@pytest.mark.parametrize("field", ["metadata", "aliases"])
async def test_what_is_attached_to_a_key_stays_small(admin, field):
    error(await admin.post("/key/generate", json={field: {"a": "x" * 70_000}}), 400)


async def test_the_caches_are_told_of_a_new_key(gateway):
    made = await gateway.generate()

    assert gateway.forgotten == [f"api_key {made['token']}"]
