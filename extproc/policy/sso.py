"""Single sign-on: who may log in, as whom, and with which role.

An identity provider says who somebody is; the claims that come here have been verified already (signature, issuer,
audience, times, nonce: `identity_providers.id_tokens`). Decided here is what they are worth. An e-mail address counts
where the provider vouches for it, and its domain must be one of those that the operator named.

* Google: `email_verified`, and `hd`, for Google speaks for an address of a company only as that company's host
  (https://developers.google.com/identity/openid-connect/openid-connect, "hd").
* Microsoft has no `email_verified`, and `email` may be whatever somebody wrote there. It is `proven` by `xms_edov` only
  (https://learn.microsoft.com/entra/identity-platform/migrate-off-email-claim-authorization). Else the user name of a
  member of the one configured tenant counts, whose domains the tenant has proven; guests are refused.
* Any other: `email_verified`, which must be `true`.

An account is found by the provider's own id of the person, else by the address. An address that is not proven opens no
account that may do more than an internal user. A role is given to new accounts only: logging in raises nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec

from extproc.model import SecretRef, User

GOOGLE, MICROSOFT, GENERIC = "google", "microsoft", "generic"
#: Of `allowed_domains`: whomever the provider knows.
ANY_DOMAIN = "*"
#: Google speaks for these addresses without being anybody's host.
_GOOGLES_OWN = frozenset({"gmail.com"})
_ADDRESS = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9])"
)
#: OpenID Connect Core 1.0 §2: a `sub` has at most 255 ASCII characters.
_SUBJECT = re.compile(r"[ -~]{1,255}")
_MOST_ADDRESS = 254
#: From the most to the least that somebody may do; what a mapping may give.
ROLES = ("proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer")
#: Hosts that plain HTTP is good enough for: what is said to them does not leave the machine.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ADMINS = frozenset(ROLES[:2])
_PLAIN = frozenset({"internal_user", "internal_user_viewer", "customer", None})


def is_safe(url: object) -> bool:
    """Whether secrets may be sent there: HTTPS, or the loopback; no user, no fragment."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    trusted = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    return trusted and bool(host) and port != 0 and "@" not in parts.netloc and not parts.fragment and " " not in url


class Reason(StrEnum):
    """Why nobody is logged in. A closed set, for metrics and for the table of what clients are told."""

    NOT_CONFIGURED = "sso_not_configured"
    UNKNOWN_PROVIDER = "sso_unknown_provider"
    CHOOSE_PROVIDER = "sso_choose_provider"
    BAD_REQUEST = "sso_bad_request"
    NO_ATTEMPT = "sso_no_attempt"
    WRONG_STATE = "sso_wrong_state"
    EXPIRED = "sso_expired"
    REPLAYED = "sso_replayed"
    DECLINED = "sso_declined"
    CODE_REFUSED = "sso_code_refused"
    BAD_TOKEN = "sso_bad_token"  # noqa: S105 - a reason
    NO_ADDRESS = "sso_no_address"
    UNVERIFIED_ADDRESS = "sso_unverified_address"
    WRONG_DOMAIN = "sso_wrong_domain"
    GUEST = "sso_guest"
    AMBIGUOUS_ACCOUNT = "sso_ambiguous_account"
    LINKED_ELSEWHERE = "sso_linked_elsewhere"
    USER_BLOCKED = "sso_user_blocked"
    USER_GONE = "sso_user_gone"
    ADMINS_ONLY = "sso_admins_only"
    NOT_AVAILABLE = "sso_not_available"
    PROVIDER_DOWN = "sso_provider_down"
    PROVIDER_ANSWER = "sso_provider_answer"


class IdentityProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `sso_providers`. `allowed_domains` are in lower case. `roles` gives the values of `role_claim` that mean
    a role."""

    name: str
    kind: str
    issuer: str
    client_id: SecretRef
    client_secret: SecretRef
    allowed_domains: tuple[str, ...]
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    role_claim: str = ""
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    default_role: str | None = None


class SingleSignOn(msgspec.Struct, frozen=True, kw_only=True):
    """How people log in. `base_url` is where their browsers reach the gateway, `None` for this machine only.

    `session_duration` is how long the key of a login is valid, `newcomers` what a new account has, in LiteLLM's words.
    """

    providers: tuple[IdentityProvider, ...]
    base_url: str | None = None
    session_duration: str = "24h"
    admins_only: bool = False
    newcomers: dict[str, Any] = {}


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is. `email` is in lower case; `proven` is whether the provider vouches for it."""

    provider: str
    issuer: str
    subject: str
    email: str
    proven: bool
    role: str | None = None

    @property
    def id(self) -> str:
        """The person, whatever else is called so elsewhere: a `sub` is the issuer's own."""
        return f"{self.issuer}|{self.subject}"


def identify(provider: IdentityProvider, claims: Mapping[str, Any]) -> Identity | Reason:
    """Who the claims of a verified ID token tell of, if they may log in."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        return Reason.BAD_TOKEN
    found = _of_microsoft(claims) if provider.kind == MICROSOFT else _of_any(claims)
    if isinstance(found, Reason):
        return found
    email, proven = found
    domain = _domain(email)
    if not domain:
        return Reason.NO_ADDRESS
    if not _may(provider, domain, claims):
        return Reason.WRONG_DOMAIN
    return Identity(
        provider=provider.name,
        issuer=provider.issuer,
        subject=subject,
        email=email,
        proven=proven,
        role=role_of(provider, claims),
    )


def role_of(provider: IdentityProvider, claims: Mapping[str, Any]) -> str | None:
    """The most that one of the person's groups gives; `default_role` where none gives anything."""
    told = claims.get(provider.role_claim) if provider.role_claim else None
    groups = {each for each in (told if isinstance(told, list) else [told]) if isinstance(each, str)}
    given = {role for role, values in provider.roles if groups.intersection(values)}
    return next((role for role in ROLES if role in given), provider.default_role)


def account(identity: Identity, linked: Sequence[User], namesakes: Sequence[User]) -> User | Reason | None:
    """The account that an identity opens, `None` where there is none yet.

    `linked` are accounts that keep this identity, `namesakes` those that have its address.
    """
    found = linked or namesakes
    if not found:
        return None
    if len(found) > 1:
        return Reason.AMBIGUOUS_ACCOUNT
    [user] = found
    if not linked and user.sso_user_id:
        # The address was somebody else's once, or is known to another provider.
        return Reason.LINKED_ELSEWHERE
    if not linked and not identity.proven and user.role not in _PLAIN:
        return Reason.UNVERIFIED_ADDRESS
    return Reason.USER_BLOCKED if user.blocked else user


def names(identity: Identity, providers: Sequence[IdentityProvider]) -> tuple[str, ...]:
    """What an account may have as `sso_user_id`. LiteLLM keeps the bare `sub`, which is nobody's but where there is one
    issuer only."""
    issuers = {provider.issuer for provider in providers}
    return (identity.id, identity.subject) if issuers == {identity.issuer} else (identity.id,)


def may_enter(role: str | None, *, admins_only: bool) -> bool:
    """Whether an account of this role may log in."""
    return not admins_only or role in _ADMINS


def _of_microsoft(claims: Mapping[str, Any]) -> tuple[str, bool] | Reason:
    """Guests are of another issuer (`idp`), or are told apart by `acct` (optional claims of ID tokens)."""
    if claims.get("acct") in (1, "1") or claims.get("idp") not in (None, claims.get("iss")):
        return Reason.GUEST
    email = claims.get("email")
    if isinstance(email, str) and claims.get("xms_edov") in (True, 1, "1", "true"):
        return email.lower(), True
    name = claims.get("preferred_username")
    if not isinstance(name, str):
        return Reason.UNVERIFIED_ADDRESS
    return Reason.GUEST if "#ext#" in name.lower() else (name.lower(), False)


def _of_any(claims: Mapping[str, Any]) -> tuple[str, bool] | Reason:
    email = claims.get("email")
    if not isinstance(email, str):
        return Reason.NO_ADDRESS
    return (email.lower(), True) if claims.get("email_verified") is True else Reason.UNVERIFIED_ADDRESS


def _domain(email: str) -> str:
    """Of ASCII only: letters that look or fold alike are other letters."""
    found = _ADDRESS.fullmatch(email) if len(email) <= _MOST_ADDRESS else None
    return found.group(1) if found else ""


def _may(provider: IdentityProvider, domain: str, claims: Mapping[str, Any]) -> bool:
    if provider.kind == GOOGLE and domain not in _GOOGLES_OWN:
        host = claims.get("hd")
        if not isinstance(host, str) or host.lower() not in provider.allowed_domains:
            return False
    return ANY_DOMAIN in provider.allowed_domains or domain in provider.allowed_domains
