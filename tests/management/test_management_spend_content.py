"""What was said in an exchange: who gets to see it, and that they do is written down."""

from __future__ import annotations

import json

import pytest
from management.asking import error, get

from extproc import contents
from extproc.encryption import Keyring
from extproc.errors import StoreUnavailable
from extproc.stores.contents import SealedContent

RING = Keyring(["an-encryption-key-of-ours"])
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
RESPONSE = {"choices": [{"message": {"content": "hi"}}]}
SHOWN = {"messages": REQUEST["messages"], "response": RESPONSE, "proxy_server_request": REQUEST}
NOTHING: dict[str, object] = {"messages": {}, "response": {}, "proxy_server_request": {}}


async def keep(
    gateway, event_id: str, user_id: str | None = None, request: object = REQUEST, end_user: str | None = None
) -> None:
    said = json.dumps({"request": request, "response": RESPONSE})
    sealed = RING.seal(said, contents.place(event_id))
    await gateway.store.contents.keep([SealedContent(event_id, 1, sealed, user_id, end_user)])


@pytest.fixture
async def owned(gateway):
    """An exchange of a key, of which it was kept what was said; the key."""
    gateway.with_parts(contents=gateway.store.contents, keyring=lambda: RING)
    made = await gateway.generate(user_id="ada")
    await gateway.book(made["token"], "e1", user_id="ada")
    await keep(gateway, "e1", "ada")
    return made["key"]


async def readings(admin) -> list[tuple[str, str]]:
    found = await get(admin, "/audit", action="read")
    return [(entry["changed_by"], entry["object_id"]) for entry in found["audit_logs"]]


@pytest.mark.parametrize("name", ["e1", "chatcmpl-1", "call-e1"])
async def test_it_is_shown_by_any_id_of_the_exchange_and_the_trail_has_who_read_it(owned, admin, name):
    assert await readings(admin) == []

    assert await get(admin, f"/spend/logs/ui/{name}") == SHOWN
    assert [object_id for _, object_id in await readings(admin)] == ["e1"]


async def test_the_row_of_one_exchange_has_it_and_rows_of_many_do_not(gateway, owned, admin):
    [one] = await get(admin, "/spend/logs", request_id="e1")
    [listed] = await get(admin, "/spend/logs")
    paged = await get(admin, "/spend/logs/v2", start_date="2026-11-01", end_date="2026-12-01")

    assert {name: one[name] for name in SHOWN} == SHOWN
    for row in (listed, paged["data"][0]):
        assert {name: row[name] for name in SHOWN} == NOTHING
    assert len(await readings(admin)) == 1


async def test_a_key_reads_its_own_exchange_and_no_other(gateway, owned, admin):
    stranger = await gateway.generate(user_id="eve")
    async with gateway.caller(owned) as ada, gateway.caller(stranger["key"]) as eve:
        assert await get(ada, "/spend/logs/ui/e1") == SHOWN
        error(await eve.get("/spend/logs/ui/e1"), 404)
        assert await get(eve, "/spend/logs", request_id="e1") == []

    assert await readings(admin) == [("ada", "e1")]


async def test_nothing_is_noted_where_nothing_was_kept(gateway, owned, admin):
    await gateway.book("d", "e2", provider_response_id="other")

    assert await get(admin, "/spend/logs/ui/e2") == NOTHING
    error(await admin.get("/spend/logs/ui/unknown"), 404)
    assert await readings(admin) == []


async def test_nothing_is_shown_that_could_not_be_noted(gateway, owned, admin):
    async def down(table, name):
        raise StoreUnavailable("sql", "gone")

    gateway.store.trail.note_reading = down

    error(await admin.get("/spend/logs/ui/e1"), 503)


@pytest.mark.parametrize(
    ("request_", "messages"),
    [
        ({"input": ["a"]}, ["a"]),
        ({"prompt": "p"}, "p"),
        ({"left_out": "text_too_long"}, {}),
        ([], {}),
    ],
)
async def test_a_prompt_of_any_api_stands_in_the_place_of_messages(gateway, owned, admin, request_, messages):
    await gateway.book("d", "e2", provider_response_id="other")
    await keep(gateway, "e2", request=request_)

    found = await get(admin, "/spend/logs/ui/e2")

    assert (found["messages"], found["proxy_server_request"]) == (messages, request_)


async def test_an_export_of_a_person_has_what_was_said_and_that_is_noted_once(gateway, owned, admin):
    await gateway.book("d", "e2", user_id="ada")
    await admin.post("/user/new", json={"user_id": "ada", "auto_create_key": False})

    told = await get(admin, "/user/ada/export")

    assert [row["messages"] for row in told["spend_logs"]] == [REQUEST["messages"], {}]
    assert [object_id for _, object_id in await readings(admin)] == ["ada"]


async def test_an_export_holds_what_was_said_in_a_few_exchanges_at_a_time(gateway, owned, admin, monkeypatch):
    asked: list[int] = []
    sealed_of = gateway.store.contents.sealed_of

    async def counted(event_ids):
        asked.append(len(event_ids))
        return await sealed_of(event_ids)

    await admin.post("/user/new", json={"user_id": "ada", "auto_create_key": False})
    for number in range(2, 27):
        await gateway.book(f"token-{number}", f"e{number}", user_id="ada")
        await keep(gateway, f"e{number}", "ada")
    monkeypatch.setattr(gateway.store.contents, "sealed_of", counted)

    exported = await get(admin, "/user/ada/export")

    assert asked == [10, 10, 6]
    assert len(exported["spend_logs"]) == 26
    assert all(row["messages"] for row in exported["spend_logs"])


async def test_a_deletion_leaves_nothing_of_what_was_said(gateway, owned, admin):
    await admin.post("/user/new", json={"user_id": "ada", "auto_create_key": False})
    await admin.request("DELETE", "/user/delete", json={"user_id": "ada"})

    assert await get(admin, "/spend/logs/ui/e1") == NOTHING


async def test_of_a_customer_it_is_exported_and_erased_and_so_is_that_it_was_read(gateway, owned, admin):
    await gateway.book("d", "e2", provider_response_id="other", end_user="ada")
    await keep(gateway, "e2", end_user="ada")

    told = await get(admin, "/customer/ada/export")
    before = await readings(admin)
    await admin.request("DELETE", "/customer/delete", json={"user_id": "ada"})

    assert [row["messages"] for row in told["spend_logs"]] == [REQUEST["messages"]]
    assert [object_id for _, object_id in before] == ["end_user:ada"]
    assert [object_id for _, object_id in await readings(admin)] == ["erased"]
    assert await get(admin, "/spend/logs/ui/e2") == NOTHING
    assert await get(admin, "/spend/logs/ui/e1") == SHOWN
