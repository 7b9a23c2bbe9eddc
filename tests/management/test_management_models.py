"""A key is shown the models that it may use."""

from __future__ import annotations

import pytest


async def ids(gateway, models: list[str], **query) -> list[str]:
    made = await gateway.generate(models=models)
    async with gateway.caller(made["key"]) as owner:
        response = await owner.get("/v1/models", params=query)
    assert response.status_code == 200
    assert response.json()["object"] == "list"
    return [model["id"] for model in response.json()["data"]]


async def test_a_model_has_openais_fields_and_what_the_configuration_tells(admin):
    body = (await admin.get("/v1/models")).json()

    assert body["data"][0] == {
        "id": "gpt-4o", "object": "model", "created": 1_677_610_602, "owned_by": "openai", "mode": "chat",
        "max_input_tokens": 128_000, "max_output_tokens": None,
    }  # fmt: skip
    assert (await admin.get("/models")).json() == body


@pytest.mark.parametrize(
    ("models", "shown"),
    [
        ([], ["gpt-4o", "small"]),
        (["small"], ["small"]),
        (["gpt-*"], ["gpt-4o"]),
        (["all-proxy-models"], ["gpt-4o", "small"]),
        (["unknown"], []),
        (["openai/*"], []),
        (["openai/o3", "small", "small"], ["small", "openai/o3"]),
    ],
)
async def test_the_list_is_filtered_to_the_key(gateway, models, shown):
    assert await ids(gateway, models) == shown


async def test_wildcards_are_shown_on_request(gateway):
    assert await ids(gateway, [], return_wildcard_routes=True) == ["gpt-4o", "small", "openai/*"]


@pytest.mark.parametrize("path", ["/v1/models/", "/models/"])
async def test_one_model_is_shown_also_if_a_wildcard_serves_it(admin, path):
    assert (await admin.get(f"{path}gpt-4o")).json()["mode"] == "chat"
    assert (await admin.get(f"{path}openai/o3")).json()["id"] == "openai/o3"


async def test_a_model_out_of_reach_is_one_that_does_not_exist(gateway):
    made = await gateway.generate(models=["small"])
    async with gateway.caller(made["key"]) as owner:
        hidden, missing = await owner.get("/v1/models/gpt-4o"), await owner.get("/v1/models/nothing")

    assert (hidden.status_code, missing.status_code) == (404, 404)
    assert hidden.json()["error"]["message"].replace("gpt-4o", "nothing") == missing.json()["error"]["message"]


async def test_anyone_without_a_key_is_shown_nothing(gateway):
    async with gateway.caller(None) as nobody:
        assert (await nobody.get("/v1/models")).status_code == 401
