"""The audit trail: in the transaction of each change, in one chain, and what is found where somebody has been at it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trails
from sqlalchemy import delete, func, select, update
from stores.conftest import EMPTY
from stores.samples import NOW

from extproc import stores
from extproc.errors import AlreadyExists
from extproc.model import Budget, Key, Membership, StoredModel, Team, User
from extproc.stores.audit_chain import Actor, AuditKey, Entry, Head, Verifier, act_as
from extproc.stores.contract import AuditFilter
from extproc.stores.sql import SqlStore
from extproc.stores.tables_audit import audit, audit_head, deleted_teams

KEY = AuditKey("an audit key of the tests")


@pytest.fixture(params=EMPTY)
async def url(request, tmp_path) -> AsyncIterator[str]:
    async with EMPTY[request.param](tmp_path) as location:
        yield location


@pytest.fixture
async def audited(url) -> AsyncIterator[SqlStore]:
    opened = await SqlStore.open(url, audit_key=KEY)
    yield opened
    await opened.close()


def budget(name: str) -> Budget:
    return Budget(id=name, max_budget=5_000_000_000, created_at=NOW, updated_at=NOW)


async def entries(store: SqlStore) -> list[Entry]:
    return [entry async for batch in store.trail.batches(AuditFilter()) for entry in batch]


async def problems(store: SqlStore, *keys: AuditKey, expected: Head | None = None) -> list[str]:
    return await trails.problems(store, Verifier(keys or (KEY,), expected))


async def seven(store: SqlStore) -> list[Entry]:
    for number in range(7):
        await store.budgets.create(budget(f"b{number}"))
    return await entries(store)


async def tamper(store: SqlStore, *statements) -> None:
    async with store.database.writing() as connection:
        for statement in statements:
            await connection.execute(statement)


async def test_two_stores_that_write_at_once_make_one_chain_without_gaps(url):
    async with contextlib.AsyncExitStack() as stack:
        opened = [await SqlStore.open(url, audit_key=KEY) for _ in range(2)]
        for store in opened:
            stack.push_async_callback(store.close)
        await asyncio.gather(*(opened[number % 2].budgets.create(budget(f"b{number}")) for number in range(200)))
        found = await entries(opened[0])

        assert [entry.seq for entry in found] == [*range(1, 201)]
        assert {entry.object_id for entry in found} == {f"b{number}" for number in range(200)}
        assert await problems(opened[0]) == []
        assert await opened[1].trail.head() == found[-1].head


async def test_a_change_that_fails_leaves_no_entry(audited):
    await audited.teams.create(Team(id="t", created_at=NOW, updated_at=NOW))
    with pytest.raises(AlreadyExists):
        await audited.teams.create(Team(id="t", created_at=NOW, updated_at=NOW))
    await audited.teams.update("unknown", {"blocked": True})
    await audited.teams.delete(["t", "unknown"], deleted_by="x", now=NOW)

    assert [entry.action for entry in await entries(audited)] == ["created"]


async def test_a_change_whose_entry_cannot_be_written_is_not_made(audited):
    await tamper(audited, delete(audit_head))
    with pytest.raises(Exception, match="database"):
        await audited.budgets.create(budget("b"))

    assert await audited.budgets.find("b") is None


async def test_an_entry_says_who_changed_what_from_what_to_what(audited):
    act_as(Actor("alice", "digest-of-alice", "203.0.113.7"))
    await audited.teams.create(Team(id="t", alias="red", max_budget=1_500_000_000, created_at=NOW, updated_at=NOW))
    await audited.teams.update("t", {"max_budget": 2_000_000_001, "fields": {"guardrails": ["g"]}, "updated_at": NOW})
    await audited.teams.update("t", {"blocked": True, "updated_at": NOW})
    await audited.teams.update("t", {"blocked": False, "updated_at": NOW})
    made, changed, blocked, unblocked = await entries(audited)

    assert (made.changed_by, made.changed_by_key, made.ip) == ("alice", "digest-of-alice", "203.0.113.7")
    assert (made.action, made.table_name, made.object_id, made.before) == ("created", "LiteLLM_TeamTable", "t", None)
    assert '"max_budget":1.5' in str(made.after)
    assert '"team_alias":"red"' in str(made.after)
    assert changed.before == '{"guardrails":null,"max_budget":1.5}'
    assert changed.after == '{"guardrails":["g"],"max_budget":2.000000001}'
    assert (blocked.action, unblocked.action) == ("blocked", "unblocked")
    assert (blocked.before, blocked.after) == ('{"blocked":false}', '{"blocked":true}')


async def test_who_is_deleted_with_a_team_is_told_too_and_the_team_is_kept_aside(audited):
    await audited.teams.create(Team(id="t", alias="red", created_at=NOW, updated_at=NOW))
    await audited.users.create(User(id="u", created_at=NOW, updated_at=NOW))
    await audited.members.add([Membership(user_id="u", team_id="t", created_at=NOW)])
    await audited.create(Key(digest="d", name="sk-...1234", team_id="t", created_at=NOW, updated_at=NOW))
    await audited.teams.delete(["t"], deleted_by="alice", now=NOW + 1)

    told = [(entry.table_name, entry.object_id) for entry in await entries(audited) if entry.action == "deleted"]
    assert sorted(told) == [
        ("LiteLLM_TeamMembership", "u:t"),
        ("LiteLLM_TeamTable", "t"),
        ("LiteLLM_VerificationToken", "d"),
    ]
    async with audited.database.reading() as connection:
        [copy] = (await connection.execute(select(deleted_teams))).mappings().all()
    assert (copy["id"], copy["alias"], copy["deleted_by"], copy["deleted_at"]) == ("t", "red", "alice", NOW + 1)


async def test_no_raw_key_no_secret_and_no_digest_stands_in_the_values(audited):
    raw, digest = "sk-very-secret-0123456789", "d" * 64
    metadata = {"note": f"was {raw}", "api_key": "abc", "deep": [{"password": "hunter2"}], "max_tokens": 5}
    await audited.create(Key(digest=digest, name="sk-...6789", metadata=metadata, created_at=NOW, updated_at=NOW))
    await audited.regenerate(digest, "e" * 64, {"name": "sk-...9999"}, revoke_at=NOW, now=NOW)
    await audited.models.create(StoredModel(id="m", model_name="m", credential="v1|sealed"))
    made, rotated, model = await entries(audited)

    values = f"{made.after}{rotated.before}{rotated.after}{model.after}"
    assert not [secret for secret in (raw, digest, "e" * 64, "abc", "hunter2", "sealed") if secret in values]
    assert '"max_tokens":5' in str(made.after)
    assert (rotated.action, rotated.before) == ("rotated", '{"key_name":"sk-...6789"}')


async def test_a_chain_that_nobody_touched_has_no_problems(audited):
    assert await problems(audited) == []
    last = (await seven(audited))[-1]

    assert await problems(audited) == []
    assert await problems(audited, expected=last.head) == []


@pytest.mark.parametrize("column", [name for name in Entry.__struct_fields__ if name not in {"seq", "hash", "key_id"}])
async def test_an_edit_of_any_column_is_found(audited, column):
    await seven(audited)
    await tamper(audited, update(audit).where(audit.c.seq == 4).values({column: 1 if column == "at" else "forged"}))

    assert "entry 4 was edited" in await problems(audited)


async def test_an_entry_of_another_key_is_found(audited):
    entry = (await seven(audited))[3]
    forged = AuditKey("a key of the forger's own").sealed(entry)
    await tamper(audited, update(audit).where(audit.c.seq == 4).values(hash=forged.hash))

    assert await problems(audited) == ["entry 4 was edited"]
    assert (await problems(audited, AuditKey("not the key of this")))[0].startswith("entry 1 was hashed with a key")


async def test_a_genuine_entry_of_another_history_is_found(audited):
    """Somebody keeps a copy, lets the history be written anew, and mixes the two."""
    old = (await seven(audited))[3]
    await tamper(audited, delete(audit), update(audit_head).values(seq=0, hash=""))
    await seven_others(audited)
    await tamper(audited, update(audit).where(audit.c.seq == 4).values(msgspec.structs.asdict(old)))

    assert await problems(audited) == [
        f"entry {seq} does not follow from entry {seq - 1}: one of them was put in its place" for seq in (4, 5)
    ]


async def test_removed_entries_are_found(audited):
    await seven(audited)
    await tamper(audited, delete(audit).where(audit.c.seq.in_([1, 4, 5])))

    assert await problems(audited) == ["entry 1 is missing: removed", "entries 4 to 5 are missing: removed"]


async def test_entries_that_were_moved_are_found(audited):
    await seven(audited)
    for old, new in ((2, 90), (3, 2), (90, 3)):
        await tamper(audited, update(audit).where(audit.c.seq == old).values(seq=new))

    assert await problems(audited) == ["entry 2 was moved: it was entry 3", "entry 3 was moved: it was entry 2"]


async def test_a_cut_off_end_is_found(audited):
    await seven(audited)
    await tamper(audited, delete(audit).where(audit.c.seq > 5))

    assert await problems(audited) == ["entries 6 to 7 are missing: cut off the end"]


async def test_a_cut_off_end_with_a_head_put_back_is_found_by_a_head_of_before(audited):
    found = await seven(audited)
    await tamper(
        audited,
        delete(audit).where(audit.c.seq > 5),
        update(audit_head).values(seq=5, hash=found[4].hash),
    )

    assert await problems(audited) == []
    assert await problems(audited, expected=found[6].head) == ["entries 6 to 7 are missing: cut off the end"]


async def test_a_history_that_was_written_anew_is_found_by_a_head_of_before(audited):
    found = await seven(audited)
    await tamper(audited, delete(audit), update(audit_head).values(seq=0, hash=""))
    await seven_others(audited)

    assert await problems(audited) == []
    assert await problems(audited, expected=found[2].head) == [
        "entry 3 is not the one whose hash is expected",
    ]


async def seven_others(store: SqlStore) -> None:
    for number in range(7):
        await store.budgets.create(budget(f"other{number}"))


async def test_a_head_that_was_put_back_alone_is_found(audited):
    found = await seven(audited)
    await tamper(audited, update(audit_head).values(seq=3, hash=found[2].hash))

    assert await problems(audited) == ["the head says that the chain ends with entry 3, but it goes on to entry 7"]


async def test_without_a_key_nothing_is_written_down(url):
    store = await SqlStore.open(url)
    await store.budgets.create(budget("b"))
    async with store.database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(audit)) == 0
    await store.close()


def test_only_the_trail_opens_transactions_for_keys_and_their_owners():
    """The ledger books what exchanges cost, and purges old rows of its own; what was said is kept beside it, what is
    sealed is sealed anew with another key, and the database makes its tables."""
    writers = {path.stem for path in Path(stores.__file__).parent.glob("*.py") if ".writing()" in path.read_text()}

    assert writers <= {"sql_audit", "sql_ledger", "sql_retention", "sql_contents", "sql_sealed", "sql_database"}
