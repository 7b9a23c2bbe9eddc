"""HashiCorp Vault: reads a field of a KV secret, of either version of the engine, and logs in again when it must.

A token ends: by its lease, or because it is revoked. Vault then says 403 to everything, so on a 403 there is one login
(or one look at the token's reference, which may have been rotated) and one more try. What is busy or down (429, 5xx, no
connection) is asked again after a moment, a few times. No text of Vault's is repeated: the reason is a word of ours.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import hvac
import hvac.exceptions
import requests

from extproc.errors import SecretUnavailable
from extproc.model import SecretRef
from extproc.secret_managers import ANSWER_SECONDS, CONNECT_SECONDS, NoSuchSecret, VaultSettings
from extproc.secrets import SecretResolver

ATTEMPTS = 3
PAUSE_SECONDS = 0.2
_BUSY = (
    hvac.exceptions.RateLimitExceeded,
    hvac.exceptions.InternalServerError,
    hvac.exceptions.BadGateway,
    hvac.exceptions.VaultDown,
    requests.ConnectionError,
    requests.Timeout,
)


class Vault:
    """A `Manager`. `resolver` resolves what it logs in with."""

    def __init__(self, settings: VaultSettings, resolver: SecretResolver) -> None:
        self._settings = settings
        self._resolver = resolver
        # Redirects are not followed: the token would go along.
        self._client: Any = hvac.Client(
            url=settings.address,
            token="",
            namespace=settings.namespace,
            verify=settings.ca_cert or True,
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            allow_redirects=False,
        )
        self._logging_in = threading.Lock()

    def fetch(self, location: str) -> str:
        path, _, field = location.rpartition("/")
        fields = self._patiently(path)
        if not isinstance(fields, dict) or field not in fields:
            raise NoSuchSecret("the secret has no such field")
        value = fields[field]
        if not isinstance(value, str):
            raise SecretUnavailable("the field is no text")
        return value

    def _patiently(self, path: str) -> Any:
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS * attempt)
            try:
                return self._authenticated(path)
            except hvac.exceptions.InvalidPath:
                reason = "missing"
                break
            except _BUSY as error:
                reason = f"Vault is busy or away ({type(error).__name__})"
            except (hvac.exceptions.VaultError, requests.RequestException, ValueError) as error:
                reason = f"Vault refuses ({type(error).__name__})"
                break
        # Raised outside of the handler: the error in hand may carry what Vault said.
        if reason == "missing":
            raise NoSuchSecret("there is no such secret")
        raise SecretUnavailable(reason)

    def _authenticated(self, path: str) -> Any:
        token = self._client.token
        if token:
            try:
                return self._read(path)
            except hvac.exceptions.Forbidden:
                pass
        self._log_in(instead_of=token)
        return self._read(path)

    def _log_in(self, instead_of: str) -> None:
        """Get another token, unless another thread just did."""
        with self._logging_in:
            if self._client.token != instead_of:
                return
            settings = self._settings
            mount = {"mount_point": settings.auth_mount} if settings.auth_mount else {}
            if settings.role_id is not None:
                secret_id = self._told(settings.secret_id) if settings.secret_id else None
                self._client.auth.approle.login(role_id=self._told(settings.role_id), secret_id=secret_id, **mount)
            elif settings.kubernetes_role:
                jwt = self._told(SecretRef("file", settings.kubernetes_jwt))
                self._client.auth.kubernetes.login(role=settings.kubernetes_role, jwt=jwt, **mount)
            elif settings.token is not None:
                self._client.token = self._told(settings.token)
            else:
                raise SecretUnavailable("no way to log in to Vault is configured")

    def _told(self, reference: SecretRef) -> str:
        """Never from a manager: this is what the manager is asked with."""
        return self._resolver.local(reference).get_secret_value()

    def _read(self, path: str) -> Any:
        full = f"{self._settings.mount_path.strip('/')}/{path}"
        mount, version = self._mount_of(full)
        rest = full.removeprefix(mount).strip("/")
        if version == 1:
            return self._get(f"/v1/{mount}/{rest}")
        found = self._get(f"/v1/{mount}/data/{rest}")
        return found.get("data") if isinstance(found, dict) else None

    def _mount_of(self, full: str) -> tuple[str, int]:
        """Where the engine of a path is mounted, and its version, as Vault's own command asks for it."""
        usual = full.partition("/")[0]
        if self._settings.kv_version is not None:
            return usual, self._settings.kv_version
        try:
            found = self._get(f"/v1/sys/internal/ui/mounts/{full}")
        except (hvac.exceptions.Forbidden, hvac.exceptions.InvalidPath):
            return usual, 2
        options = found.get("options") or {}
        return str(found["path"]).strip("/"), 2 if str(options.get("version")) == "2" else 1

    def _get(self, url: str) -> Any:
        answer = self._client.adapter.get(url)
        if not isinstance(answer, dict) or "data" not in answer:
            raise hvac.exceptions.VaultError("no data")
        return answer["data"]
