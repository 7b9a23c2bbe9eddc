"""Workers serve what is stored, follow what other workers change, and leave out what cannot be served."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from empty_sqlite import opened_sqlite
from management.conftest import SETTINGS

from extproc import stored_models
from extproc.destinations import Resolved
from extproc.encryption import Keyring
from extproc.errors import SecretUnavailable
from extproc.model import Allowance, SecretRef, StoredModel
from extproc.settings.model import Settings
from extproc.settings.rows import place
from extproc.stored_models import EncryptionKeys, StoredModels

RING = Keyring(["an-encryption-key"])
OPENAI = {"model": "openai/gpt-4o-mini"}


def model(model_id: str, name: str = "fast", secret: str | None = None, moment: int = 1, **parameters) -> StoredModel:
    credential = RING.seal(secret, place(model_id)) if secret else None
    return StoredModel(
        id=model_id, model_name=name, parameters={**OPENAI, **parameters}, credential=credential, created_at=moment,
        updated_at=moment,
    )  # fmt: skip


@pytest.fixture
async def store(tmp_path):
    opened = await opened_sqlite(tmp_path)
    yield opened
    await opened.close()


def served(store, settings=SETTINGS) -> StoredModels:
    return StoredModels(settings, store.models, lambda: RING)


def ids(models: StoredModels) -> list[str]:
    return [deployment.id for deployment in models.deployments[len(SETTINGS.deployments) :]]


async def test_another_workers_changes_are_followed(store, monkeypatch):
    monkeypatch.setattr(stored_models, "REFRESH_SECONDS", 0.01)
    models = served(store)
    changed = asyncio.Event()
    models.changed = changed.set
    following = asyncio.create_task(models.follow_until_cancelled())

    async def after_a_change() -> list[str]:
        await asyncio.wait_for(changed.wait(), 30)
        changed.clear()
        return ids(models)

    await store.models.create(model("a"))
    assert await after_a_change() == ["a"]
    await store.models.update("a", {"model_name": "faster", "updated_at": 2})
    assert await after_a_change() == ["a"]
    assert models.name_of("a") == "faster"
    await store.models.delete(["a"], deleted_by="admin", now=3)
    assert await after_a_change() == []
    following.cancel()


async def test_nothing_changes_where_nothing_was_changed(store):
    await store.models.create(model("a", secret="sk-provider"))
    models = served(store)
    await models.reload()
    changes: list[int] = []
    models.changed = lambda: changes.append(1)
    await models.reload()

    assert changes == []


async def test_what_was_read_last_is_served_last_however_slow_a_name_is(store):
    slow = asyncio.Event()

    async def look_up(host: str) -> list[str]:
        if host == "slow.example":
            await slow.wait()
        return ["8.8.8.8"]

    models = StoredModels(SETTINGS, store.models, lambda: RING, Resolved(SETTINGS.stored_model_hosts, look_up))
    await store.models.create(model("slow", api_base="https://slow.example/v1"))
    first = asyncio.create_task(models.reload())
    await asyncio.sleep(0.05)
    await store.models.delete(["slow"], deleted_by="admin", now=3)
    second = asyncio.create_task(models.reload())
    await asyncio.sleep(0.05)
    slow.set()
    await asyncio.gather(first, second)

    assert ids(models) == []


async def test_what_cannot_be_served_is_left_out_and_told_without_a_secret(store, caplog):
    other = Keyring(["another-encryption-key"])
    await store.models.create(model("elsewhere", api_base="http://elsewhere.example/v1"))
    sealed = msgspec.structs.replace(model("locked"), credential=other.seal("sk-provider", place("locked")))
    await store.models.create(sealed)
    await store.models.create(model("served", moment=2))
    models = served(store)
    await models.reload()

    assert ids(models) == ["served"]
    told = {record.model_id: record.error for record in caplog.records if record.message == "stored_model_left_out"}
    assert (
        told["locked"] == f"models/locked/credential was encrypted with a key ({other.current}) that is not configured"
    )
    assert told["elsewhere"].startswith(
        "http://elsewhere.example is not among the hosts that stored models may lead to"
    )


async def test_a_provider_that_was_unavailable_is_asked_at_its_next_address(store):
    async def two(_: str) -> list[str]:
        return ["8.8.8.8", "8.8.4.4"]

    await store.models.create(model("elsewhere", api_base="https://elsewhere.example/v1"))
    hosts = Resolved(SETTINGS.stored_model_hosts, two)
    models = StoredModels(SETTINGS, store.models, lambda: RING, hosts)
    await models.reload()
    upstream = models.deployments[-1].upstream
    assert dict(hosts.way(upstream))[b"x-extproc-address"] == b"8.8.8.8:443"

    models.failed("elsewhere")
    models.failed("gone")
    assert dict(hosts.way(upstream))[b"x-extproc-address"] == b"8.8.4.4:443"


async def test_more_models_than_one_page_are_all_served(store, monkeypatch):
    monkeypatch.setattr(stored_models, "_PAGE", 2)
    for number in range(5):
        await store.models.create(model(f"m{number}", moment=number))
    models = served(store)
    await models.reload()

    assert ids(models) == [f"m{number}" for number in range(5)]


async def test_rates_of_one_name_add_up_and_one_without_has_none(store):
    settings = msgspec.structs.replace(SETTINGS, model_rates={"small": Allowance(rpm_limit=5, tpm_limit=50)})
    for name, rpm in (("small", 7), ("fast", 1), ("fast", 2), ("gpt-4o", 9)):
        await store.models.create(model(f"{name}{rpm}", name, rpm=rpm))
    models = served(store, settings)
    await models.reload()

    assert models.rates == {"small": Allowance(rpm_limit=12), "fast": Allowance(rpm_limit=3)}


class TestEncryptionKeys:
    def keys(self, tmp_path, **fields) -> EncryptionKeys:
        names = {"encryption_key": "key", **fields}
        previous = (SecretRef("file", str(tmp_path / "previous")),)
        return EncryptionKeys(
            Settings(
                encryption_key=SecretRef("file", str(tmp_path / names["encryption_key"])),
                previous_encryption_keys=previous,
            )
        )

    def test_they_are_read_again_when_they_change(self, tmp_path):
        (tmp_path / "key").write_text("an-encryption-key")
        keys = self.keys(tmp_path)
        sealed = keys.ring().seal("x", "p")
        assert keys.ring() is keys.ring()
        (tmp_path / "previous").write_text("an-encryption-key")
        (tmp_path / "key").write_text("another-encryption-key")

        assert keys.ring().open(sealed, "p") == "x"
        assert not keys.ring().is_current(sealed)

    def test_a_short_or_missing_key_is_told_without_its_value(self, tmp_path):
        with pytest.raises(SecretUnavailable, match="FileNotFoundError"):
            self.keys(tmp_path).ring()
        (tmp_path / "key").write_text("too-short")
        with pytest.raises(SecretUnavailable, match="16 or more") as caught:
            self.keys(tmp_path).ring()
        assert "too-short" not in str(caught.value)

    def test_without_one_there_is_no_ring(self):
        assert EncryptionKeys(Settings()).ring() is None
