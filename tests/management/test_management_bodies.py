"""Bodies are bounded, and whatever is sent is answered with what is wrong with it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from extproc.management import budgets, customers, members, tags, teams
from extproc.management.bodies import MAX_BYTES, MAX_DEPTH, MAX_VALUES
from extproc.management.schemas import DeleteKeys, GenerateKey, NamedKey, UpdateKey
from extproc.management.team_schemas import DeleteTeams, DeleteUsers, NamedTeam, NewUser, UpdateTeam, UpdateUser
from extproc.stores.sql import SqlStore

JSON = {"content-type": "application/json"}


async def send(client, content: bytes, path: str = "/key/generate"):
    return await client.post(path, content=content, headers=JSON)


@pytest.mark.parametrize(("size", "status"), [(MAX_BYTES, 200), (MAX_BYTES + 1, 413)])
async def test_a_body_may_be_a_mebibyte_long(admin, size, status):
    content = b'{"ignored": "' + b"x" * (size - 15) + b'"}'
    assert len(content) == size

    assert (await send(admin, content)).status_code == status


async def test_a_body_without_end_is_read_no_further_than_its_limit(admin):
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield b" " * 65_536

    response = await admin.post("/key/generate", content=endless(), headers=JSON)

    assert (response.status_code, len(sent)) == (413, MAX_BYTES // 65_536 + 1)


@pytest.mark.parametrize(("depth", "status"), [(MAX_DEPTH, 200), (MAX_DEPTH + 1, 400), (100_000, 400)])
async def test_a_body_may_be_so_deep(admin, depth, status):
    content = b'{"ignored":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert (await send(admin, content)).status_code == status


@pytest.mark.parametrize(("count", "status"), [(MAX_VALUES - 2, 200), (MAX_VALUES - 1, 400)])
async def test_a_body_may_have_so_many_values(admin, count, status):
    assert (await send(admin, json.dumps({"ignored": [0] * count}).encode())).status_code == status


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b'{"a": NaN}', b'{"key_alias": "\\ud800"}', b'{"a": 1e999}', b"\xef\xbb\xbf{}", b"{} {}",
     b'{"metadata": {"a": "\xff"}}', b"1" * 5_000],
)  # fmt: skip
async def test_what_is_no_json_is_said_so(admin, content):
    response = await send(admin, content)

    assert response.status_code == 422
    [problem] = response.json()["detail"]
    assert (problem["type"], problem["loc"]) == ("json_invalid", ["body"])


async def test_of_duplicate_names_the_last_counts(admin):
    assert (await send(admin, b'{"rpm_limit": 1, "rpm_limit": 2}')).json()["rpm_limit"] == 2


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}]
)
async def test_a_body_that_does_not_say_it_is_json_is_none(admin, headers):
    assert (await admin.post("/key/generate", content=b'{"max_budget": 1}', headers=headers)).status_code == 422


@pytest.mark.parametrize("path", ["/key/generate", "/key/info"])
async def test_unknown_paths_and_methods_are_told_in_fastapis_shape(gateway, path):
    async with gateway.caller(None) as nobody:
        assert (await nobody.put(path)).json() == {"detail": "Method Not Allowed"}
        missing = await nobody.get(path + "/nothing")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("path", ["/v1/models", "/nothing", "/health/liveliness", "/docs", "/key/info"])
async def test_every_answer_has_the_security_headers(gateway, path):
    async with gateway.caller(None) as nobody:
        headers = (await nobody.get(path)).headers

    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["vary"] == "Origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_what_nobody_foresaw_is_a_500_that_tells_nothing_and_a_log_line_without_texts(gateway, caplog):
    secret = "sk-" + "secret"

    class Surprising(SqlStore):
        async def find(self, digest):
            raise KeyError(secret)

    gateway.with_parts(keys=Surprising(gateway.store._database))
    with caplog.at_level(logging.ERROR):
        async with gateway.caller("sk-some-key-0123456789") as client:
            response = await client.get("/key/info")

    assert (response.status_code, response.json()["error"]["type"]) == (500, "internal_server_error")
    assert response.headers["x-frame-options"] == "DENY"
    assert "Traceback" not in response.text
    [record] = caplog.records
    assert (record.error, "in find" in record.places) == ("KeyError", True)
    assert secret not in f"{record.__dict__}"


@pytest.mark.parametrize("path", ["/key/info", "/key/list", "/spend/logs", "/spend/keys"])
async def test_a_database_that_is_gone_is_a_503_in_litellms_words(gateway, admin, path):
    await gateway.store.close()

    response = await admin.get(path, params={"key": "f" * 64})
    assert (response.status_code, response.json()["error"]["type"]) == (503, "no_db_connection")
    assert response.headers["retry-after"] == "1"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.sampled_from(["", "30d", "-1", "sk-0123456789abcdef", "2026-11-23", "f" * 64, "\u0000"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
ENDPOINTS: dict[str, type[BaseModel]] = {
    "/key/generate": GenerateKey, "/key/update": UpdateKey, "/key/delete": DeleteKeys, "/key/block": NamedKey,
    "/key/unblock": NamedKey,
    "/team/new": teams.NewTeam, "/team/update": UpdateTeam, "/team/delete": DeleteTeams, "/team/block": NamedTeam,
    "/team/member_add": members.AddMembers, "/team/member_update": members.UpdateMember,
    "/team/member_delete": members.RemoveMember,
    "/user/new": NewUser, "/user/update": UpdateUser, "/user/delete": DeleteUsers,
    "/customer/new": customers.NewCustomer, "/customer/update": customers.UpdateCustomer,
    "/customer/delete": customers.NamedCustomers, "/customer/block": customers.NamedCustomers,
    "/customer/unblock": customers.NamedCustomers,
    "/budget/new": budgets.NewBudget, "/budget/update": budgets.UpdateBudget, "/budget/info": budgets.AskedBudgets,
    "/budget/delete": budgets.NamedBudget,
    "/tag/new": tags.NewTag, "/tag/update": tags.UpdateTag, "/tag/info": tags.AskedTags, "/tag/delete": tags.NamedTag,
}  # fmt: skip
#: One of each, for requests to name.
NAMES = {"team_id": "t", "user_id": "u", "budget_id": "b", "name": "x", "id": "b", "user_ids": ["u"], "team_ids": ["t"]}
QUERIES = {
    "/key/info": ["key"],
    "/key/list": ["page", "size", "user_id", "key_hash", "key_alias", "search", "sort_by", "sort_order"],
    "/spend/logs": ["api_key", "user_id", "request_id", "start_date", "end_date", "summarize", "limit"],
    "/spend/keys": ["limit"],
    "/v1/models": ["return_wildcard_routes"],
    "/team/info": ["team_id"],
    "/team/list": ["user_id", "organization_id"],
    "/user/info": ["user_id"],
    "/user/list": ["role", "user_ids", "user_email", "page", "page_size", "sort_by", "sort_order"],
    "/customer/info": ["end_user_id"],
}
fuzz = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


async def one_of_each(gateway) -> None:
    async with gateway.caller() as admin:
        await admin.post("/team/new", json={"team_id": "t"})
        await admin.post("/team/member_add", json={"team_id": "t", "member": {"user_id": "u"}})
        await admin.post("/budget/new", json={"budget_id": "b"})
        await admin.post("/customer/new", json={"user_id": "u"})
        await admin.post("/tag/new", json={"name": "x"})


async def read_everything(admin) -> None:
    """What was stored can be shown again."""
    for path in ("/team/list", "/user/list", "/user/info", "/customer/list", "/budget/list", "/tag/list"):
        assert (await admin.get(path)).status_code == 200, path


@fuzz
@given(st.data())
async def test_no_body_whatever_makes_the_server_fail(gateway, data):
    path = data.draw(st.sampled_from(sorted(ENDPOINTS)))
    names = sorted(ENDPOINTS[path].model_fields)
    body = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=5) | values)
    if "key" in names and isinstance(body, dict) and data.draw(st.booleans()):
        made = await gateway.generate()
        body["key"] = made["token"] if path != "/key/generate" else made["key"][:-3] + "new"
    if isinstance(body, dict) and data.draw(st.booleans()):
        await one_of_each(gateway)
        body |= {name: value for name, value in NAMES.items() if name in names}

    async with gateway.caller() as admin:
        response = await send(admin, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), path)
        assert response.status_code < 500, (path, body, response.text)
        await read_everything(admin)
        if response.status_code == 200 and path.startswith("/key/") and "token" in response.json():
            key = response.json()["token"]
            assert (await admin.get("/key/info", params={"key": key})).status_code == 200
            assert (await admin.get("/key/list", params={"return_full_object": True, "size": 100})).status_code == 200


@fuzz
@given(content=st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
async def test_no_bytes_whatever_make_the_server_fail(gateway, content):
    async with gateway.caller() as admin:
        for path in ENDPOINTS:
            assert (await send(admin, content, path)).status_code < 500


@fuzz
@given(st.data())
async def test_no_query_whatever_makes_the_server_fail(gateway, data):
    path = data.draw(st.sampled_from(sorted(QUERIES)))
    texts = st.text(max_size=12) | st.sampled_from(["0", "1", "true", "9" * 30, "2026-11-23", "0001-01-01T00:00+14:00"])
    query = data.draw(st.dictionaries(st.sampled_from(QUERIES[path]), texts, max_size=4))

    async with gateway.caller() as admin:
        response = await admin.get(path, params={name: text.encode("utf-8", "replace") for name, text in query.items()})
    assert response.status_code < 500, (path, query, response.text)


@fuzz
@given(
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#%\\"), max_size=20),
    value=st.binary(min_size=1, max_size=40).map(
        lambda raw: raw.replace(b"\n", b"").replace(b"\r", b"").strip() or b"x"
    ),
)
async def test_no_path_or_credential_whatever_makes_the_server_fail(gateway, path, value):
    async with gateway.caller(None) as client:
        for target in ("/key/info", f"/v1/models/{path}", f"/docs/assets/{path}", f"/{path}"):
            response = await client.get(target, headers=[(b"authorization", value)])
            assert response.status_code < 500
