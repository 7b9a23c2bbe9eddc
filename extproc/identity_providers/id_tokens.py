"""An ID token, verified: OpenID Connect Core 1.0 §3.1.3.7.

joserfc verifies the signature and the registered claims. Only asymmetric algorithms count, whatever the token says:
with `none` nothing is signed, and with HS256 anybody can sign who knows the provider's *public* key.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from extproc.errors import LoginFailed
from extproc.model import UnixMs
from extproc.policy.sso import Reason

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
#: How far the provider's clock may be from ours.
LEEWAY_SECONDS = 60
#: A token is made when the code is exchanged: an older one is none of this login.
MOST_SECONDS = 600
MAX_TOKEN_LENGTH = 64 * 1024
_registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)


async def verified(
    token: object,
    key_of: Callable[[str | None], Awaitable[Key | None]],
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    now: UnixMs,
) -> dict[str, Any]:
    """The claims of a token that this issuer made for this client and this login. Raises `LoginFailed`."""
    if not isinstance(token, str) or not token.isascii() or len(token) > MAX_TOKEN_LENGTH:
        raise LoginFailed(Reason.BAD_TOKEN)
    algorithm, kid = _header(token)
    key = await key_of(kid) if algorithm in ALGORITHMS else None
    if key is None:
        raise LoginFailed(Reason.BAD_TOKEN)
    seconds = now // 1_000
    rules = jwt.JWTClaimsRegistry(
        now=seconds,
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True},
    )
    try:
        claims = jwt.decode(token, key, registry=_registry).claims
        rules.validate(claims)
    except (JoseError, ValueError, TypeError, RecursionError):
        # Raised outside of the handler: the error in hand may carry the token.
        claims = {}
    if not claims or not _ours(claims, client_id, nonce) or claims["iat"] < seconds - MOST_SECONDS:
        raise LoginFailed(Reason.BAD_TOKEN)
    return dict(claims)


def _ours(claims: dict[str, Any], client_id: str, nonce: str) -> bool:
    """For no other client beside us, unless it says that it was made for us; and for this very login."""
    told, audience = claims.get("azp"), claims["aud"]
    several = isinstance(audience, list) and len(audience) > 1
    if told != client_id and (told is not None or several):
        return False
    return hmac.compare_digest(str(claims["nonce"]).encode(errors="replace"), nonce.encode())


def _header(token: str) -> tuple[str, str | None]:
    """The algorithm and the key that a token names; nothing is believed of it yet."""
    first, found = token.partition(".")[0], None
    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
        found = msgspec.json.decode(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    if not isinstance(found, dict) or not isinstance(found.get("alg"), str):
        raise LoginFailed(Reason.BAD_TOKEN)
    kid = found.get("kid")
    return found["alg"], kid if isinstance(kid, str) else None
