"""`general_settings.sso_providers`: which identity providers people log in with.

Where a row is silent, LiteLLM's variables count (`GOOGLE_CLIENT_ID`, `MICROSOFT_TENANT`, `ALLOWED_EMAIL_DOMAINS`, …).
With `ui_access_mode: sso` and no row at all, they make a row for Google or Microsoft. A variable that happens to be set
lets nobody in by itself. Domains must be named: who forgets them must not let in whoever has an address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from extproc.model import SecretRef
from extproc.policy import windows
from extproc.policy.sso import ANY_DOMAIN, GENERIC, GOOGLE, MICROSOFT, IdentityProvider, SingleSignOn, is_safe
from extproc.settings.deployments import Rows
from extproc.settings.document import Document, Place
from extproc.settings.schema import Configuration
from extproc.settings.schema_sso import SsoProvider

_SECTION = "general_settings"
_ROWS = (_SECTION, "sso_providers")
_MODE = (_SECTION, "ui_access_mode")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_TENANT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: RFC 6749 §3.3.
_SCOPE = re.compile(r"[!#-\[\]-~]+")
_SCOPES = ("openid", "email", "profile")
_GOOGLE_ISSUER = "https://accounts.google.com"
_LONGEST_MS = 30 * 86_400_000


def of(file: Configuration, rows: Rows) -> SingleSignOn | None:
    """Single sign-on as the file has it, `None` without. What cannot be meant is told by `mistakes`. Raises
    `ConfigError` for a secret that cannot be one."""
    general = file.general_settings
    providers = tuple(_provider(place, row, rows) for place, row in _given(file))
    if not providers:
        return None
    defaults = file.litellm_settings.default_internal_user_params
    return SingleSignOn(
        providers=providers,
        base_url=_base_url(file),
        session_duration=general.sso_session_duration or "24h",
        admins_only=general.ui_access_mode == "admin_only",
        newcomers=defaults.model_dump(mode="json", include={*type(defaults).model_fields}, exclude_none=True),
    )


def mistakes(file: Configuration, found: Document) -> Iterator[str]:
    """What has the right type and cannot be meant: one line for each."""
    rows = _given(file)
    if not rows and file.general_settings.ui_access_mode == "sso":
        yield f"{found.at_value(_MODE)}: ui_access_mode: sso needs sso_providers"
    if _base_url(file) and not _is_address(_base_url(file)):
        where = found.at_value((_SECTION, "proxy_base_url"))
        yield f"{where}: proxy_base_url (or PROXY_BASE_URL) must be the gateway's https:// address, without a query"
    yield from _mistaken_durations(file, found)
    names: set[str] = set()
    for place, row in rows:
        yield from (f"{found.at_value((*place, *where))}: {told}" for where, told in _mistaken(row))
        if _name(row) in names:
            yield f"{found.at_value(place)}: two providers are called {_name(row)!r}: give one a name of its own"
        names.add(_name(row))


def _given(file: Configuration) -> list[tuple[Place, SsoProvider]]:
    """Each row and where it stands."""
    general = file.general_settings
    if general.sso_providers is not None:
        return [((*_ROWS, index), row) for index, row in enumerate(general.sso_providers)]
    if general.ui_access_mode != "sso":
        return []
    kinds = [kind for kind in (GOOGLE, MICROSOFT) if os.environ.get(f"{kind.upper()}_CLIENT_ID")]
    return [(_MODE, SsoProvider.model_validate({"provider": kind})) for kind in kinds]


def _provider(place: Place, row: SsoProvider, rows: Rows) -> IdentityProvider:
    kind, mapped = _kind(row), row.role_mappings
    told: dict[str, Any] = {}
    for name in ("client_id", "client_secret"):
        usual = SecretRef("env", f"{kind.upper()}_{name.upper()}")
        told[name] = rows.secret(getattr(row, name), (*place, name)) or usual
    if mapped is not None:
        told["role_claim"], told["default_role"] = mapped.group_claim, mapped.default_role
        told["roles"] = tuple((role, tuple(values)) for role, values in mapped.roles.items())
    return IdentityProvider(
        name=_name(row),
        kind=kind,
        issuer=_issuer(row),
        allowed_domains=_domains(row),
        scopes=tuple(dict.fromkeys(["openid", *_scopes(row)])),
        **told,
    )


def _mistaken(row: SsoProvider) -> Iterator[tuple[Place, str]]:
    """Where in a row, and what."""
    kind = _kind(row)
    yield from _mistaken_domains(row)
    if kind == MICROSOFT and not _TENANT.fullmatch(_tenant(row)):
        # `common` and its like let in every company's people, and every company says which addresses those have.
        yield ("tenant",), "tenant must be the id of your tenant, such as 72f988bf-86f1-41af-91ab-2d7cd011db47"
    if kind == GENERIC and not _is_address(row.issuer):
        yield ("issuer",), "issuer must be the https:// address of the provider, as its discovery document says it"
    for name, of_kind in (("tenant", MICROSOFT), ("issuer", GENERIC)):
        if getattr(row, name) is not None and kind != of_kind:
            yield (name,), f"{name} is nothing of the provider {row.provider}"
    if not all(_SCOPE.fullmatch(scope) for scope in _scopes(row)):
        yield ("scopes",), "a scope is a word without spaces"


def _mistaken_domains(row: SsoProvider) -> Iterator[tuple[Place, str]]:
    if not _domains(row):
        yield ("allowed_domains",), "allowed_domains is missing: name the domains of the addresses that may log in"
    for domain in _domains(row):
        if domain == ANY_DOMAIN and _kind(row) == GOOGLE:
            yield ("allowed_domains",), "allowed_domains: everybody has an account of Google's, so name domains"
        elif domain != ANY_DOMAIN and not _DOMAIN.fullmatch(domain):
            yield ("allowed_domains",), f"allowed_domains: {domain!r} is no domain such as company.com"


def _mistaken_durations(file: Configuration, found: Document) -> Iterator[str]:
    session = file.general_settings.sso_session_duration
    if session is not None and not 0 < _length(session) <= _LONGEST_MS:
        where = found.at_value((_SECTION, "sso_session_duration"))
        yield f"{where}: sso_session_duration is a duration such as 24h, of at most 30 days"
    budget = file.litellm_settings.default_internal_user_params.budget_duration
    if budget is not None and not _length(budget):
        where = found.at_value(("litellm_settings", "default_internal_user_params", "budget_duration"))
        yield f"{where}: budget_duration is a duration such as 30d"


def _length(text: str) -> int:
    """Milliseconds; 0 for what is no duration."""
    try:
        return windows.expiry(windows.parse(text), 0)
    except ValueError:
        return 0


def _kind(row: SsoProvider) -> str:
    return GENERIC if row.provider == "oidc" else row.provider


def _name(row: SsoProvider) -> str:
    return row.name or row.provider


def _tenant(row: SsoProvider) -> str:
    return (row.tenant or os.environ.get("MICROSOFT_TENANT", "")).lower()


def _issuer(row: SsoProvider) -> str:
    if _kind(row) == GOOGLE:
        return _GOOGLE_ISSUER
    if _kind(row) == MICROSOFT:
        return f"https://login.microsoftonline.com/{_tenant(row)}/v2.0"
    return row.issuer or ""


def _scopes(row: SsoProvider) -> list[str]:
    if row.scopes is not None:
        return row.scopes
    usual = os.environ.get("GENERIC_SCOPE", "").split() if _kind(row) == GENERIC else []
    return usual or [*_SCOPES]


def _domains(row: SsoProvider) -> tuple[str, ...]:
    told = row.allowed_domains
    if told is None:
        told = os.environ.get("ALLOWED_EMAIL_DOMAINS", "").split(",")
    return tuple(dict.fromkeys(domain.strip().lower() for domain in told if domain.strip()))


def _base_url(file: Configuration) -> str | None:
    told = file.general_settings.proxy_base_url or os.environ.get("PROXY_BASE_URL") or None
    return told.rstrip("/") if told else None


def _is_address(url: str | None) -> bool:
    return is_safe(url) and "?" not in str(url)
