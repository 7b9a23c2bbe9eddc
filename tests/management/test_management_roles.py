"""Every route for every role, cell by cell, and what two tenants can learn of and do to each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from management.asking import error, get, post
from management.conftest import Gateway

from extproc.management.authentication import GovernedRoute
from extproc.policy import roles
from extproc.stores.sql import SqlStore

#: One letter for each role that a route lets in.
ROLES = {
    "A": "proxy_admin", "V": "proxy_admin_viewer", "I": "internal_user", "R": "internal_user_viewer",
    "C": "customer", "K": "",
}  # fmt: skip
ALLOWED = {
    "GET /key/info": "AVIRCK", "POST /key/health": "AVIRCK", "GET /user/info": "AVIRCK", "GET /health": "AVIRCK",
    "GET /extproc/explain": "AVIRCK", "GET /v1/models": "AVIRCK", "GET /models": "AVIRCK",
    "GET /v1/models/{model:path}": "AVIRCK", "GET /models/{model:path}": "AVIRCK", "GET /model/info": "AVIRCK",
    "GET /v1/model/info": "AVIRCK", "GET /v2/model/info": "AVIRCK", "GET /spend/logs": "AVIRCK",
    "GET /key/list": "AVIRK", "GET /key/aliases": "AVIRK", "GET /team/info": "AVIRK", "GET /team/list": "AVIRK",
    "POST /key/generate": "AI", "POST /key/update": "AI", "POST /key/delete": "AI", "POST /key/block": "AI",
    "POST /key/unblock": "AI", "POST /key/regenerate": "AI", "POST /key/{key}/regenerate": "AI",
    "POST /key/{key}/reset_spend": "AI", "POST /key/service-account/generate": "AI", "POST /team/update": "AI",
    "POST /team/member_add": "AI", "POST /team/member/add": "AI", "POST /team/member_update": "AI",
    "POST /team/member_delete": "AI",
    "POST /v2/key/info": "AV", "GET /user/list": "AV", "GET /customer/info": "AV", "GET /customer/list": "AV",
    "GET /end_user/info": "AV", "GET /end_user/list": "AV", "POST /budget/info": "AV", "GET /budget/list": "AV",
    "POST /tag/info": "AV", "GET /tag/list": "AV", "GET /spend/keys": "AV",
    "GET /extproc/suspicious-keys": "AV", "GET /extproc/authentication-failures": "AV",
    "GET /audit": "AV", "GET /audit/export": "AV", "GET /audit/{id}": "AV",
    "POST /global/spend/reset": "A",
    "POST /key/bulk_update": "A", "POST /team/new": "A", "POST /team/delete": "A", "POST /team/block": "A",
    "POST /team/unblock": "A", "POST /user/new": "A", "POST /user/update": "A", "POST /user/delete": "A",
    "DELETE /user/delete": "A", "GET /user/{user_id}": "AVIRCK", "GET /user/{user_id}/export": "AVIRCK",
    "POST /user/block": "A", "POST /user/unblock": "A", "POST /customer/new": "A", "POST /customer/update": "A",
    "POST /customer/delete": "A", "POST /customer/block": "A", "POST /customer/unblock": "A",
    "POST /end_user/new": "A", "POST /end_user/update": "A", "POST /end_user/delete": "A",
    "POST /end_user/block": "A", "POST /end_user/unblock": "A", "POST /budget/new": "A", "POST /budget/update": "A",
    "POST /budget/delete": "A", "POST /tag/new": "A", "POST /tag/update": "A", "POST /tag/delete": "A",
    "POST /model/new": "A", "POST /model/update": "A", "POST /model/delete": "A",
    "PATCH /model/{model_id}/update": "A",
    "DELETE /customer/delete": "A", "GET /customer/{customer_id}/export": "A",
    "DELETE /end_user/delete": "A", "GET /end_user/{customer_id}/export": "A",
    "POST /session/logout": "AVIRCK", "POST /guardrails/apply_guardrail": "AVIRCK", "GET /guardrails/list": "AVIRCK",
    "GET /v2/user/info": "AVIRCK", "GET /spend/logs/v2": "AVIRCK", "GET /spend/logs/ui": "AVIRCK",
    "GET /spend/logs/ui/{request_id}": "AVIRCK",
    "POST /spend/calculate": "AVIRCK", "GET /v2/team/list": "AVIRK", "GET /team/available": "AVIRK",
    "GET /key/spend/report": "AVIRK", "GET /team/spend/report": "AVIRK", "GET /user/spend/report": "AVIRK",
    **{
        f"GET /{whose}/daily/activity{kind}": "AVIRK"
        for whose in ("user", "team", "tag", "customer", "organization")
        for kind in ("", "/aggregated", "/export", "/keys", "/search")
    },
    "GET /organization/spend/report": "AVIRK",
    "PATCH /team/{team_id}": "AI", "GET /spend/users": "AV", "GET /spend/tags": "AV", "GET /global/spend": "AV",
    **{
        f"GET /global/spend/{what}": "AV"
        for what in ("logs", "keys", "teams", "models", "provider", "tags", "all_tag_names", "report")
    },
    "POST /global/spend/end_users": "AV",
}  # fmt: skip


@pytest.fixture(scope="module")
async def house(tmp_path_factory) -> AsyncIterator[Gateway]:
    """One application for all tests: two tenants, and a key for each role."""
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('roles')}/extproc.db")
    gateway = Gateway(store)
    async with gateway.caller() as admin:
        for role in filter(None, ROLES.values()):
            await post(admin, "/user/new", user_id=f"r-{role}", user_role=role, auto_create_key=False)
            await post(admin, "/key/generate", user_id=f"r-{role}", key=f"sk-role-{role}-0123456789")
        await post(admin, "/key/generate", key="sk-role--0123456789")
        for tenant in "ab":
            await _tenant(admin, tenant)
    yield gateway
    await store.close()


async def _tenant(admin, tenant: str) -> None:
    """A team with an administrator, a member and a stranger's key; and a customer."""
    for name in ("boss", "user"):
        await post(admin, "/user/new", user_id=f"{name}-{tenant}", user_email=f"{name}@{tenant}.example",
                   user_role="internal_user", auto_create_key=False)  # fmt: skip
    members = [{"user_id": f"boss-{tenant}", "role": "admin"}, {"user_id": f"user-{tenant}", "role": "user"}]
    await post(admin, "/team/new", team_id=f"team-{tenant}", members_with_roles=members)
    for name in ("boss", "user"):
        await post(admin, "/key/generate", key=raw(name, tenant), key_alias=f"{name}-{tenant}",
                   user_id=f"{name}-{tenant}")  # fmt: skip
    await post(admin, "/key/generate", key=raw("own", tenant), key_alias=f"own-{tenant}")
    await post(admin, "/key/generate", key=raw("service", tenant), key_alias=f"service-{tenant}",
               team_id=f"team-{tenant}")  # fmt: skip
    await post(admin, "/key/generate", key=raw("inteam", tenant), key_alias=f"inteam-{tenant}",
               team_id=f"team-{tenant}", user_id=f"user-{tenant}")  # fmt: skip
    await post(admin, "/customer/new", user_id=f"customer-{tenant}")


def raw(name: str, tenant: str) -> str:
    return f"sk-{name}-{tenant}-0123456789"


def routes_of(gateway: Gateway) -> Iterator[tuple[str, bool]]:
    """Every method and path of the application, and whether it asks for a key."""
    routers: list[Any] = [*gateway.app.routes]
    for included in routers:
        for route in included.original_router.routes:
            for method in route.methods:
                yield f"{method} {route.path}", isinstance(route, GovernedRoute)


async def test_every_route_stands_in_the_table_and_every_one_of_the_table_exists(house):
    assert {route.replace("/end_user/", "/customer/") for route, _ in routes_of(house)} == {
        " ".join(route) for route in roles.ROUTES
    }


async def test_every_route_that_needs_a_key_is_in_the_table_of_the_test(house):
    assert {route for route, governed in routes_of(house) if governed} == ALLOWED.keys()


async def test_every_route_that_is_open_to_anyone_is_said_to_be(house):
    for route, governed in routes_of(house):
        assert governed is (roles.who_may(*route.split()) is not roles.Who.ANYONE), route


@pytest.mark.parametrize("letter", ROLES)
@pytest.mark.parametrize("route", ALLOWED)
async def test_a_route_lets_in_the_roles_that_it_is_for_and_no_other(house, route, letter):
    method, path = route.split()
    for name in ("key", "model:path", "model_id", "id", "team_id", "user_id", "customer_id"):
        path = path.replace(f"{{{name}}}", "x")
    async with house.caller(f"sk-role-{ROLES[letter]}-0123456789") as caller:
        body = {"content": b"[", "headers": {"content-type": "application/json"}} if method != "GET" else {}
        response = await caller.request(method, path, **body)

    refused = response.status_code == 401
    assert refused is (letter not in ALLOWED[route]), response.text
    if refused:
        role = ROLES[letter] or "unknown"
        assert error(response, 401, type="auth_error")["message"].endswith(f"Your role={role}.")


KEYS = ("boss", "user", "own", "service", "inteam")
#: What the keys of one tenant ask about, or do to, each thing of the other; `{x}` is the other tenant's letter.
READS: list[tuple[str, dict[str, str]]] = [
    *(("/key/info", {"key": f"sk-{name}-{{x}}-0123456789"}) for name in KEYS),
    ("/key/list", {"user_id": "user-{x}"}),
    ("/team/info", {"team_id": "team-{x}"}),
    ("/team/list", {"user_id": "user-{x}"}),
    ("/user/info", {"user_id": "user-{x}"}),
    ("/v2/team/list", {"user_id": "user-{x}"}),
    ("/v2/user/info", {"user_id": "user-{x}"}),
    ("/customer/info", {"end_user_id": "customer-{x}"}),
    ("/customer/customer-{x}/export", {}),
    ("/user/list", {"user_ids": "user-{x}"}),
    ("/user/user-{x}", {}),
    ("/user/user@{x}.example/export", {}),
    *(("/spend/logs", {"api_key": f"sk-{name}-{{x}}-0123456789"}) for name in KEYS),
]
_THEIRS = [f"sk-{name}-{{x}}-0123456789" for name in KEYS]
WRITES: list[tuple[str, dict[str, Any]]] = [
    ("/key/generate", {"user_id": "user-{x}"}),
    ("/key/generate", {"team_id": "team-{x}"}),
    ("/key/service-account/generate", {"team_id": "team-{x}"}),
    *(("/key/update", {"key": key, "metadata": {"stolen": True}}) for key in _THEIRS),
    *(("/key/update", {"key_alias": f"{name}-{{x}}", "metadata": {"stolen": True}}) for name in KEYS),
    *(("/key/delete", {"keys": [key]}) for key in _THEIRS),
    *(("/key/delete", {"key_aliases": [f"{name}-{{x}}"]}) for name in KEYS),
    *(("/key/block", {"key": key}) for key in _THEIRS),
    *(("/key/unblock", {"key": key}) for key in _THEIRS),
    *(("/key/regenerate", {"key": key}) for key in _THEIRS),
    *((f"/key/{key}/regenerate", {}) for key in _THEIRS),
    *((f"/key/{key}/reset_spend", {"reset_to": 0}) for key in _THEIRS),
    ("/key/bulk_update", {"keys": [{"key": _THEIRS[0], "max_budget": 1}]}),
    ("/v2/key/info", {"keys": _THEIRS}),
    ("/team/update", {"team_id": "team-{x}", "team_alias": "stolen"}),
    ("/team/delete", {"team_ids": ["team-{x}"]}),
    ("/team/block", {"team_id": "team-{x}"}),
    ("/team/member_add", {"team_id": "team-{x}", "member": {"user_id": "boss-{m}", "role": "admin"}}),
    ("/team/member_add", {"team_id": "team-{m}", "member": {"user_id": "user-{x}"}}),
    ("/team/member_add", {"team_id": "team-{m}", "member": {"user_email": "user@{x}.example"}}),
    ("/team/member_update", {"team_id": "team-{x}", "user_id": "user-{x}", "role": "admin"}),
    ("/team/member_delete", {"team_id": "team-{x}", "user_id": "user-{x}"}),
    ("/user/update", {"user_id": "user-{x}", "user_role": "proxy_admin"}),
    ("/user/delete", {"user_ids": ["user-{x}"]}),
    ("/user/block", {"user_id": "user-{x}"}),
    ("/customer/update", {"user_id": "customer-{x}", "max_budget": 1}),
    ("/customer/delete", {"user_ids": ["customer-{x}"]}),
    ("/customer/block", {"user_ids": ["customer-{x}"]}),
]


def told(value: Any, mine: str, other: str) -> Any:
    """The value with the letters of both tenants."""
    if isinstance(value, str):
        return value.replace("{x}", other).replace("{m}", mine)
    if isinstance(value, dict):
        return {name: told(one, mine, other) for name, one in value.items()}
    return [told(one, mine, other) for one in value] if isinstance(value, list) else value


async def _seen_by_admin(admin) -> list[Any]:
    paths = ("/key/list?size=100&return_full_object=true", "/team/list", "/user/list?page_size=100", "/customer/list")
    return [await get(admin, path) for path in paths]


@pytest.mark.parametrize(("mine", "other"), ["ab", "ba"])
async def test_no_key_of_one_tenant_reads_or_changes_anything_of_the_other(house, mine, other):
    attempts = 0
    async with house.caller() as admin:
        before = await _seen_by_admin(admin)
        for name in KEYS:
            async with house.caller(raw(name, mine)) as caller:
                for path, query in READS:
                    response = await caller.get(told(path, mine, other), params=told(query, mine, other))
                    assert response.status_code in {401, 403}, (name, path, query, response.text)
                    assert f"{other}.example" not in response.text
                for path, body in WRITES:
                    response = await caller.post(told(path, mine, other), json=told(body, mine, other))
                    assert response.status_code in {401, 403}, (name, path, body, response.text)
            attempts += len(READS) + len(WRITES)
        assert await _seen_by_admin(admin) == before

    assert attempts == len(KEYS) * (len(READS) + len(WRITES)) == 425


@pytest.mark.parametrize("name", KEYS)
async def test_no_key_of_one_tenant_erases_anybody_of_the_other(house, name):
    async with house.caller() as admin:
        before = await _seen_by_admin(admin)
        async with house.caller(raw(name, "a")) as caller:
            for path, person in (("user", "user-b"), ("customer", "customer-b"), ("end_user", "customer-b")):
                response = await caller.request("DELETE", f"/{path}/delete", json={"user_id": person})
                assert response.status_code in {401, 403}, (path, response.text)
        assert await _seen_by_admin(admin) == before


@pytest.mark.parametrize("name", KEYS)
async def test_a_list_shows_nothing_of_the_other_tenant(house, name):
    async with house.caller(raw(name, "a")) as caller:
        for path in ("/key/list?return_full_object=true", "/key/aliases", "/team/list", "/spend/logs"):
            response = await caller.get(path)

            assert response.status_code == 200
            assert "-b" not in response.text.replace("sk-", ""), path


RAISES = [
    ("/key/update", {"key": raw("user", "a"), "max_budget": 1_000}, 403),
    ("/key/update", {"key": raw("user", "a"), "spend": 0}, 403),
    ("/key/update", {"key": raw("user", "a"), "blocked": False}, 403),
    ("/key/update", {"key": raw("user", "a"), "allowed_ips": None}, 403),
    ("/key/update", {"key": raw("user", "a"), "allowed_routes": []}, 403),
    ("/key/update", {"key": raw("user", "a"), "user_id": "r-proxy_admin"}, 403),
    ("/key/update", {"key": raw("user", "a"), "team_id": "team-a"}, 403),
    ("/key/unblock", {"key": raw("user", "a")}, 403),
    ("/key/generate", {"user_id": "r-proxy_admin"}, 403),
    ("/key/generate", {"user_id": "default_user_id"}, 403),
    ("/key/generate", {"team_id": "team-a"}, 401),
    ("/key/generate", {"permissions": {"any": True}}, 403),
    ("/key/regenerate", {"key": raw("service", "a")}, 401),
    ("/key/delete", {"keys": [raw("user", "a"), raw("boss", "a")]}, 403),
    ("/team/update", {"team_id": "team-a", "team_member_permissions": ["/key/generate"]}, 403),
    ("/team/member_update", {"team_id": "team-a", "user_id": "user-a", "role": "admin"}, 403),
]


@pytest.mark.parametrize(("path", "body", "status"), RAISES)
async def test_a_user_cannot_raise_what_they_have(house, path, body, status):
    async with house.caller(raw("user", "a")) as caller:
        response = await caller.post(path, json=body)

    kind = "team_member_permission_error" if status == 401 else "auth_error"
    error(response, status, type=kind)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/team/update", {"team_id": "team-a", "max_budget": 1_000_000}),
        ("/team/update", {"team_id": "team-a", "models": []}),
        ("/team/update", {"team_id": "team-a", "blocked": False}),
        ("/key/regenerate", {"key": raw("inteam", "a")}),
        ("/key/generate", {"team_id": "team-a", "user_id": "user-a"}),
        ("/key/update", {"key": raw("inteam", "a"), "user_id": "boss-a"}),
    ],
)
async def test_who_administers_a_team_cannot_raise_it_or_speak_for_its_members(house, path, body):
    async with house.caller(raw("boss", "a")) as caller:
        error(await caller.post(path, json=body), 403, type="auth_error")


async def test_a_user_keeps_keys_of_their_own(house):
    async with house.caller(raw("user", "a")) as caller:
        made = await post(caller, "/key/generate", key_alias="mine")
        assert made["user_id"] == "user-a"
        assert (await post(caller, "/key/update", key=made["key"], metadata={"app": "x"}))["metadata"] == {"app": "x"}
        new = await post(caller, "/key/regenerate", key=made["token"])
        assert (await get(caller, "/key/info", key=new["token"]))["info"]["key_alias"] == "mine"
        assert made["token"] in (await get(caller, "/key/list"))["keys"]
        await post(caller, "/key/delete", keys=[made["token"]])
        assert made["token"] not in (await get(caller, "/key/list"))["keys"]


async def test_who_administers_a_team_keeps_its_keys_and_members(house):
    async with house.caller(raw("boss", "b")) as boss:
        made = await post(boss, "/key/service-account/generate", team_id="team-b")
        assert (made["user_id"], made["team_id"]) == (None, "team-b")
        assert (await post(boss, "/key/block", key=made["token"]))["blocked"] is True
        await post(boss, "/team/member_add", team_id="team-b", member={"user_id": "new-b"})
        await post(boss, "/team/member_delete", team_id="team-b", user_id="new-b")
        listed = await get(boss, "/key/list", team_id="team-b")
        await post(boss, "/key/delete", keys=[made["token"]])
        assert {made["token"]} < set(listed["keys"])


async def test_members_do_with_a_teams_keys_what_the_team_permits(house):
    async with house.caller() as admin, house.caller(raw("user", "b")) as member:
        await post(admin, "/team/update", team_id="team-b", team_member_permissions=["/key/generate"])
        made = await post(member, "/key/generate", team_id="team-b")
        refused = await member.post("/key/delete", json={"keys": [made["token"]]})
        error(refused, 401, type="team_member_permission_error")
        await post(admin, "/team/update", team_id="team-b", team_member_permissions=[])
        await post(admin, "/key/delete", keys=[made["token"]])


async def test_a_blocked_users_keys_are_refused_and_admitted_again(house):
    async with house.caller() as admin, house.caller(raw("user", "a")) as user, house.caller(raw("inteam", "a")) as key:
        assert (await post(admin, "/user/block", user_id="user-a"))["blocked"] is True
        for caller in (user, key):
            assert "User=user-a is blocked" in error(await caller.get("/key/info"), 401, type="auth_error")["message"]
        await post(admin, "/user/unblock", user_id="user-a")
        for caller in (user, key):
            assert (await caller.get("/key/info")).status_code == 200
        error(await admin.post("/user/block", json={"user_id": "unknown"}), 404)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("allowed_ips", ["10.0.0.1/8"]), ("allowed_ips", ["nonsense"]), ("allowed_ips", [""]),
        ("allowed_routes", ["chat"]), ("allowed_routes", ["/*/x"]), ("allowed_routes", ["all_routes"]),
    ],
)  # fmt: skip
async def test_a_key_is_not_bound_to_what_cannot_be(house, field, value):
    async with house.caller() as admin:
        error(await admin.post("/key/generate", json={field: value}), 400, param=field)


async def test_a_key_is_used_from_its_addresses_only_whatever_the_client_writes(house):
    made = await house.generate(allowed_ips=["10.0.0.0/8"])
    async with house.caller(made["key"]) as caller:
        for forwarded, status in {"9.9.9.9, 10.1.2.3": 200, "10.1.2.3, 9.9.9.9": 403, "": 403}.items():
            assert (await caller.get("/key/info", headers={"x-forwarded-for": forwarded})).status_code == status


@pytest.mark.parametrize(
    ("key_type", "statuses"),
    [
        ("llm_api", (403, 403, 200)),
        ("management", (200, 200, 200)),
        ("read_only", (200, 403, 200)),
        ("default", (200,) * 3),
    ],
)
async def test_a_key_type_bounds_the_routes(house, key_type, statuses):
    made = await house.generate(user_id="user-a", key_type=key_type)
    async with house.caller(made["key"]) as caller:
        answers = [
            await caller.get("/key/info"),
            await caller.post("/key/generate", json={"key_alias": f"by-{key_type}"}),
            await caller.get("/v1/models"),
        ]

    assert tuple(answer.status_code for answer in answers) == statuses


async def test_what_a_key_bound_to_addresses_makes_is_bound_to_them_too(house):
    made = await house.generate(user_id="user-a", allowed_ips=["10.0.0.1"])
    async with house.caller(made["key"]) as caller:
        response = await caller.post("/key/generate", json={}, headers={"x-forwarded-for": "10.0.0.1"})

    assert response.json()["allowed_ips"] == ["10.0.0.1"]


async def test_a_key_makes_no_key_with_more_models_than_its_own(house):
    made = await house.generate(user_id="user-a", models=["small"])
    async with house.caller(made["key"]) as caller:
        for models in ([], ["gpt-4o"], ["*"]):
            refused = await caller.post("/key/generate", json={"models": models})
            error(refused, 403, type="key_model_access_denied")
        assert (await post(caller, "/key/generate", models=["small"]))["models"] == ["small"]
