"""`general_settings.secret_manager`, and LiteLLM's `key_management_system`: which managers of secrets there are.

Where the configuration is silent, the variables count that Vault's and LiteLLM's own tools read. What a manager is
asked with (a token, an AppRole's ids) is a reference itself, though never one to a manager.
"""

from __future__ import annotations

import os
from typing import Any

from extproc.errors import ConfigError, SecretUnavailable
from extproc.model import SecretRef
from extproc.secret_managers import AwsSettings, Managers, VaultSettings
from extproc.secrets import SecretResolver
from extproc.settings.deployments import Rows
from extproc.settings.schema import Configuration, SecretManager

_PLACE = ("general_settings", "secret_manager")
_SECRETS = ("vault_token", "vault_approle_role_id", "vault_approle_secret_id")
#: LiteLLM's words for a manager, and ours.
_FIRST = {"hashicorp_vault": "vault", "aws_secret_manager": "aws"}
#: LiteLLM's access modes in which secrets are read.
_READING = frozenset({"read_only", "read_and_write"})


def of(file: Configuration, rows: Rows) -> Managers:
    """The managers that a file names. Raises `ConfigError`."""
    general = file.general_settings
    told, litellm = general.secret_manager, general.key_management_settings
    first = _FIRST.get(general.key_management_system or "", "") if litellm.access_mode in _READING else ""
    refresh = file.extproc_settings.secret_refresh_s
    return Managers(
        vault=_vault(told, rows),
        aws=AwsSettings(
            region=told.aws_region_name or os.environ.get("AWS_REGION_NAME"), endpoint_url=told.aws_endpoint_url
        ),
        first=first,
        hosted=tuple(litellm.hosted_keys) if litellm.hosted_keys is not None else None,
        primary_secret=litellm.primary_secret_name or "",
        **({} if refresh is None else {"refresh_s": refresh}),
    )


def _vault(told: SecretManager, rows: Rows) -> VaultSettings | None:
    address = _plain(told.vault_address, rows, "vault_address") or _first_of("HCP_VAULT_ADDR", "VAULT_ADDR")
    if not address:
        return None
    references = {name: rows.secret(getattr(told, name), (*_PLACE, name)) for name in _SECRETS}
    for name, reference in references.items():
        if reference is not None and reference.scheme not in {"env", "file", "literal"}:
            raise ConfigError(f"{rows.places[str(reference)]}: {name} is what Vault is asked with: it cannot keep it")
    roles: dict[str, Any] = {
        "role_id": references["vault_approle_role_id"] or _variable("HCP_VAULT_APPROLE_ROLE_ID"),
        "secret_id": references["vault_approle_secret_id"] or _variable("HCP_VAULT_APPROLE_SECRET_ID"),
        "kubernetes_role": told.vault_kubernetes_role or "",
        "auth_mount": told.vault_auth_mount or _first_of("HCP_VAULT_APPROLE_MOUNT_PATH"),
    }
    if told.vault_kubernetes_jwt is not None:
        roles["kubernetes_jwt"] = told.vault_kubernetes_jwt
    return VaultSettings(
        address=address,
        mount_path=told.vault_mount_path or _mount_path(),
        token=references["vault_token"] or _variable("HCP_VAULT_TOKEN", "VAULT_TOKEN"),
        namespace=told.vault_namespace or _first_of("HCP_VAULT_NAMESPACE", "VAULT_NAMESPACE") or None,
        kv_version=told.vault_kv_version,
        ca_cert=told.vault_ca_cert or os.environ.get("VAULT_CACERT"),
        **roles,
    )


def _plain(text: str | None, rows: Rows, name: str) -> str:
    """A setting that is no secret but may be a reference."""
    reference = rows.secret(text, (*_PLACE, name))
    if reference is None:
        return ""
    try:
        return SecretResolver().local(reference).get_secret_value()
    except SecretUnavailable as error:
        raise ConfigError(str(error)) from None


def _mount_path() -> str:
    parts = (_first_of("HCP_VAULT_MOUNT_NAME") or "secret", _first_of("HCP_VAULT_PATH_PREFIX"))
    return "/".join(part for part in parts if part)


def _first_of(*names: str) -> str:
    return next((value for name in names if (value := os.environ.get(name, ""))), "")


def _variable(*names: str) -> SecretRef | None:
    """A reference to the first variable that is set."""
    return next((SecretRef("env", name) for name in names if os.environ.get(name)), None)
