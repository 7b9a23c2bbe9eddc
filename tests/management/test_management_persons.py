"""What is kept of a person is handed to them, and removed with a receipt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import trails
from management.asking import error, get, post
from management.conftest import AUDIT_KEY, NOW, Gateway
from running_postgres import fresh_database
from sqlalchemy import select

from extproc.management import persons
from extproc.stores.audit_chain import AuditKey, Verifier
from extproc.stores.deletion_receipts import is_about, is_genuine
from extproc.stores.sql import SqlStore
from extproc.stores.tables import metadata

CAROL = "carol@people.example"


@pytest.fixture(params=["sqlite", "postgresql"])
async def gateway(request, tmp_path) -> AsyncIterator[Gateway]:
    if request.param == "sqlite":
        store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/extproc.db", audit_key=AUDIT_KEY)
        yield Gateway(store)
        await store.close()
        return
    async with fresh_database() as url:
        store = await SqlStore.open(url, audit_key=AUDIT_KEY)
        yield Gateway(store)
        await store.close()


async def lived(gateway: Gateway, admin) -> str:
    """A user who made and used keys; their key."""
    await post(admin, "/user/new", user_id="carol-77", user_email=CAROL, user_role="internal_user",
               auto_create_key=False)  # fmt: skip
    await post(admin, "/team/new", team_id="t", members_with_roles=[{"user_id": "carol-77", "role": "user"}])
    made = await gateway.generate(user_id="carol-77", key_alias="carols-laptop")
    async with gateway.caller(made["key"]) as carol:
        await post(carol, "/key/update", key=made["key"], metadata={"note": "at home"})
    for number in range(3):
        await gateway.book(made["token"], f"e{number}", user_id="carol-77", key_alias="carols-laptop",
                           requester_ip="203.0.113.77")  # fmt: skip
    raw: str = made["key"]
    return raw


async def dumped(gateway: Gateway) -> str:
    async with gateway.store.database.reading() as connection:
        return repr([(await connection.execute(select(table))).all() for table in metadata.sorted_tables])


async def test_a_deletion_by_address_removes_the_person_and_answers_with_a_receipt(gateway, admin):
    raw = await lived(gateway, admin)
    before = (await get(admin, "/global/spend"))["spend"]
    response = await admin.request("DELETE", "/user/delete", json={"user_id": CAROL})
    receipt = response.json()

    assert response.status_code == 200, response.text
    text = await dumped(gateway)
    assert [trace for trace in ("carol-77", CAROL, "carols-laptop", "203.0.113.77") if trace in text] == []
    assert (await get(admin, "/global/spend"))["spend"] == before > 0
    assert (receipt["removed"]["ledger"], receipt["removed"]["users"], receipt["removed"]["keys"]) == (3, 1, 1)
    assert "carol" not in response.text
    async with gateway.caller(raw) as carol:
        assert (await carol.get("/key/info")).status_code == 401
    assert {"user carol-77", f"end_user {CAROL}"} <= {*gateway.forgotten}
    error(await admin.request("DELETE", "/user/delete", json={"user_id": CAROL}), 404)


async def test_the_receipt_is_the_gateways_and_about_this_person(gateway, admin):
    await lived(gateway, admin)
    receipt = (await admin.request("DELETE", "/user/delete", json={"user_id": "carol-77"})).json()

    assert is_genuine(receipt, [AUDIT_KEY])
    assert is_about(receipt, "carol-77")
    assert not is_about(receipt, "dave")
    assert not is_genuine(receipt, [AuditKey("another key of somebody else")])
    assert not is_genuine({**receipt, "deleted_by": "somebody else"}, [AUDIT_KEY])
    assert not is_genuine({**receipt, "removed": {**receipt["removed"], "ledger": 0}}, [AUDIT_KEY])


async def test_the_trail_is_sound_after_a_deletion(gateway, admin):
    await lived(gateway, admin)
    await post(admin, "/user/delete", user_ids=["carol-77"])

    assert await trails.problems(gateway.store, Verifier([AUDIT_KEY])) == []


async def test_litellms_form_deletes_all_or_none(gateway, admin):
    await lived(gateway, admin)
    error(await admin.post("/user/delete", json={"user_ids": ["carol-77", "unknown"]}), 404)
    assert (await get(admin, "/user/info", user_id="carol-77"))["user_id"] == "carol-77"

    assert await post(admin, "/user/delete", user_ids=["carol-77", CAROL]) == 1


async def test_a_deletion_that_takes_long_goes_on_and_answers_whoever_asks_again(gateway, admin):
    raw, turn = await lived(gateway, admin), asyncio.Event()
    gateway.app.state.erasures = persons.Erasures(seconds=0.05)
    erase = gateway.store.persons.erase

    async def held(user, *, deleted_by):
        await turn.wait()
        return await erase(user, deleted_by=deleted_by)

    gateway.store.persons.erase = held
    response = await admin.request("DELETE", "/user/delete", json={"user_id": CAROL})
    assert error(response, 503)["message"].startswith("The user is being deleted")
    assert response.headers["retry-after"] == "5"
    async with gateway.caller(raw) as carol:
        assert (await carol.get("/key/info")).status_code == 401
    turn.set()
    gateway.app.state.erasures._seconds = 20

    again = await admin.request("DELETE", "/user/delete", json={"user_id": CAROL})
    assert again.json()["removed"]["users"] == 1


@pytest.mark.parametrize("path", ["/user/carol-77", f"/user/{CAROL}", "/user/carol-77/export"])
async def test_an_export_is_all_that_is_kept_without_a_secret(gateway, admin, path):
    raw = await lived(gateway, admin)
    async with gateway.caller(raw) as carol:
        response = await carol.get(path)
    told = json.loads(response.text)

    assert told == (await admin.get(path)).json()
    assert told["user"]["user_email"] == CAROL
    assert [member["team_id"] for member in told["memberships"]] == ["t"]
    assert [key["key_alias"] for key in told["keys"]] == ["carols-laptop"]
    assert [row["event_id"] for row in told["spend_logs"]] == ["e0", "e1", "e2"]
    assert [(day["successful_requests"], day["spend_nanos"]) for day in told["daily_spend"]] == [(3, 375_000)]
    assert "carol-77" in {entry["changed_by"] for entry in told["audit_logs"]}
    assert raw not in response.text


async def test_an_export_is_for_the_person_and_the_administrator_only(gateway, admin):
    await lived(gateway, admin)
    other = await gateway.generate(user_id="dave")
    async with gateway.caller(other["key"]) as dave:
        for name in ("carol-77", CAROL, "unknown"):
            error(await dave.get(f"/user/{name}"), 403)
    error(await admin.get("/user/unknown"), 404)


async def test_a_large_export_comes_in_pieces(gateway, admin, monkeypatch):
    raw = await lived(gateway, admin)
    monkeypatch.setattr(persons, "_PAGE", 1)
    for number in range(3):
        await gateway.generate(user_id="carol-77")
        await gateway.book("d", f"later-{number}", user_id="carol-77", started_at=NOW + (number + 1) * 86_400_000)
    async with gateway.caller(raw) as carol:
        told = await get(carol, "/user/carol-77")

    assert len(told["keys"]) == len(told["daily_spend"]) == 4
    assert len(told["spend_logs"]) == 6
