"""A regenerated key goes on as the same key, under its new credential and for a while under the old one."""

from __future__ import annotations

import msgspec
import pytest
from stores.samples import NOW, key, receipt

from extproc.errors import AlreadyExists
from extproc.holds import Limit, Measure, Scope, Span
from extproc.stores.contract import KeyFilter


async def regenerate(store, credential="new", *, revoke_at=NOW, **changes):
    return await store.regenerate("old", credential, {"name": "sk-...wxyz", **changes}, revoke_at=revoke_at, now=NOW)


@pytest.fixture
async def store(store):
    await store.create(key(digest="old", alias="front", spend=3))
    return store


async def test_both_credentials_find_the_key_and_say_until_when(store):
    changed = await regenerate(store, revoke_at=NOW + 5, rpm_limit=7)

    old, new = await store.find("old"), await store.find("new")
    assert (changed.digest, changed.name, changed.rpm_limit) == ("old", "sk-...wxyz", 7)
    assert (old.digest, old.revoked_at, old.spend) == ("old", NOW + 5, 3)
    assert new == msgspec.structs.replace(old, revoked_at=None)


async def test_what_was_booked_before_counts_for_the_key_after(store):
    await store.record([receipt(key_digest="old", spend=5)], now=NOW)
    await regenerate(store)
    await store.record([receipt(event_id="second", key_digest=(await store.find("new")).digest, spend=6)], now=NOW)

    limit = Limit(Scope("api_key", "old"), Measure.SPEND, Span.WINDOW, 1, since=1, until=NOW * 2)
    assert [amount for _, amount in await store.settled(limit, NOW)] == [11]
    assert (await store.find("new")).spend == 14


async def test_regenerating_again_never_lengthens_the_life_of_an_older_credential(store):
    await regenerate(store, "second", revoke_at=NOW + 5)
    await regenerate(store, "third", revoke_at=NOW + 9)

    found = [(await store.find(digest)).revoked_at for digest in ("old", "second", "third")]
    assert found == [NOW + 5, NOW + 9, None]


async def test_without_grace_every_older_credential_ends(store):
    await regenerate(store, "second", revoke_at=NOW + 5)
    await regenerate(store, "third", revoke_at=NOW)

    assert [(await store.find(digest)).revoked_at for digest in ("old", "second", "third")] == [NOW, NOW, None]


async def test_credentials_that_are_over_are_forgotten_but_the_first(store):
    await regenerate(store, "second")
    await regenerate(store, "third")
    await regenerate(store, "fourth")

    assert await store.find("second") is None
    assert (await store.find("old")).revoked_at == NOW


@pytest.mark.parametrize("credential", ["old", "another", "second"])
async def test_a_credential_that_is_or_was_a_keys_is_taken(store, credential):
    await store.create(key(digest="another"))
    await regenerate(store, "second")

    with pytest.raises(AlreadyExists, match="key"):
        await regenerate(store, credential, rpm_limit=1)
    assert (await store.find("second")).rpm_limit is None


async def test_a_new_key_cannot_take_a_credential(store):
    await regenerate(store)

    with pytest.raises(AlreadyExists):
        await store.create(key(digest="new"))


async def test_with_the_key_its_credentials_are_gone(store):
    await regenerate(store)

    assert await store.delete(["old"], deleted_by="admin", now=NOW) == ("old",)
    assert (await store.find("new"), await store.find("old")) == (None, None)
    await store.create(key(digest="new"))


async def test_an_unknown_key_is_not_regenerated(store):
    assert await store.regenerate("nobody", "x", {"name": "n"}, revoke_at=NOW, now=NOW) is None
    assert await store.find("x") is None


async def test_keys_that_are_due_are_listed(store):
    await store.create(key(digest="due", rotate_at=NOW))
    await store.create(key(digest="later", rotate_at=NOW + 1))

    page = await store.list(KeyFilter(due_at=NOW), page=1, size=10, sort_by="rotate_at", descending=False)
    assert [one.digest for one in page.keys] == ["due"]
