"""A field of a secret of Vault, whatever the engine and the login; or a reason, without a secret in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from running_vault import ROOT_TOKEN, RunningVault, running_vault

from extproc.errors import SecretUnavailable
from extproc.model import SecretRef
from extproc.secret_managers import NoSuchSecret, VaultSettings
from extproc.secret_managers import vault as module
from extproc.secret_managers.vault import Vault
from extproc.secrets import SecretResolver

VALUE = "sk-of-the-provider"


@pytest.fixture
def running() -> Iterator[RunningVault]:
    with running_vault() as found:
        found.put("litellm/openai", api_key=VALUE)
        yield found


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)


def literal(text: str) -> SecretRef:
    return SecretRef("literal", "", SecretStr(text))


def vault(running: RunningVault, **settings: Any) -> Vault:
    plain = {"address": running.url, "token": literal(ROOT_TOKEN), "mount_path": "secret/litellm"}
    return Vault(VaultSettings(**{**plain, **settings}), SecretResolver())


def test_a_field_is_read_where_the_mount_path_leads(running):
    assert vault(running).fetch("openai/api_key") == VALUE


def test_the_older_engine_is_recognised_also_below_a_mount_of_several_parts(running):
    running.versions["team/kv"] = 1
    running.put("litellm/openai", mount="team/kv", api_key=VALUE)

    assert vault(running, mount_path="team/kv/litellm").fetch("openai/api_key") == VALUE


@pytest.mark.parametrize("version", [None, 2])
def test_an_engine_that_may_not_be_asked_about_is_the_newer_one_at_the_first_part(running, version):
    running.mounts_are_told = False

    assert vault(running, kv_version=version).fetch("openai/api_key") == VALUE


def test_a_version_that_is_configured_is_not_asked_for(running):
    running.versions["secret"] = 1

    assert vault(running, kv_version=1).fetch("openai/api_key") == VALUE
    assert running.asked == ["secret/litellm/openai"]


def test_an_approle_logs_in_once_and_again_when_its_token_has_ended(running):
    asked = vault(running, token=None, role_id=literal("role-id"), secret_id=literal("secret-id"))
    assert [asked.fetch("openai/api_key") for _ in range(3)] == [VALUE] * 3
    assert running.logins == 1

    running.tokens.clear()

    assert asked.fetch("openai/api_key") == VALUE
    assert running.logins == 2


def test_a_pod_logs_in_with_its_account(running, tmp_path: Path):
    jwt = tmp_path / "token"
    jwt.write_text("jwt-of-the-pod\n")

    asked = vault(running, token=None, kubernetes_role="gateway", kubernetes_jwt=str(jwt))

    assert asked.fetch("openai/api_key") == VALUE


def test_a_token_that_was_rotated_in_its_file_is_found_when_the_old_one_ends(running, tmp_path: Path):
    file = tmp_path / "token"
    file.write_text(ROOT_TOKEN)
    asked = vault(running, token=SecretRef("file", str(file)))
    assert asked.fetch("openai/api_key") == VALUE

    running.tokens = {"hvs.another"}
    file.write_text("hvs.another")

    assert asked.fetch("openai/api_key") == VALUE


@pytest.mark.parametrize("statuses", [[429], [500, 503], [502]])
def test_a_busy_vault_is_asked_again(running, statuses):
    running.failing += statuses

    assert vault(running).fetch("openai/api_key") == VALUE


@pytest.mark.parametrize("statuses", [[503] * 10, [429] * 10, [403] * 10, [418]])
def test_a_vault_that_does_not_answer_is_a_reason_and_quotes_nothing(running, statuses):
    running.failing += statuses

    with pytest.raises(SecretUnavailable) as failed:
        vault(running).fetch("openai/api_key")

    assert not isinstance(failed.value, NoSuchSecret)
    assert "secret in it" not in repr(failed.value) + repr(failed.value.__cause__) + repr(failed.value.__context__)


@pytest.mark.parametrize("location", ["nowhere/api_key", "openai/nothing"])
def test_what_is_not_there_is_told_apart_from_an_outage(running, location):
    with pytest.raises(NoSuchSecret):
        vault(running).fetch(location)


def test_a_field_that_is_no_text_is_not_one(running):
    running.put("litellm/openai", api_key={"nested": VALUE})

    with pytest.raises(SecretUnavailable, match="no text"):
        vault(running).fetch("openai/api_key")


@pytest.mark.parametrize(("settings", "reason"), [
    ({"token": literal("wrong")}, "Forbidden"),
    ({"token": None}, "no way to log in"),
    ({"token": None, "role_id": literal("role-id"), "secret_id": literal("wrong")}, "InvalidRequest"),
    ({"token": SecretRef("env", "NOT_SET_ANYWHERE")}, "NOT_SET_ANYWHERE is not set"),
    ({"address": "http://127.0.0.1:1"}, "ConnectionError"),
])  # fmt: skip
def test_whoever_cannot_log_in_is_told_why(running, settings, reason):
    with pytest.raises(SecretUnavailable, match=reason):
        vault(running, **settings).fetch("openai/api_key")


def test_a_slow_vault_is_given_up(running, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    asked = vault(running)
    running.gate.clear()

    with pytest.raises(SecretUnavailable, match="Timeout"):
        asked.fetch("openai/api_key")


def test_threads_that_lose_their_token_together_log_in_once(running):
    asked = vault(running, token=None, role_id=literal("role-id"), secret_id=literal("secret-id"))
    asked.fetch("openai/api_key")
    running.tokens.clear()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(asked.fetch("openai/api_key"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [VALUE] * 8
    assert running.logins <= 3
