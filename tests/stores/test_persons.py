"""What is kept of a person is found, and erased, and what was used stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import trails
from sqlalchemy import func, select, update
from stores.conftest import EMPTY
from stores.samples import NOW, receipt

from extproc.errors import StoreUnavailable
from extproc.model import Budget, EndUser, Key, Membership, Team, User
from extproc.stores import sql_persons
from extproc.stores.audit_chain import Actor, AuditKey, Verifier, act_as
from extproc.stores.contract import AuditFilter, KeyFilter
from extproc.stores.spending import SumFilter
from extproc.stores.sql import SqlStore
from extproc.stores.tables import ledger, metadata, teams
from extproc.stores.tables_audit import audit

KEY = AuditKey("an audit key of the tests")
CAROL = User(
    id="carol-77", email="carol@people.example", alias="Caroline C", sso_user_id="https://idp|carols-sub",
    created_at=NOW, updated_at=NOW,
)  # fmt: skip
BY_CAROL = Actor("carol-77", "d-carol", "203.0.113.77")
TRACES = (
    "carol-77",
    "carol@people.example",
    "Caroline C",
    "carols-laptop",
    "203.0.113.77",
    "carols-agent",
    "carols-sub",
)


@pytest.fixture(params=EMPTY)
async def store(request, tmp_path) -> AsyncIterator[SqlStore]:
    async with EMPTY[request.param](tmp_path) as location:
        opened = await SqlStore.open(location, audit_key=KEY)
        yield opened
        await opened.close()


async def test_a_person_is_known_by_what_single_sign_on_calls_them_and_by_the_address_whatever_its_case(store):
    await store.users.create(CAROL)
    await store.users.create(User(id="dave", email="Dave@People.example", created_at=NOW, updated_at=NOW))
    known = store.persons.known_as

    assert await known(["x", "https://idp|carols-sub"], "dave@people.example") == (
        (CAROL,),
        (await store.users.find("dave"),),
    )
    assert await known(["https://idp|carols-su_"], "%@people.example") == ((), ())
    assert await known([], "CAROL@people.example") == ((), (CAROL,))


async def test_what_one_user_has_keeps_nobody_from_being_found(store):
    """PostgreSQL cannot make a text of a zero, and would say so to whoever is looked for."""
    await store.users.create(CAROL)
    odd = User(
        id="odd", email="odd@people.example", created_at=NOW, updated_at=NOW,
        fields={"aliases": {"zero\0": "\0"}}, sso_user_id="odd-sub",
    )  # fmt: skip
    await store.users.create(odd)

    assert await store.persons.known_as(["https://idp|carols-sub"], "x") == ((CAROL,), ())


async def dumped(store: SqlStore) -> str:
    """Every row of every table."""
    async with store.database.reading() as connection:
        rows = [(await connection.execute(select(table))).mappings().all() for table in metadata.sorted_tables]
    return repr(rows)


async def sums(store: SqlStore) -> list[object]:
    """By team, by key, and by model, as reports tell them; and as the ledger has them."""
    told: list[object] = [
        await store.sums([by], SumFilter(), limit=100) for by in ("team_id", "key_digest", "model_group", "tag", "day")
    ]
    columns = (ledger.c.team_id, ledger.c.key_digest, ledger.c.model_group)
    statement = select(*columns, func.count(), func.sum(ledger.c.spend)).group_by(*columns).order_by(*columns)
    async with store.database.reading() as connection:
        return [*told, (await connection.execute(statement)).all(), (await connection.execute(select(teams))).all()]


async def lived(store: SqlStore, receipts: int = 5) -> None:
    """A person with a team, keys and receipts; and another beside them, who does the same."""
    await store.teams.create(Team(id="t", created_at=NOW, updated_at=NOW))
    for user in (CAROL, User(id="dave", email="dave@people.example", created_at=NOW, updated_at=NOW)):
        await store.users.create(user)
        await store.members.add([Membership(user_id=user.id, team_id="t", created_at=NOW)])
    for name, user_id in (("d-carol", "carol-77"), ("d-dave", "dave"), ("d-gone", "carol-77")):
        alias = "carols-laptop" if name == "d-carol" else name
        await store.create(
            Key(digest=name, name="sk-...", alias=alias, user_id=user_id, created_by="carol-77",
                created_at=NOW, updated_at=NOW)
        )  # fmt: skip
    act_as(BY_CAROL)
    await store.budgets.create(Budget(id="b", created_by="carol-77", created_at=NOW, updated_at=NOW))
    await store.update("d-carol", {"metadata": {"note": "for Caroline C, at home"}, "updated_by": "carol-77"})
    await store.delete(["d-gone"], deleted_by="carol-77", now=NOW)
    act_as(Actor("admin", "", "198.51.100.1"))
    await store.end_users.create(EndUser(id="carol@people.example", created_at=NOW, updated_at=NOW))
    personal = {"requester_ip": "203.0.113.77", "user_agent": "carols-agent", "metadata": {"who": "carol-77"}}
    shared = {"team_id": "t", "tags": ("batch",), "spend": 125_000, "started_at": NOW, "ended_at": NOW + 1}
    booked = [
        receipt(event_id=f"own-{number}", key_digest="d-carol", key_alias="carols-laptop", user_id="carol-77",
                **shared, **personal)
        for number in range(receipts)
    ]  # fmt: skip
    booked += [receipt(event_id="other", key_digest="d-dave", user_id="dave", requester_ip="192.0.2.1", **shared)]
    booked += [
        receipt(event_id="served", key_digest="d-dave", user_id="dave", end_user="carol@people.example",
                **shared, **personal)
    ]  # fmt: skip
    await store.record(booked, now=NOW)


async def test_of_an_erased_person_nothing_stands_anywhere_and_every_sum_stays(store):
    await lived(store)
    before, text = await sums(store), await dumped(store)
    assert [trace for trace in TRACES if trace not in text] == []

    done = await store.persons.erase(CAROL, deleted_by="admin")

    text = await dumped(store)
    assert [trace for trace in TRACES if trace in text] == []
    assert await sums(store) == before
    assert done.removed["ledger"] == 6
    assert (done.removed["keys"], done.removed["deleted_keys"], done.removed["memberships"]) == (1, 1, 1)
    assert (done.removed["users"], done.removed["end_users"]) == (1, 1)
    [mine] = await store.sums(["user_id"], SumFilter(among={"user_id": (done.tombstone,)}), limit=5)
    assert (mine.successful_requests, mine.spend) == (5, 625_000)


async def test_who_stands_beside_an_erased_person_is_left_as_they_were(store):
    await lived(store)
    await store.persons.erase(CAROL, deleted_by="admin")

    assert await store.users.find("dave") is not None
    page = await store.list(KeyFilter(user_id="dave"), page=1, size=5, sort_by="created_at", descending=True)
    assert [key.alias for key in page.keys] == ["d-dave"]
    assert [member.user_id for member in await store.members.of_teams(["t"])] == ["dave"]
    text = await dumped(store)
    assert [kept for kept in ("dave@people.example", "192.0.2.1", "198.51.100.1") if kept not in text] == []


async def test_the_trail_still_holds_and_tells_what_was_erased(store):
    await lived(store)
    done = await store.persons.erase(CAROL, deleted_by="admin")
    entries = [entry async for batch in store.trail.batches(AuditFilter()) for entry in batch]

    assert await trails.problems(store, Verifier([KEY])) == []
    assert entries[1].erased_columns == ("after", "object_id")
    assert (entries[1].action, entries[1].object_id, entries[1].changed_by) == ("created", "erased", "extproc")
    [deleted] = [entry for entry in entries if entry.object_id == done.tombstone and entry.action == "deleted"]
    assert deleted.changed_by == "admin"


async def test_an_erasure_that_nobody_told_of_is_found(store):
    """With the database in hand anybody can erase as the program does, but not make the entry that tells of it."""
    await lived(store)
    entry = [entry async for batch in store.trail.batches(AuditFilter()) for entry in batch][3]
    forged = entry.without(["after"])
    async with store.database.writing() as connection:
        values = {"after": forged.after, "cover": forged.cover}
        await connection.execute(update(audit).where(audit.c.seq == 4).values(values))

    assert await trails.problems(store, Verifier([KEY])) == ["after of entry 4 erased, and no later entry tells of it"]


async def test_something_else_in_the_place_of_what_was_erased_is_found(store):
    await lived(store)
    await store.persons.erase(CAROL, deleted_by="admin")
    async with store.database.writing() as connection:
        await connection.execute(update(audit).where(audit.c.seq == 2).values(object_id="somebody else"))

    assert "entry 2 was edited" in await trails.problems(store, Verifier([KEY]))


async def test_an_erasure_that_was_stopped_goes_on_when_it_is_asked_for_again(store, monkeypatch):
    await lived(store, receipts=9)
    before = await sums(store)
    monkeypatch.setattr(sql_persons, "MOST", 2)
    erasing, changing, turns = store.persons.erase(CAROL, deleted_by="admin"), store.trail.changing, iter(range(8))

    def broken():
        if next(turns, None) is None:
            raise StoreUnavailable("database", "gone")
        return changing()

    monkeypatch.setattr(store.trail, "changing", broken)
    with pytest.raises(StoreUnavailable):
        await erasing
    monkeypatch.undo()
    assert await store.persons.find("carol@people.example") is not None
    await store.persons.erase(CAROL, deleted_by="admin")

    text = await dumped(store)
    assert [trace for trace in TRACES if trace in text] == []
    assert await sums(store) == before
    assert await trails.problems(store, Verifier([KEY])) == []


async def test_two_who_are_erased_at_once_leave_a_sound_trail(store):
    await lived(store)
    dave = await store.users.find("dave")
    assert dave is not None
    await asyncio.gather(*(store.persons.erase(each, deleted_by="admin") for each in (CAROL, dave)))

    text = await dumped(store)
    assert [trace for trace in (*TRACES, "dave@people.example") if trace in text] == []
    assert await trails.problems(store, Verifier([KEY])) == []


async def test_a_customer_with_an_account_of_its_own_is_not_the_user_of_the_same_id(store):
    await store.users.create(User(id="7", created_at=NOW, updated_at=NOW))
    await store.end_users.create(EndUser(id="7", created_at=NOW, updated_at=NOW))
    await store.record([receipt(event_id="e", end_user="7")], now=NOW)
    found = await store.users.find("7")
    assert found is not None
    done = await store.persons.erase(found, deleted_by="admin")

    assert done.removed["ledger"] == 0
    assert await store.end_users.find("7") is not None


async def test_what_is_told_to_a_person_is_all_of_their_receipts_and_entries(store, monkeypatch):
    monkeypatch.setattr(sql_persons, "_PAGE", 2)
    await lived(store)
    receipts = [row.receipt.event_id async for rows in store.persons.receipts(CAROL) for row in rows]
    entries = [entry async for found in store.persons.entries(CAROL) for entry in found]

    assert receipts == [*(f"own-{number}" for number in range(5)), "served"]
    assert {entry.seq for entry in entries if entry.changed_by == "carol-77"} == {9, 10, 11}
    assert not [entry for entry in entries if entry.object_id in {"t", "dave", "dave:t"}]


async def test_a_person_is_found_by_id_and_by_address(store):
    await store.users.create(CAROL)

    assert await store.persons.find("carol-77") == CAROL
    assert await store.persons.find("carol@people.example") == CAROL
    assert await store.persons.find("carol") is None
