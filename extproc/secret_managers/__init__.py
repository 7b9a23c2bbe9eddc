"""Secrets that somebody else keeps: HashiCorp Vault (`vault/PATH/FIELD`) and AWS Secrets Manager (`aws/NAME/FIELD`).

`vault.py` and `aws.py` each answer one question, `fetch`, in a thread and within a deadline; `keeping.py` remembers the
answers and asks again in the background. Which managers there are is a value (`Managers`), told by the configuration.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from extproc.errors import SecretUnavailable
from extproc.model import SecretRef

#: Seconds for a connection, and for each answer.
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 3.0


class NoSuchSecret(SecretUnavailable):
    """The manager answered that there is no such secret, or no such field in it."""


class VaultSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a Vault is, and as whom it is asked: with a token, an AppRole or the pod's Kubernetes account.

    Paths of references count from `mount_path`. `kv_version` of `None` is asked for. `auth_mount` is where the AppRole
    or Kubernetes method is mounted, empty for its usual place.
    """

    address: str
    mount_path: str = "secret"
    token: SecretRef | None = None
    role_id: SecretRef | None = None
    secret_id: SecretRef | None = None
    kubernetes_role: str = ""
    kubernetes_jwt: str = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    auth_mount: str = ""
    namespace: str | None = None
    kv_version: int | None = None
    ca_cert: str | None = None


class AwsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where AWS Secrets Manager is; `None` leaves it, and all credentials, to AWS' own variables and roles."""

    region: str | None = None
    endpoint_url: str | None = None


class Managers(msgspec.Struct, frozen=True, kw_only=True):
    """The managers of a configuration, and how often they are asked again.

    `first` is the manager in which `os.environ/NAME` is looked for before the environment (LiteLLM's
    `key_management_system`), for the names in `hosted`, or all where that is `None`. `primary_secret` is the one secret
    that holds all of them, empty where each has its own.
    """

    vault: VaultSettings | None = None
    aws: AwsSettings = AwsSettings()
    first: str = ""
    hosted: tuple[str, ...] | None = None
    primary_secret: str = ""
    refresh_s: int = 60


class Manager(Protocol):
    """One kind of secret manager."""

    def fetch(self, location: str) -> str:
        """The value at a location. Raises `NoSuchSecret`, and `SecretUnavailable` where it cannot be asked."""
        ...
