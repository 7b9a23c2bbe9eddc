"""Where an issuer's endpoints are, and its keys: OpenID Connect Discovery 1.0, kept for an hour.

Of many who ask at once one asks the issuer. One that does not answer is left alone for some seconds, so that a crowd
cannot make this process ask without end. Keys rotate: a token with a key that is not known makes it look again, at most
twice a minute, for anybody can write a name of a key into a token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from extproc.errors import LoginFailed
from extproc.identity_providers.asking import Asking
from extproc.policy.sso import LOOPBACK, Reason, is_safe

KEEP_SECONDS = 3_600.0
#: Between two looks for a key that is not known.
LOOK_AGAIN_SECONDS = 30.0
LEAVE_ALONE_SECONDS = 3.0
_MOST_KEYS = 100
_KINDS: dict[Any, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class Metadata(msgspec.Struct, frozen=True):
    """What is needed of an issuer's configuration."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Discovery:
    """What one issuer says of itself. `clock` tells seconds that only go forward. Methods raise `LoginFailed`."""

    def __init__(self, issuer: str, asking: Asking, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._asking = asking
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._keys: dict[str, Key] = {}
        self._keys_at: float | None = None
        self._looked_at: float | None = None
        self._failed: tuple[float, str] | None = None

    async def metadata(self) -> Metadata:
        """The issuer's configuration."""
        async with self._lock:
            if self._metadata is None or self._clock() - self._metadata_at > KEEP_SECONDS:
                url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
                self._metadata = _checked(await self._ask(url), self._issuer)
                self._metadata_at = self._clock()
            return self._metadata

    async def key(self, kid: str | None) -> Key | None:
        """The key of this name; of a token that names none, the only one. `None` where there is no such key."""
        metadata = await self.metadata()
        async with self._lock:
            if self._keys_at is None or self._clock() - self._keys_at > KEEP_SECONDS:
                await self._load(metadata)
            if self._named(kid) is None and self._may_look():
                self._looked_at = self._clock()
                await self._load(metadata)
            return self._named(kid)

    def _named(self, kid: str | None) -> Key | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _may_look(self) -> bool:
        return self._looked_at is None or self._clock() - self._looked_at > LOOK_AGAIN_SECONDS

    async def _load(self, metadata: Metadata) -> None:
        found = (await self._ask(metadata.jwks_uri)).get("keys")
        if not isinstance(found, list):
            raise LoginFailed(Reason.PROVIDER_ANSWER)
        keys = (_key(each) for each in found[:_MOST_KEYS])
        self._keys = {str(key.kid or ""): key for key in keys if key is not None}
        self._keys_at = self._clock()

    async def _ask(self, url: str) -> dict[str, Any]:
        if self._failed is not None and self._clock() - self._failed[0] < LEAVE_ALONE_SECONDS:
            raise LoginFailed(self._failed[1])
        try:
            found = await self._asking.get(url)
        except LoginFailed as error:
            self._failed = (self._clock(), error.reason)
            raise
        self._failed = None
        return found


def _checked(found: dict[str, Any], issuer: str) -> Metadata:
    """The issuer must be the one that was asked for (§4.3), or one could speak for another. One that is
    elsewhere has no endpoint on this machine."""
    try:
        metadata = msgspec.convert(found, Metadata)
    except msgspec.ValidationError:
        raise LoginFailed(Reason.PROVIDER_ANSWER) from None
    urls = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri)
    if metadata.issuer != issuer or not all(map(is_safe, urls)):
        raise LoginFailed(Reason.PROVIDER_ANSWER)
    if not _is_here(issuer) and any(map(_is_here, urls)):
        raise LoginFailed(Reason.PROVIDER_ANSWER)
    return metadata


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def _key(found: Any) -> Key | None:
    """A public key for signatures; what is another, or none that is understood, is left out."""
    if not isinstance(found, dict) or found.get("use", "sig") != "sig":
        return None
    kind = _KINDS.get(found.get("kty") if isinstance(found.get("kty"), str) else None)
    if kind is None:
        return None
    try:
        return kind.import_key(found)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
