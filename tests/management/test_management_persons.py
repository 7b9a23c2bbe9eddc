"""What is kept of a person is handed to them, and removed with a receipt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import trails
from empty_sqlite import opened_sqlite
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
        store = await opened_sqlite(tmp_path, audit_key=AUDIT_KEY)
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


async def served(gateway: Gateway, admin, *, with_account: bool = True) -> str:
    """A customer for whom a user's key was used; the digest of that key."""
    if with_account:
        await post(admin, "/customer/new", user_id="acme-7", alias="Acme & Sons", max_budget=5)
        await post(admin, "/customer/update", user_id="acme-7", max_budget=6)
    made = await gateway.generate(user_id="dave", key_alias="daves-app")
    for number in range(3):
        await gateway.book(made["token"], f"c{number}", user_id="dave", key_alias="daves-app", end_user="acme-7",
                           requester_ip="203.0.113.77", metadata={"who": "acme-7"})  # fmt: skip
    await gateway.book(made["token"], "other", user_id="dave", end_user="acme-70")
    digest: str = made["token"]
    return digest


@pytest.mark.parametrize("with_account", [True, False])
@pytest.mark.parametrize("path", ["/customer/delete", "/end_user/delete"])
async def test_an_erasure_of_a_customer_leaves_nothing_of_them_and_every_sum(gateway, admin, path, with_account):
    digest = await served(gateway, admin, with_account=with_account)
    before = (await get(admin, "/global/spend"))["spend"]
    response = await admin.request("DELETE", path, json={"user_id": "acme-7"})
    receipt = response.json()

    assert response.status_code == 200, response.text
    text = (await dumped(gateway)).replace("acme-70", "")
    assert [trace for trace in ("acme-7", "Acme & Sons", "203.0.113.77") if trace in text] == []
    assert (await get(admin, "/global/spend"))["spend"] == before > 0
    assert (await get(admin, "/key/info", key=digest))["info"]["spend"] == before
    assert (receipt["removed"]["ledger"], receipt["removed"]["end_users"]) == (3, int(with_account))
    assert {"daves-app", "dave", "acme-70"} <= {trace for trace in ("daves-app", "dave", "acme-70")
                                                if trace in await dumped(gateway)}  # fmt: skip
    assert "end_user acme-7" in gateway.forgotten
    assert (is_genuine(receipt, [AUDIT_KEY]), is_about(receipt, "acme-7")) == (True, True)
    assert "acme" not in response.text
    assert await trails.problems(gateway.store, Verifier([AUDIT_KEY])) == []
    error(await admin.request("DELETE", path, json={"user_id": "acme-7"}), 404)


async def test_litellms_form_still_removes_only_the_account_of_a_customer(gateway, admin):
    await served(gateway, admin)

    assert await post(admin, "/customer/delete", user_ids=["acme-7"]) == {
        "deleted_customers": 1, "message": "Successfully deleted customers with ids: acme-7",
    }  # fmt: skip
    assert len((await get(admin, "/customer/acme-7/export"))["spend_logs"]) == 3


@pytest.mark.parametrize("name", ["default_user_id", "dave", "created", CAROL])
async def test_a_customer_who_is_named_as_somebody_else_takes_nothing_of_theirs_along(gateway, admin, name):
    await lived(gateway, admin)
    await served(gateway, admin)
    await gateway.book("d", "sly", user_id="dave", end_user=name)
    told = [entry["hash"] for entry in (await get(admin, "/audit", page_size=100))["audit_logs"]]
    text = await dumped(gateway)

    removed = (await admin.request("DELETE", "/customer/delete", json={"user_id": name})).json()["removed"]

    assert removed == {"audit": 0, "ledger": 1, "daily_spend": 1, "end_users": 0}
    entries = (await get(admin, "/audit", page_size=100))["audit_logs"]
    assert [entry["hash"] for entry in entries[1:]] == told
    assert "erased" not in {entry["changed_by"] for entry in entries} | {entry["object_id"] for entry in entries}
    assert (await get(admin, "/user/info", user_id="carol-77"))["user_info"]["user_email"] == CAROL
    assert text.count("carols-laptop") == (await dumped(gateway)).count("carols-laptop")


async def test_an_erasure_of_a_customer_that_takes_long_answers_whoever_asks_again(gateway, admin):
    await served(gateway, admin)
    gateway.app.state.erasures, turn = persons.Erasures(seconds=0.05), asyncio.Event()
    erase = gateway.store.persons.erase

    async def held(customer, *, deleted_by):
        await turn.wait()
        return await erase(customer, deleted_by=deleted_by)

    gateway.store.persons.erase = held
    response = await admin.request("DELETE", "/customer/delete", json={"user_id": "acme-7"})
    assert error(response, 503)["message"].startswith("The customer is being deleted")
    turn.set()
    gateway.app.state.erasures._seconds = 20

    again = await admin.request("DELETE", "/customer/delete", json={"user_id": "acme-7"})
    assert again.json()["removed"]["ledger"] == 3


@pytest.mark.parametrize("path", ["/customer/acme-7/export", "/end_user/acme-7/export"])
async def test_an_export_of_a_customer_is_all_that_is_kept_of_them(gateway, admin, path):
    await served(gateway, admin)
    told = await get(admin, path)

    assert (told["customer"]["alias"], told["customer"]["max_budget"]) == ("Acme & Sons", 6.0)
    assert [row["event_id"] for row in told["spend_logs"]] == ["c0", "c1", "c2"]
    assert [(day["successful_requests"], day["spend_nanos"]) for day in told["daily_spend"]] == [(3, 375_000)]
    assert [(entry["action"], entry["object_id"]) for entry in told["audit_logs"]] == [
        ("created", "acme-7"), ("updated", "acme-7"),
    ]  # fmt: skip
    assert told.keys() == {"customer", "spend_logs", "daily_spend", "audit_logs"}


async def test_a_customer_without_an_account_is_exported_and_an_unknown_one_is_not(gateway, admin):
    await served(gateway, admin, with_account=False)

    told = await get(admin, "/customer/acme-7/export")
    assert (told["customer"], len(told["spend_logs"]), told["audit_logs"]) == (None, 3, [])
    error(await admin.get("/customer/acme/export"), 404)


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
