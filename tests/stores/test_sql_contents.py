"""What was said, in both kinds of database."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from stores.samples import receipt

from extproc import contents, resealing
from extproc.encryption import Keyring
from extproc.model import User
from extproc.stores import sql_contents
from extproc.stores.contents import SealedContent
from extproc.stores.sql_sealed import SqlSealed

OLD, NEW = Keyring(["an-old-encryption-key"]), Keyring(["a-new-encryption-key", "an-old-encryption-key"])


def rows(*event_ids: str, ended_at: int = 1_000) -> list[SealedContent]:
    return [SealedContent(event_id, ended_at, f"sealed of {event_id}") for event_id in event_ids]


async def test_rows_are_found_by_their_exchanges(store):
    await store.contents.keep(rows("a", "b"))

    assert await store.contents.sealed_of(["a", "c"]) == {"a": "sealed of a"}
    assert await store.contents.sealed_of([]) == {}


async def test_a_row_that_is_there_stays_as_it_is(store):
    await store.contents.keep(rows("a"))
    await store.contents.keep([SealedContent("a", 2_000, "another"), *rows("b")])

    assert await store.contents.sealed_of(["a", "b"]) == {"a": "sealed of a", "b": "sealed of b"}


async def test_old_rows_are_purged_some_at_a_time(store, monkeypatch):
    monkeypatch.setattr(sql_contents, "_BATCH", 2)
    monkeypatch.setattr(sql_contents, "_PAUSE_SECONDS", 0)
    await store.contents.keep(rows("a", "b", "c", "d", "e"))
    await store.contents.keep(rows("new", ended_at=5_000))

    assert await store.contents.purge(5_000) == 5
    assert await store.contents.sealed_of(["a", "e", "new"]) == {"new": "sealed of new"}


async def test_they_are_purged_whenever_the_interval_is_over(store):
    moment = 1_000
    running = asyncio.create_task(sql_contents.purge_until_cancelled(store.contents, 500, 10, lambda: moment))
    await store.contents.keep(rows("a", ended_at=900))
    moment = 2_000
    async with asyncio.timeout(20):
        while await store.contents.sealed_of(["a"]):
            await asyncio.sleep(0.01)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("whose", [{"user_id": "carol"}, {"end_user": "carol"}])
async def test_a_persons_erasure_forgets_what_was_said_and_what_comes_late(store, whose):
    await store.record([receipt(event_id="theirs", **whose), receipt(event_id="other", user_id="dave")], now=1)
    late = [SealedContent("theirs", 1_000, "sealed", **whose)]
    await store.contents.keep([*late, SealedContent("other", 1_000, "sealed", "dave")])

    await store.persons.erase(User(id="carol"), deleted_by="admin")
    assert list(await store.contents.sealed_of(["theirs", "other"])) == ["other"]

    await store.contents.keep(late)
    assert await store.contents.sealed_of(["theirs"]) == {}


async def test_nobody_is_taken_for_erased_by_what_they_call_themselves(store):
    """A client may name its end user as it likes, and longer than the ledger has it."""
    names = ["deleted-0123456789abcdef", "x" * 300, "nul\0 and \ud800", "Zoë"]
    whose = {f"e{number}": name for number, name in enumerate(names)}
    await store.record([receipt(event_id=event_id, end_user=name) for event_id, name in whose.items()], now=1)

    await store.contents.keep([SealedContent(event_id, 1, "sealed", None, name) for event_id, name in whose.items()])

    assert sorted(await store.contents.sealed_of([*whose])) == sorted(whose)


async def test_they_are_sealed_anew_with_the_key_of_now(store):
    place = contents.place
    kept = [SealedContent(name, 1, OLD.seal(f"said in {name}", place(name))) for name in ("a", "b")]
    kept.append(SealedContent("odd", 1, OLD.seal("x", place("elsewhere"))))
    await store.contents.keep(kept)
    sealed = [SqlSealed.of_contents(store.database, place)]

    found = await resealing.reseal(sealed, NEW)

    assert (found.done, found.failed) == (2, 1)
    only_new = Keyring(["a-new-encryption-key"])
    for name, envelope in (await store.contents.sealed_of(["a", "b"])).items():
        assert only_new.open(envelope, place(name)) == f"said in {name}"


async def test_an_erasure_finds_what_is_kept_while_it_begins(store, monkeypatch):
    await store.record([receipt(event_id="theirs", user_id="carol")], now=1)
    erasures: list[asyncio.Task[object]] = []
    erased_by_now = sql_contents._erased

    async def then_the_erasure_begins(*asked):
        found = await erased_by_now(*asked)
        erasures.append(asyncio.create_task(store.persons.erase(User(id="carol"), deleted_by="admin")))
        await asyncio.wait(erasures, timeout=1)
        return found

    monkeypatch.setattr(sql_contents, "_erased", then_the_erasure_begins)
    await store.contents.keep([SealedContent("theirs", 1_000, "sealed", "carol")])
    async with asyncio.timeout(20):
        await erasures[0]

    assert await store.contents.sealed_of(["theirs"]) == {}
