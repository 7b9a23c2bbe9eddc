"""What a login remembers between its requests: sealed, and kept by whoever logs in, not by a worker.

An `Attempt` is a cookie of the browser that began it; an answer of an identity provider that comes without it is
refused, for somebody else began that login. A `Grant` is the one-time code that a command line gets in place of the
key, which is handed out for the verifier only. Both are sealed with the gateway's encryption key (AES-256-GCM) and
bound to what they are for; both end soon. The store keeps that each is used once: the key that it makes has an alias
that is made of it, which no other key has, and none that was deleted.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TypeVar

import msgspec

from extproc.encryption import Keyring
from extproc.errors import LoginFailed, SecretUnavailable
from extproc.identity_providers.questions import Question
from extproc.management.parts import ManagementParts
from extproc.model import UnixMs
from extproc.policy.sso import Reason

ATTEMPT_MS, GRANT_MS = 600_000, 120_000
MAX_SEALED = 4_096
ALIAS = "sso-"


class Cli(msgspec.Struct, frozen=True):
    """A command line that waits on the loopback; `challenge` is that of its verifier (as RFC 7636)."""

    port: int
    challenge: str
    state: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A login that was begun at `provider`."""

    provider: str
    state: str
    nonce: str
    verifier: str
    expires_at: UnixMs
    cli: Cli | None = None

    def question(self, redirect_uri: str) -> Question:
        """What the identity provider is asked."""
        return Question(self.state, self.nonce, self.verifier, redirect_uri)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A login that succeeded, for the command line with the verifier of `challenge`."""

    id: str
    user_id: str
    provider: str
    challenge: str
    expires_at: UnixMs


T = TypeVar("T", Attempt, Grant)


def begun(provider: str, now: UnixMs, cli: Cli | None) -> Attempt:
    """A new attempt: each of its secrets has 256 random bits."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return Attempt(provider=provider, state=state, nonce=nonce, verifier=verifier, expires_at=now + ATTEMPT_MS, cli=cli)


def sealed(parts: ManagementParts, value: Attempt | Grant) -> str:
    """For whoever keeps it. Raises `LoginFailed`."""
    return _ring(parts).seal(msgspec.json.encode(value).decode(), _place(type(value)))


def opened(parts: ManagementParts, text: str, kind: type[T], missing: Reason) -> T:
    """What was sealed, if it is still good. Raises `LoginFailed`, with `missing` for what was not sealed here."""
    ring = _ring(parts)
    try:
        value = msgspec.json.decode(ring.open(text[:MAX_SEALED], _place(kind)), type=kind)
    except (SecretUnavailable, msgspec.MsgspecError, UnicodeError):
        raise LoginFailed(missing) from None
    if value.expires_at <= parts.now():
        raise LoginFailed(Reason.EXPIRED)
    return value


def check(parts: ManagementParts) -> None:
    """Raises `LoginFailed` where nothing can be sealed."""
    _ring(parts)


def alias(once: str) -> str:
    """The alias of the one key that a login or a grant makes; no two keys share one."""
    return ALIAS + hashlib.sha256(once.encode()).hexdigest()[:32]


def _ring(parts: ManagementParts) -> Keyring:
    try:
        ring = parts.keyring()
    except SecretUnavailable:
        ring = None
    if ring is None:
        raise LoginFailed(Reason.NOT_AVAILABLE)
    return ring


def _place(kind: type) -> str:
    return f"sso/{kind.__name__.lower()}"
