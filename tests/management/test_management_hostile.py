"""A tenant asks every route that shows something for what belongs to another, by every parameter that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from management.asking import post
from management.conftest import MASTER, Gateway

from extproc.policy import credentials

THEIRS = "sk-user-b-0123456789"
DIGEST = credentials.digest(THEIRS)
#: What the other tenant's things are called; none of it may be read in an answer, unless the question said it.
MARKS = ("secret-b", "b.example", "user-b", "team-b", DIGEST)
ASKED: dict[str, list[str]] = {
    "user_id": ["user-b"], "user_ids": ["user-b"], "team_id": ["team-b"], "team_ids": ["team-b"],
    "api_key": [THEIRS, DIGEST], "key": [THEIRS, DIGEST], "key_hash": [DIGEST], "key_alias": ["key-secret-b"],
    "end_user_id": ["customer-secret-b"], "end_user_ids": ["customer-secret-b"], "end_user": ["customer-secret-b"],
    "tag": ["tag-secret-b"], "tags": ["tag-secret-b"], "search": ["secret-b", "b.example"],
    "user_email": ["user@b.example"], "request_id": ["call-secret-b"], "exclude_team_ids": ["team-a"],
    "include_team_keys": ["true"], "include_created_by_keys": ["true"], "return_full_object": ["true"],
}  # fmt: skip
DAYS = {"start_date": "2026-11-01", "end_date": "2026-11-30"}


async def _tenants(gateway: Gateway) -> dict[str, str]:
    """Two tenants with all there is, and spend; the keys of the first, and of nobody."""
    async with gateway.caller() as admin:
        for tenant in "ab":
            for name in ("boss", "user"):
                await post(admin, "/user/new", user_id=f"{name}-{tenant}", user_email=f"{name}@{tenant}.example",
                           user_role="internal_user", auto_create_key=False)  # fmt: skip
            members = [{"user_id": f"boss-{tenant}", "role": "admin"}, {"user_id": f"user-{tenant}", "role": "user"}]
            await post(admin, "/team/new", team_id=f"team-{tenant}", team_alias=f"team-secret-{tenant}",
                       members_with_roles=members)  # fmt: skip
            await post(admin, "/key/generate", key=f"sk-boss-{tenant}-0123456789", user_id=f"boss-{tenant}")
            await post(admin, "/key/generate", key=f"sk-user-{tenant}-0123456789", key_alias=f"key-secret-{tenant}",
                       user_id=f"user-{tenant}", team_id=f"team-{tenant}")  # fmt: skip
            await post(admin, "/customer/new", user_id=f"customer-secret-{tenant}")
            await post(admin, "/tag/new", name=f"tag-secret-{tenant}")
            await gateway.book(
                credentials.digest(f"sk-user-{tenant}-0123456789"), f"event-{tenant}", call_id=f"call-secret-{tenant}",
                user_id=f"user-{tenant}", team_id=f"team-{tenant}", end_user=f"customer-secret-{tenant}",
                tags=(f"tag-secret-{tenant}",), key_alias=f"key-secret-{tenant}",
            )  # fmt: skip
        await post(admin, "/key/generate", key="sk-nobody-0123456789")
    return {name: f"sk-{name}-0123456789" for name in ("boss-a", "nobody")}


def questions(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every path that is read, with nothing, with each parameter, and with all of them."""
    for path, operations in described["paths"].items():
        names = [each["name"] for each in operations.get("get", {}).get("parameters", ()) if each["in"] == "query"]
        days = DAYS if "start_date" in names else {}
        if "get" in operations:
            yield path, days
            known = {name: ASKED[name] for name in names if name in ASKED}
            yield from ((path, days | {name: value}) for name, values in known.items() for value in values)
            yield path, days | {name: values[0] for name, values in known.items()}


def told(text: str, question: dict[str, str]) -> list[str]:
    """The marks in an answer, but for an echo of what was asked."""
    for value in question.values():
        text = text.replace(value, "")
    return [mark for mark in MARKS if mark in text]


async def test_no_route_shows_anything_of_another_tenant(gateway):
    keys = await _tenants(gateway)
    described = gateway.app.openapi()
    leaks, answered = [], 0
    named = {
        "model": "small",
        "name": "google",
        "id": "1",
        "user_id": "user-b",
        "request_id": "event-b",
        "customer_id": "customer-secret-b",
    }
    for name, key in keys.items():
        async with gateway.caller(key) as caller:
            for path, question in questions(described):
                response = await caller.get(path.format(**named), params=question)
                answered += response.status_code == 200
                if response.status_code >= 500 or told(response.text, question):
                    leaks.append((name, path, question, response.text[:200]))

    assert leaks == []
    assert answered > 200


async def test_the_same_questions_show_it_to_the_administrator(gateway):
    """Or the test above could not fail."""
    await _tenants(gateway)
    async with gateway.caller() as admin:
        for path in ("/spend/logs", "/user/daily/activity/export", "/team/list", "/key/aliases"):
            response = await admin.get(path, params=DAYS if "daily" in path else {})
            assert told(response.text, {}), path


async def test_neither_the_digest_of_the_master_key_nor_its_place_elsewhere_lets_anybody_in(gateway):
    paths = [path for path in gateway.app.openapi()["paths"] if not path.startswith(("/health/", "/sso/"))]
    async with gateway.caller(None) as nobody:
        for header in ("authorization", "api-key", "x-api-key", "cookie"):
            value = f"token={MASTER}" if header == "cookie" else credentials.digest(MASTER)
            for path in paths:
                response = await nobody.get(path, params={"key": MASTER}, headers={header: value})
                assert response.status_code in {401, 405}, (path, response.text)
