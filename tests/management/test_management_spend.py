"""Spend is shown from the ledger in LiteLLM's columns, to whom it concerns."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.management import rows
from extproc.management.spend import MOST_ROWS
from extproc.management.spend_rows import SpendRow
from extproc.model import MASTER_KEY_DIGEST, Usage

DAY = 86_400_000


async def shown(client, **query) -> list[dict[str, Any]]:
    response = await client.get("/spend/logs", params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found


async def test_a_row_has_litellms_columns_and_the_exact_amount(gateway, admin):
    made = await gateway.generate(key_alias="frontend", user_id="u", team_id="t")
    await gateway.book(
        made["token"], "e1", key_alias="frontend", user_id="u", team_id="t", organization_id="o", end_user="end",
        requester_ip="192.0.2.1", user_agent="curl", tags=("a", "b"), metadata={"trace": 1},
        usage=Usage(input_tokens=1_000, output_tokens=50, cache_read_tokens=900, reasoning_tokens=40,
                    input_audio_tokens=1),
        first_byte_at=gateway.now + 300, spend=1_234_567_891,
    )  # fmt: skip

    [row] = await shown(admin)

    SpendRow.model_validate(row)
    metadata = row.pop("metadata")
    assert row == {
        "request_id": "chatcmpl-1", "event_id": "e1", "litellm_call_id": "call-e1", "session_id": "call-e1",
        "call_type": "acompletion", "api_key": made["token"], "spend": 1.234567891, "spend_nanos": 1_234_567_891,
        "total_tokens": 1_050, "prompt_tokens": 1_000, "completion_tokens": 50,
        "startTime": "2026-11-23T15:04:05.678Z", "completionStartTime": "2026-11-23T15:04:05.978Z",
        "endTime": "2026-11-23T15:04:07.178Z", "request_duration_ms": 1_500, "model": "gpt-4o-2024-08-06",
        "model_id": "id-gpt-4o", "model_group": "gpt-4o", "custom_llm_provider": "openai",
        "api_base": "https://api.openai.com/v1", "user": "u", "cache_hit": "False", "cache_key": "Cache OFF",
        "request_tags": ["a", "b"], "team_id": "t", "organization_id": "o", "end_user": "end",
        "requester_ip_address": "192.0.2.1", "messages": {}, "response": {}, "proxy_server_request": {},
        "status": "success", "created_at": "2026-11-23T15:04:07.678Z", "updated_at": "2026-11-23T15:04:07.678Z",
    }  # fmt: skip
    assert metadata["user_api_key_alias"] == "frontend"
    assert metadata["usage_object"] == {
        "prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050,
        "prompt_tokens_details": {"cached_tokens": 900, "cache_creation_tokens": 0, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 0},
    }  # fmt: skip
    assert (metadata["requester_metadata"], metadata["estimated"], metadata["cut"]) == ({"trace": 1}, False, False)


async def test_an_unpriced_exchange_has_no_spend_rather_than_none_spent(gateway, admin):
    await gateway.book("d", spend=None, estimated=True, cut=True)

    [row] = await shown(admin)
    assert (row["spend"], row["spend_nanos"], row["metadata"]["priced"]) == (None, None, False)
    assert (row["metadata"]["estimated"], row["metadata"]["cut"]) == (True, True)


async def test_without_a_response_id_of_the_provider_the_request_id_is_ours(gateway, admin):
    await gateway.book("d", "e1", provider_response_id="")

    assert [row["request_id"] for row in await shown(admin)] == ["e1"]


class TestChoice:
    @pytest.fixture
    async def four(self, gateway):
        for number, (digest, user, started) in enumerate(
            [("a", "u", 0), ("a", None, DAY), (MASTER_KEY_DIGEST, "u", DAY + 1), ("b", "v", 2 * DAY)]
        ):
            await gateway.book(
                digest, f"e{number}", user_id=user, started_at=gateway.now - gateway.now % DAY + started,
                provider_response_id="same" if number < 2 else f"p{number}", model=f"m{number % 2}", spend=10**9,
            )  # fmt: skip

    @pytest.mark.parametrize(
        ("query", "events"),
        [
            ({}, "e3 e2 e1 e0"), ({"api_key": "a"}, "e1 e0"), ({"api_key": MASTER_KEY_DIGEST}, "e2"),
            ({"user_id": "u"}, "e2 e0"), ({"request_id": "same"}, "e1 e0"), ({"request_id": "e1"}, "e1"),
            ({"request_id": "call-e3"}, "e3"), ({"request_id": "unknown"}, ""), ({"request_id": ""}, "e3 e2 e1 e0"),
            ({"api_key": "sk-unknown-0123456789"}, ""), ({"limit": 1}, "e3"),
            ({"start_date": "2026-11-24", "end_date": "2026-11-24", "summarize": False}, "e2 e1"),
            ({"start_date": "2026-11-24T00:00:00.001", "summarize": False}, "e3 e2"),
            ({"end_date": "2026-11-24 01:00:00+01:00", "summarize": False}, "e1 e0"),
        ],
    )  # fmt: skip
    async def test_rows_are_chosen(self, admin, four, query, events):
        assert [row["event_id"] for row in await shown(admin, **query)] == events.split()

    async def test_with_dates_there_is_one_object_per_day(self, admin, four):
        assert await shown(admin, start_date="2026-11-23", end_date="2026-11-24") == [
            {"startTime": "2026-11-23", "spend": 1.0, "users": {"u": 1.0}, "models": {"m0": 1.0}, "a": 1.0},
            {
                "startTime": "2026-11-24", "spend": 2.0, "users": {"": 1.0, "u": 1.0}, "models": {"m0": 1.0, "m1": 1.0},
                "a": 1.0, MASTER_KEY_DIGEST: 1.0,
            },
        ]  # fmt: skip

    async def test_a_summary_can_be_of_one_key(self, admin, four):
        assert [day["spend"] for day in await shown(admin, start_date="2026-11-01", api_key="a")] == [1.0, 1.0]

    @pytest.mark.parametrize(
        "query",
        [
            {"start_date": "yesterday"}, {"end_date": "2026-13-01"}, {"start_date": "2026-11-2"},
            {"end_date": "9999-12-31"}, {"start_date": "2026-11-24", "end_date": "2026-11-23"},
        ],
    )  # fmt: skip
    async def test_dates_that_cannot_be_are_said_so(self, admin, query):
        response = await admin.get("/spend/logs", params=query)

        assert (response.status_code, response.json()["error"]["type"]) == (400, "bad_request_error")

    async def test_it_is_said_when_there_is_more_than_the_limit_shows(self, admin, four):
        cut = await admin.get("/spend/logs", params={"limit": 3})
        whole = await admin.get("/spend/logs", params={"limit": 4})

        assert (cut.headers.get("x-extproc-more"), whole.headers.get("x-extproc-more")) == ("true", None)
        assert (await admin.get("/spend/logs", params={"limit": MOST_ROWS + 1})).status_code == 422


class TestVirtualKeys:
    async def test_a_key_sees_its_own_rows_and_sums_only(self, gateway):
        mine, other = await gateway.generate(), await gateway.generate()
        await gateway.book(mine["token"], "mine")
        await gateway.book(other["token"], "other")

        async with gateway.caller(mine["key"]) as owner:
            assert [row["event_id"] for row in await shown(owner)] == ["mine"]
            assert [row["event_id"] for row in await shown(owner, api_key=mine["key"])] == ["mine"]
            assert await shown(owner, request_id="other") == []
            [day] = await shown(owner, start_date="2026-11-23")
            assert (day["spend"], other["token"] in day) == (0.000125, False)

    async def test_a_key_may_not_ask_for_another_ones_rows(self, gateway):
        mine, other = await gateway.generate(), await gateway.generate()
        async with gateway.caller(mine["key"]) as owner:
            for asked in (other["key"], other["token"], MASTER_KEY_DIGEST):
                assert (await owner.get("/spend/logs", params={"api_key": asked})).status_code == 403


class TestSpendKeys:
    async def test_keys_are_listed_the_dearest_first(self, gateway, admin):
        cheap, dear = await gateway.generate(), await gateway.generate()
        await gateway.book(cheap["token"], "e1", spend=1)
        await gateway.book(dear["token"], "e2", spend=2 * 10**9)
        await admin.post("/key/update", json={"key": dear["key"], "spend": 0})

        body = (await admin.get("/spend/keys")).json()

        for row in body:
            rows.KeySpendRow.model_validate(row)
        assert [(row["token"], row["spend"], row["total_spend"]) for row in body] == [
            (dear["token"], 0.0, 2.0), (cheap["token"], 1e-9, 1e-9)
        ]  # fmt: skip
        assert len((await admin.get("/spend/keys", params={"limit": 1})).json()) == 1
        assert body[1]["last_active"] == "2026-11-23T15:04:07.178Z"
