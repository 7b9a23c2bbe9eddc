"""What is sealed is sealed anew in batches, and whoever changes it at the same time wins."""

from __future__ import annotations

import msgspec
import pytest

from extproc import resealing
from extproc.encryption import Keyring
from extproc.model import StoredModel
from extproc.settings.rows import place
from extproc.stores.sql_sealed import SqlSealed

OLD, NEW = Keyring(["an-old-encryption-key"]), Keyring(["a-new-encryption-key", "an-old-encryption-key"])


def model(model_id: str, ring: Keyring | None) -> StoredModel:
    credential = ring.seal(f"secret of {model_id}", place(model_id)) if ring else None
    return StoredModel(id=model_id, model_name="m", credential=credential)


@pytest.fixture
async def sealed(store, monkeypatch):
    monkeypatch.setattr(resealing, "BATCH", 2)
    for number in range(5):
        await store.models.create(model(f"old{number}", OLD))
    await store.models.create(model("new", NEW))
    await store.models.create(model("open", None))
    return SqlSealed.of_models(store.database, place)


async def test_everything_is_sealed_with_the_key_of_now(store, sealed):
    looked: list[int] = []
    assert await resealing.left([sealed], NEW) == 5

    assert await resealing.reseal([sealed], NEW, looked.append) == resealing.Resealed(5, 0, ())
    assert (looked, await resealing.left([sealed], NEW)) == ([2, 2, 1], 0)
    only_new = Keyring(["a-new-encryption-key"])
    for name in ("old0", "old4", "new"):
        found = await store.models.find(name)
        assert only_new.open(found.credential, place(name)) == f"secret of {name}"
    assert (await store.models.find("open")).credential is None


async def test_a_run_goes_on_where_an_earlier_one_stopped(sealed):
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await resealing.reseal([sealed], NEW, stop)
    assert await resealing.left([sealed], NEW) == 3

    assert (await resealing.reseal([sealed], NEW)).done == 3


async def test_what_cannot_be_opened_stays_and_is_told(store, sealed):
    before = await store.models.find("old0")
    lost = Keyring(["a-lost-encryption-key"])
    await store.models.update("old0", {"credential": lost.seal("x", place("old0"))})

    found = await resealing.reseal([sealed], NEW)
    assert (found.done, found.failed) == (4, 1)
    assert found.told[0].startswith("models/old0/credential was encrypted with a key")
    assert lost.open((await store.models.find("old0")).credential, place("old0")) == "x"
    assert before.credential


async def test_a_credential_that_is_changed_meanwhile_wins(store, sealed):
    [(name, envelope), *_] = await sealed.sealed("v1|x", "", 1)
    changed = msgspec.structs.replace(model(name, NEW)).credential
    await store.models.update(name, {"credential": changed})

    assert not await sealed.reseal(name, envelope, "v1|lost")
    assert (await store.models.find(name)).credential == changed
