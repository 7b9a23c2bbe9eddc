"""Single sign-on as the file and LiteLLM's variables say it; what would let in too many is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.errors import ConfigError
from extproc.model import SecretRef

SEED = Path(__file__).parents[1] / "gateway" / "seed" / "sso.yaml"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch):
    for name in ("ALLOWED_EMAIL_DOMAINS", "PROXY_BASE_URL", "MICROSOFT_TENANT", "GENERIC_SCOPE"):
        monkeypatch.delenv(name, raising=False)
    for kind in ("GOOGLE", "MICROSOFT", "GENERIC"):
        monkeypatch.delenv(f"{kind}_CLIENT_ID", raising=False)


def rows(*told: str, further: str = "") -> str:
    return "general_settings:\n  sso_providers:\n" + "".join(f"    - {{{row}}}\n" for row in told) + further


def test_the_runbooks_block_means_google_and_two_domains(load):
    found = load(SEED.read_text(), strict=True)

    assert found.unsupported == ()
    (provider,) = found.sso.providers
    assert (provider.name, provider.issuer) == ("google", "https://accounts.google.com")
    assert provider.allowed_domains == ("company.com", "subsidiary.com")
    assert provider.client_id == SecretRef("env", "GOOGLE_CLIENT_ID")
    assert provider.client_secret == SecretRef("env", "GOOGLE_CLIENT_SECRET")
    assert {provider.client_id, provider.client_secret} <= {*found.references}


def test_each_kind_has_its_issuer_and_its_variables(load):
    found = load(
        rows(
            f"provider: microsoft, tenant: {TENANT.upper()}, allowed_domains: [Company.com]",
            "provider: oidc, name: keycloak, issuer: 'https://id.company.com/realms/a', allowed_domains: ['*'], "
            "scopes: [email, groups], role_mappings: {group_claim: groups, default_role: internal_user_viewer, "
            "roles: {proxy_admin: [admins]}}",
            further="  proxy_base_url: https://llm.company.com/\n  sso_session_duration: 8h\n"
            "  ui_access_mode: admin_only\nlitellm_settings:\n  default_internal_user_params: "
            "{user_role: internal_user_viewer, max_budget: 1.5, budget_duration: 30d, models: [a]}\n",
        ),
        strict=True,
    ).sso

    microsoft, generic = found.providers
    assert microsoft.issuer == f"https://login.microsoftonline.com/{TENANT}/v2.0"
    assert (microsoft.allowed_domains, microsoft.client_id) == (
        ("company.com",),
        SecretRef("env", "MICROSOFT_CLIENT_ID"),
    )
    assert (generic.name, generic.kind, generic.scopes) == ("keycloak", "generic", ("openid", "email", "groups"))
    assert (generic.role_claim, generic.roles) == ("groups", (("proxy_admin", ("admins",)),))
    assert (found.base_url, found.session_duration, found.admins_only) == ("https://llm.company.com", "8h", True)
    assert found.newcomers == {
        "user_role": "internal_user_viewer", "max_budget": "1.5", "budget_duration": "30d", "models": ["a"],
    }  # fmt: skip


def test_litellms_variables_count_where_the_file_is_silent(load, monkeypatch):
    monkeypatch.setenv("ALLOWED_EMAIL_DOMAINS", "company.com, Subsidiary.com")
    monkeypatch.setenv("GOOGLE_CLIENT_ID", "x")
    monkeypatch.setenv("MICROSOFT_CLIENT_ID", "x")
    monkeypatch.setenv("MICROSOFT_TENANT", TENANT)
    monkeypatch.setenv("PROXY_BASE_URL", "https://llm.company.com")

    found = load("general_settings: {ui_access_mode: sso}\n").sso

    assert [provider.name for provider in found.providers] == ["google", "microsoft"]
    assert found.providers[1].allowed_domains == ("company.com", "subsidiary.com")
    assert found.base_url == "https://llm.company.com"


def test_a_variable_alone_lets_nobody_in(load, monkeypatch):
    monkeypatch.setenv("ALLOWED_EMAIL_DOMAINS", "company.com")
    monkeypatch.setenv("GOOGLE_CLIENT_ID", "x")

    assert load("general_settings: {}\n").sso is None


GENERIC = "provider: generic, issuer: 'https://id.company.com', allowed_domains: [company.com]"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("general_settings: {ui_access_mode: sso}\n", "1:36: ui_access_mode: sso needs sso_providers"),
        (rows("provider: google"), "3:7: allowed_domains is missing: name the domains of the addresses"),
        (rows("provider: google, allowed_domains: []"), "3:43: allowed_domains is missing"),
        (rows("provider: google, allowed_domains: ['*']"), "everybody has an account of Google's"),
        (
            rows("provider: google, allowed_domains: ['@company.com']"),
            "'@company.com' is no domain such as company.com",
        ),
        (rows("provider: google, tenant: x, allowed_domains: [a.com]"), "tenant is nothing of the provider google"),
        (rows("provider: google, issuer: x, allowed_domains: [a.com]"), "issuer is nothing of the provider google"),
        (rows("provider: microsoft, allowed_domains: [a.com]"), "tenant must be the id of your tenant"),
        (rows("provider: microsoft, tenant: common, allowed_domains: [a.com]"), "3:37: tenant must be the id"),
        (rows("provider: generic, allowed_domains: [a.com]"), "3:7: issuer must be the https:// address"),
        (rows("provider: generic, issuer: 'http://id.a.com', allowed_domains: [a.com]"), "issuer must be the https://"),
        (rows("provider: generic, issuer: 'https://a.com?b', allowed_domains: [a.com]"), "issuer must be the https://"),
        (rows(GENERIC + ", scopes: ['a b']"), "a scope is a word without spaces"),
        (rows(GENERIC, GENERIC), "4:7: two providers are called 'generic'"),
        (rows(GENERIC + ", client_secret: $SECRET"), "client_secret looks like a reference, but is none"),
        (rows(GENERIC, further="  proxy_base_url: http://llm.company.com\n"), "4:19: proxy_base_url"),
        (rows(GENERIC, further="  sso_session_duration: soon\n"), "4:25: sso_session_duration is a duration"),
        (rows(GENERIC, further="  sso_session_duration: 31d\n"), "of at most 30 days"),
        (rows("provider: facebook, allowed_domains: [a.com]"), "3:18: general_settings.sso_providers"),
        ("litellm_settings: {default_internal_user_params: {budget_duration: x}}\n", "budget_duration is a duration"),
        ("litellm_settings: {default_internal_user_params: {user_role: king}}\n", "user_role"),
    ],
    ids=lambda value: value[-40:],
)
def test_what_cannot_be_meant_is_told_with_its_place(load, text, line):
    with pytest.raises(ConfigError) as told:
        load(text)

    assert line in str(told.value)
    assert len(str(told.value).splitlines()) == 1
