"""Who may do what, decided before anything of a body is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from extproc.management import authentication

PUBLIC = {
    "/health/liveliness",
    "/health/liveness",
    "/health/readiness",
    "/docs",
    "/docs/assets/start.js",
    "/openapi.json",
}
ANY_KEY = {
    "/key/info",
    "/key/list",
    "/key/aliases",
    "/key/health",
    "/team/list",
    "/spend/logs",
    "/model/info",
    "/v1/model/info",
    "/v2/model/info",
    "/v1/models",
    "/models",
    "/v1/models/gpt-4o",
    "/health",
    "/metrics",
}
#: What every valid key may ask about what is its own; refused where it has none.
OWNERS = {"/team/info", "/user/info", "/extproc/explain"}
READS = {
    "/extproc/authentication-failures",
    "/audit",
    "/audit/export",
    "/audit/gpt-4o",
    "/spend/keys",
    "/user/list",
    "/customer/info",
    "/customer/list",
    "/budget/list",
    "/tag/list",
}
ALIASES = {"/end_user/info", "/end_user/list", "/team/member/add"}
WRITES = {
    *(f"/key/{verb}" for verb in ("generate", "update", "delete", "block", "unblock")),
    *("/key/regenerate", "/key/gpt-4o/regenerate", "/key/gpt-4o/reset_spend", "/key/bulk_update", "/v2/key/info"),
    "/key/service-account/generate",
    *("/model/new", "/model/update", "/model/delete"),
    *(f"/team/{verb}" for verb in ("new", "update", "delete", "block", "unblock")),
    *(f"/team/member_{verb}" for verb in ("add", "update", "delete")),
    *(f"/user/{verb}" for verb in ("new", "update", "delete", "block", "unblock")),
    *(
        f"/{name}/{verb}"
        for name in ("customer", "end_user")
        for verb in ("new", "update", "delete", "block", "unblock")
    ),
    *(f"/budget/{verb}" for verb in ("new", "update", "info", "delete")),
    *(f"/tag/{verb}" for verb in ("new", "update", "info", "delete")),
    "/team/member/add",
}

PATCHED = {"/model/gpt-4o/update"}

REFUSED = {
    "": ("auth_error", "Authentication Error, No api key passed in."),
    "Bearer ": (
        "auth_error", "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix."
    ),
    "sk-raw-0123456789": (
        "auth_error", "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix."
    ),
    "Bearer " + "f" * 64: (
        "auth_error", "LiteLLM Virtual Key expected. Received=ffff****ffff, expected to start with 'sk-'."
    ),
    "Bearer sk-unknown-0123456789": ("token_not_found_in_db", "Authentication Error, Invalid API key provided."),
}  # fmt: skip


def request(client, path: str, **kwargs):
    method = "POST" if path in {*WRITES, "/key/health"} else "GET"
    return client.request("PATCH" if path in PATCHED else method, path, **kwargs)


@pytest.mark.parametrize("path", sorted(PUBLIC))
async def test_some_paths_are_open_to_anyone(gateway, path):
    async with gateway.caller(None) as nobody:
        assert (await nobody.get(path)).status_code == 200


@pytest.mark.parametrize("authorization", REFUSED)
async def test_every_other_path_refuses_who_has_no_valid_key(gateway, authorization):
    kind, message = REFUSED[authorization]
    async with gateway.caller(None) as nobody:
        headers = {"authorization": authorization} if authorization else {}
        for path in sorted(ANY_KEY | OWNERS | READS | ALIASES | WRITES | PATCHED):
            response = await request(nobody, path, headers=headers)

            assert response.status_code == 401, path
            assert (response.json()["error"]["type"], response.json()["error"]["message"]) == (kind, message)


async def test_a_virtual_key_changes_nothing_and_lists_nothing(gateway):
    made = await gateway.generate(user_id="u", team_id="t")
    async with gateway.caller(made["key"]) as owner:
        for path in sorted(READS | ALIASES | WRITES | PATCHED):
            response = await request(owner, path)

            assert (response.status_code, response.json()["error"]["type"]) == (401, "auth_error"), path
            assert response.json()["error"]["message"].startswith(
                "Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route="
                + path.replace("/key/gpt-4o", "/key/{key}")
                .replace("/model/gpt-4o", "/model/{model_id}")
                .replace("/audit/gpt-4o", "/audit/{id}")
            )


async def test_a_key_without_team_and_user_learns_nothing_of_any(gateway, admin):
    await admin.post("/team/new", json={"team_id": "t"})
    made = await gateway.generate()
    async with gateway.caller(made["key"]) as owner:
        answers = [
            await owner.get(path, params=params)
            for path, params in [
                ("/team/info", {"team_id": "t"}), ("/team/info", {"team_id": "unknown"}), ("/user/info", {}),
                ("/user/info", {"user_id": "default_user_id"}), ("/user/info", {"user_id": "unknown"}),
                ("/team/list", {"user_id": "default_user_id"}),
            ]
        ]  # fmt: skip

    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize("path", sorted(ANY_KEY))
async def test_every_valid_key_may_read_what_is_its_own(gateway, path):
    made = await gateway.generate()
    async with gateway.caller(made["key"]) as owner:
        assert (await request(owner, path)).status_code == 200


@pytest.mark.parametrize("path", sorted(ANY_KEY))
async def test_an_expired_key_is_refused_from_the_millisecond_of_its_expiry(gateway, path):
    made = await gateway.generate(duration="10s")
    async with gateway.caller(made["key"]) as owner:
        gateway.now += 9_999
        assert (await request(owner, path)).status_code == 200
        gateway.now += 1
        response = await request(owner, path)

    body = response.json()["error"]
    assert (response.status_code, body["type"], body["param"]) == (401, "expired_key", made["key_name"])
    assert made["token"] not in response.text


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "x-litellm-api-key", "x-goog-api-key"])
async def test_a_key_may_come_in_the_headers_of_other_sdks_but_only_once(gateway, header):
    made = await gateway.generate()
    async with gateway.caller(None) as client:
        assert (await client.get("/key/info", headers={header: made["key"]})).status_code == 200
        both = {header: made["key"], "authorization": f"Bearer {made['key']}"}
        assert (await client.get("/key/info", headers=both)).status_code == 401


async def test_a_stranger_is_refused_before_the_body_is_read(gateway):
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"x"

    async with gateway.caller("sk-unknown-0123456789") as stranger:
        response = await stranger.post("/key/generate", content=body(), headers={"content-type": "application/json"})

    assert (response.status_code, read) == (401, [])


async def test_a_body_that_never_ends_is_given_up(gateway, monkeypatch):
    monkeypatch.setattr(authentication, "_SECONDS", 0.05)

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with gateway.caller() as admin:
        response = await admin.post("/key/generate", content=body(), headers={"content-type": "application/json"})

    assert response.status_code == 408
