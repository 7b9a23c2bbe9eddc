"""`general_settings.secret_manager` and LiteLLM's `key_management_system`, from a file to what is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.errors import ConfigError
from extproc.model import SecretRef
from extproc.secrets import SecretResolver
from extproc.settings import load

#: LiteLLM's users have it like this.
SEED = """
general_settings:
  secret_manager:
    type: vault
    vault_address: https://vault.company.com
    vault_token: os.environ/VAULT_TOKEN
    vault_mount_path: secret/litellm

model_list:
  - model_name: gpt-4o
    litellm_params:
      model: gpt-4o
      api_key: vault/openai/api_key  # Fetches from Vault
"""


@pytest.fixture(autouse=True)
def _no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file's managers are is forgotten, and no variable of the machine counts."""
    monkeypatch.setattr(SecretResolver, "managed", None)
    for name in ("HCP_VAULT_ADDR", "VAULT_ADDR", "HCP_VAULT_TOKEN", "VAULT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def loaded(tmp_path: Path, text: str):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return load(file, strict=True)


def test_litellms_users_block_works_as_it_is(tmp_path):
    settings = loaded(tmp_path, SEED)

    vault = settings.managers.vault
    assert (vault.address, vault.mount_path) == ("https://vault.company.com", "secret/litellm")
    assert vault.token == SecretRef("env", "VAULT_TOKEN")
    assert settings.references == (SecretRef("vault", "openai/api_key"),)
    assert settings.secret_places["vault/openai/api_key"] == f"{tmp_path}/config.yaml:13:16"


def test_a_file_s_managers_are_those_of_every_resolver(tmp_path):
    loaded(tmp_path, SEED)

    assert SecretResolver().managed.handles(SecretRef("vault", "openai/api_key"))
    assert not SecretResolver().managed.handles(SecretRef("env", "OPENAI_API_KEY"))


def test_litellms_variables_say_where_its_vault_is(tmp_path, monkeypatch):
    for name, value in {"ADDR": "http://v:8200", "TOKEN": "t", "NAMESPACE": "n", "MOUNT_NAME": "kv",
                        "PATH_PREFIX": "litellm", "APPROLE_ROLE_ID": "r"}.items():  # fmt: skip
        monkeypatch.setenv(f"HCP_VAULT_{name}", value)
    managers = loaded(
        tmp_path,
        """
general_settings:
  key_management_system: hashicorp_vault
  key_management_settings: {hosted_keys: [OPENAI_API_KEY], primary_secret_name: all, access_mode: read_and_write}
""",
    ).managers

    assert (managers.first, managers.hosted, managers.primary_secret) == ("vault", ("OPENAI_API_KEY",), "all")
    assert (managers.vault.address, managers.vault.mount_path) == ("http://v:8200", "kv/litellm")
    assert managers.vault.namespace == "n"
    assert managers.vault.token == SecretRef("env", "HCP_VAULT_TOKEN")
    assert managers.vault.role_id == SecretRef("env", "HCP_VAULT_APPROLE_ROLE_ID")


def test_a_manager_that_is_only_written_to_is_not_looked_into(tmp_path):
    managers = loaded(
        tmp_path,
        """
general_settings:
  key_management_system: aws_secret_manager
  key_management_settings: {access_mode: write_only}
""",
    ).managers

    assert managers.first == ""


def test_settings_of_aws_and_of_refreshing_are_taken(tmp_path):
    managers = loaded(
        tmp_path,
        """
general_settings:
  secret_manager: {type: aws, aws_region_name: eu-central-1, aws_endpoint_url: "http://localhost:4566"}
extproc_settings: {secret_refresh_s: 5}
""",
    ).managers

    assert (managers.aws.region, managers.aws.endpoint_url) == ("eu-central-1", "http://localhost:4566")
    assert managers.refresh_s == 5
    assert managers.vault is None


@pytest.mark.parametrize(("text", "line"), [
    ("general_settings: {secret_manager: {vault_address: 'http://v', vault_token: vault/a/b}}",
     "1:77: vault_token is what Vault is asked with: it cannot keep it"),
    ("general_settings: {secret_manager: {type: azure}}", "1:43: general_settings.secret_manager.type"),
    ("general_settings: {secret_manager: {vault_adress: x}}", "'vault_address' meant"),
    ("general_settings: {key_management_system: azure_key_vault}", "1:43: general_settings.key_management_system"),
])  # fmt: skip
def test_mistakes_are_told_with_their_place(tmp_path, text, line):
    with pytest.raises(ConfigError) as failed:
        loaded(tmp_path, text)

    assert line in str(failed.value)
