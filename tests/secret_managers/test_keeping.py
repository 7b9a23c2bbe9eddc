"""Managed secrets are there before they are needed, outlive an outage, change without a restart, and end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from running_vault import ROOT_TOKEN, RunningVault, running_vault

from extproc.errors import ConfigError, SecretUnavailable
from extproc.model import SecretRef
from extproc.secret_managers import Managers, VaultSettings, keeping
from extproc.secret_managers import vault as vault_module
from extproc.secret_managers.keeping import KeptSecrets
from extproc.secrets import GRACE_SECONDS

OPENAI = SecretRef("vault", "openai/api_key")
VARIABLE = SecretRef("env", "PROVIDER_KEY")


class World:
    """Secrets that are kept, with the manager's server and a clock in the hands of a test."""

    def __init__(self, running: RunningVault) -> None:
        self.running = running
        self.now = 0.0
        self.reported: list[tuple[str, bool]] = []

    def kept(self, **managers: Any) -> KeptSecrets:
        vault = VaultSettings(address=self.running.url, token=SecretRef("literal", "", SecretStr(ROOT_TOKEN)))
        return KeptSecrets(
            Managers(vault=vault, **managers),
            clock=lambda: self.now,
            report=lambda reference, up: self.reported.append((reference, up)),
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(vault_module, "PAUSE_SECONDS", 0.01)
    with running_vault() as running:
        running.put("openai", api_key="sk-first")
        yield World(running)


async def again(kept: KeptSecrets) -> None:
    """What a refresh does."""
    await kept._refreshed(tuple(kept._up))


async def test_a_secret_is_asked_for_before_it_is_needed_and_not_on_the_way(world):
    kept = world.kept()
    await kept.fetch_all([OPENAI, OPENAI, SecretRef("env", "HOME")], {})
    asked = len(world.running.asked)

    assert kept.value(OPENAI).get_secret_value() == "sk-first"
    assert len(world.running.asked) == asked
    assert world.reported == [("vault/openai/api_key", True)]


async def test_all_that_cannot_be_had_is_told_with_its_place_and_without_a_value(world):
    gone = SecretRef("vault", "anthropic/api_key")

    with pytest.raises(ConfigError) as failed:
        await world.kept().fetch_all([OPENAI, gone, SecretRef("vault", "openai/x")], {str(gone): "c.yaml:3:9"})

    assert str(failed.value).splitlines() == [
        "c.yaml:3:9: vault/anthropic/api_key: there is no such secret",
        "vault/openai/x: the secret has no such field",
    ]


async def test_a_rotated_secret_is_the_value_from_its_refresh_on_and_the_change_is_logged_without_it(world, caplog):
    caplog.set_level(logging.INFO)
    kept = world.kept()
    await kept.fetch_all([OPENAI], {})
    world.running.put("openai", api_key="sk-second")

    await again(kept)

    assert kept.value(OPENAI).get_secret_value() == "sk-second"
    (record,) = [each for each in caplog.records if each.message == "secret_changed"]
    assert "sk-" not in str(vars(record))


async def test_the_last_value_serves_through_an_outage_however_long_and_each_edge_is_told_once(world, caplog):
    kept = world.kept()
    await kept.fetch_all([OPENAI], {})
    for _ in range(3):
        world.now += 10 * GRACE_SECONDS
        world.running.failing = [503] * 3
        await again(kept)
    assert kept.value(OPENAI).get_secret_value() == "sk-first"

    await again(kept)

    reference = str(OPENAI)
    assert world.reported == [(reference, True), (reference, False), (reference, True)]
    assert [each.message for each in caplog.records] == ["secret_unavailable", "secret_available"]


async def test_a_secret_that_is_deleted_ends_after_a_while(world):
    kept = world.kept()
    await kept.fetch_all([OPENAI], {})
    world.running.secrets["secret"].clear()
    await again(kept)
    world.now = GRACE_SECONDS - 1
    await again(kept)
    assert kept.value(OPENAI).get_secret_value() == "sk-first"

    world.now = GRACE_SECONDS
    await again(kept)

    with pytest.raises(SecretUnavailable, match="vault/openai/api_key"):
        kept.value(OPENAI)


async def test_what_is_asked_for_while_serving_is_not_waited_for_and_there_a_moment_later(world, monkeypatch):
    monkeypatch.setattr(keeping, "TICK_SECONDS", 0.01)
    kept = KeptSecrets(world.kept()._managers)
    await kept.fetch_all([], {})
    with pytest.raises(SecretUnavailable):
        kept.value(OPENAI)

    refreshing = asyncio.create_task(kept.refresh_until_cancelled())
    async with asyncio.timeout(30):
        while OPENAI not in kept._values:
            await asyncio.sleep(0.005)
    refreshing.cancel()

    assert kept.value(OPENAI).get_secret_value() == "sk-first"


async def test_a_manager_that_hangs_is_given_up_and_holds_nobody_up(world, monkeypatch):
    monkeypatch.setattr(keeping, "DEADLINE_SECONDS", 0.05)
    kept = world.kept()
    world.running.gate.clear()

    with pytest.raises(ConfigError, match=r"no answer within 0\.05 s"):
        await kept.fetch_all([OPENAI], {})


def test_before_serving_a_value_is_fetched_when_it_is_asked_for(world):
    assert world.kept().value(OPENAI).get_secret_value() == "sk-first"


@pytest.mark.parametrize(("managers", "value"), [
    ({}, None),
    ({"first": "vault"}, "sk-managed"),
    ({"first": "vault", "hosted": ("PROVIDER_KEY",)}, "sk-managed"),
    ({"first": "vault", "hosted": ("ANOTHER",)}, None),
    ({"first": "vault", "primary_secret": "all"}, "sk-primary"),
])  # fmt: skip
def test_a_variable_is_looked_for_in_the_manager_first_where_litellm_would(world, managers, value):
    world.running.put("PROVIDER_KEY", key="sk-managed")
    world.running.put("all", PROVIDER_KEY="sk-primary")
    kept = world.kept(**managers)

    assert kept.handles(VARIABLE) is (value is not None)
    if value is not None:
        assert kept.value(VARIABLE).get_secret_value() == value


def test_a_variable_that_the_manager_has_not_is_the_environment_s(world, monkeypatch):
    monkeypatch.setenv("PROVIDER_KEY", "sk-of-the-environment")

    assert world.kept(first="vault").value(VARIABLE).get_secret_value() == "sk-of-the-environment"


def test_a_variable_is_not_taken_from_the_environment_because_of_an_outage(world, monkeypatch):
    monkeypatch.setenv("PROVIDER_KEY", "sk-of-the-environment")
    world.running.failing = [503] * 3

    with pytest.raises(SecretUnavailable):
        world.kept(first="vault").value(VARIABLE)


def test_without_a_vault_the_setting_that_is_missing_is_named():
    with pytest.raises(SecretUnavailable, match=r"general_settings\.secret_manager"):
        KeptSecrets(Managers()).value(OPENAI)
