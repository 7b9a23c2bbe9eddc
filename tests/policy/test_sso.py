"""Who may log in, as whom, and with which role."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.model import SecretRef, User
from extproc.policy import sso
from extproc.policy.sso import GENERIC, GOOGLE, MICROSOFT, Identity, IdentityProvider, Reason

CLAIMS = {"sub": "person-1", "email": "Ada@Company.com", "email_verified": True}
TENANT = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0"


def provider(kind: str = GENERIC, **changes: Any) -> IdentityProvider:
    reference = SecretRef("env", "X")
    told: dict[str, Any] = {
        "name": kind, "kind": kind, "issuer": "https://idp.example", "client_id": reference,
        "client_secret": reference, "allowed_domains": ("company.com", "subsidiary.com"),
    }  # fmt: skip
    return IdentityProvider(**{**told, **changes})


def identity(**changes: Any) -> Identity:
    told = {"provider": "x", "issuer": "https://idp.example", "subject": "1", "email": "a@company.com", "proven": True}
    return Identity(**{**told, **changes})


def identified(kind: str, **claims: Any) -> Identity | Reason:
    return sso.identify(provider(kind), {**CLAIMS, **claims})


def test_a_person_is_known_by_the_issuers_own_id_and_an_address_in_lower_case():
    found = identified(GENERIC)

    assert isinstance(found, Identity)
    assert (found.id, found.email, found.proven) == ("https://idp.example|person-1", "ada@company.com", True)


@pytest.mark.parametrize("sub", [None, "", 7, "a" * 256, "a\nb", "é"])
def test_without_an_id_of_the_issuers_nobody_is_known(sub):
    assert identified(GENERIC, sub=sub) is Reason.BAD_TOKEN


@pytest.mark.parametrize("verified", [None, False, "true", 1, "yes"])
def test_an_address_counts_only_where_the_provider_vouches_for_it(verified):
    assert identified(GENERIC, email_verified=verified) is Reason.UNVERIFIED_ADDRESS


@pytest.mark.parametrize(
    "email",
    [
        *(None, 7, "", "ada", "ada@", "@company.com", "ada@company.com\n", "ada @company.com", "a@b@company.com"),
        *("<ada>@company.com", '"ada"@company.com', f"{'a' * 65}@company.com", "ada@company.com,eve@company.com"),
        # Letters that fold into those of the domain: the long s, and the sign of Kelvin.
        *("ada@\u017fubsidiary.com", "ada@company.com\u0000", f"ada@{'a.' * 130}com"),
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_none(email):
    assert identified(GENERIC, email=email) is Reason.NO_ADDRESS


@pytest.mark.parametrize(
    ("email", "may"),
    [
        ("a@company.com", True), ("a@SUBSIDIARY.com", True), ("a@sub.company.com", False), ("a@xcompany.com", False),
        ("a@company.com.evil.com", False), ("a@evil.com", False),
    ],
)  # fmt: skip
def test_a_domain_is_one_of_those_that_are_named_and_no_other(email, may):
    assert (identified(GENERIC, email=email) is not Reason.WRONG_DOMAIN) is may


def test_whoever_the_provider_knows_may_come_where_that_is_said():
    found = sso.identify(provider(allowed_domains=("*",)), {**CLAIMS, "email": "a@elsewhere.example"})

    assert isinstance(found, Identity)


@pytest.mark.parametrize(
    ("hd", "domains", "email", "may"),
    [
        ("company.com", ("company.com",), "a@company.com", True),
        ("Company.com", ("company.com", "subsidiary.com"), "a@subsidiary.com", True),
        (None, ("company.com",), "a@company.com", False),
        (7, ("company.com",), "a@company.com", False),
        ("elsewhere.com", ("company.com",), "a@company.com", False),
        ("company.com", ("company.com",), "a@elsewhere.com", False),
        (None, ("gmail.com",), "a@gmail.com", True),
    ],
)
def test_google_speaks_for_addresses_as_a_companys_host_or_for_its_own(hd, domains, email, may):
    claims = {**CLAIMS, "email": email, **({} if hd is None else {"hd": hd})}
    found = sso.identify(provider(GOOGLE, allowed_domains=domains), claims)

    assert isinstance(found, Identity) is may
    assert may or found is Reason.WRONG_DOMAIN


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"email": "a@company.com", "xms_edov": True}, ("a@company.com", True)),
        ({"email": "a@company.com", "xms_edov": "1"}, ("a@company.com", True)),
        ({"email": "b@company.com", "preferred_username": "A@company.com"}, ("a@company.com", False)),
        ({"email": "b@company.com", "xms_edov": 0, "preferred_username": "a@company.com"}, ("a@company.com", False)),
        ({"preferred_username": "a@company.com", "idp": TENANT, "iss": TENANT}, ("a@company.com", False)),
        ({"email": "a@company.com", "email_verified": True}, Reason.UNVERIFIED_ADDRESS),
        ({"preferred_username": "a_x.com#EXT#@company.com"}, Reason.GUEST),
        ({"preferred_username": "a@company.com", "acct": 1}, Reason.GUEST),
        ({"preferred_username": "a@company.com", "acct": "1"}, Reason.GUEST),
        ({"email": "a@company.com", "xms_edov": True, "idp": "live.com", "iss": TENANT}, Reason.GUEST),
        ({"preferred_username": "a@company.com", "idp": ["x"]}, Reason.GUEST),
        ({"preferred_username": "+4930123456"}, Reason.NO_ADDRESS),
    ],
    ids=str,
)
def test_microsofts_claims_are_worth_what_its_documentation_says(claims, expected):
    found = sso.identify(provider(MICROSOFT), {"sub": "1", **claims})

    assert ((found.email, found.proven) if isinstance(found, Identity) else found) == expected


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["staff"], "internal_user"), (["staff", "admins"], "proxy_admin"), ("admins", "proxy_admin"),
        ([], "internal_user_viewer"), (None, "internal_user_viewer"), ([["admins"], 7], "internal_user_viewer"),
    ],
)  # fmt: skip
def test_the_most_that_a_group_gives_is_the_role(groups, role):
    mapped = provider(
        role_claim="groups",
        roles=(("internal_user", ("staff",)), ("proxy_admin", ("admins", "owners"))),
        default_role="internal_user_viewer",
    )

    assert sso.role_of(mapped, {"groups": groups}) == role


def test_without_a_claim_for_it_no_role_is_told():
    assert sso.role_of(provider(), {"": "admins"}) is None


def test_nobodys_account_is_one_to_be_made():
    assert sso.account(identity(), (), ()) is None


@pytest.mark.parametrize("role", ["internal_user", "proxy_admin", None])
def test_an_account_that_keeps_the_id_is_the_persons_whatever_its_role_and_address(role):
    user = User(id="u", role=role, sso_user_id=identity().id)

    assert sso.account(identity(proven=False), (user,), (User(id="other"),)) == user


def test_the_account_of_a_proven_address_is_the_persons():
    user = User(id="u", role="proxy_admin")

    assert sso.account(identity(), (), (user,)) == user


@pytest.mark.parametrize("role", ["proxy_admin", "proxy_admin_viewer", "org_admin", "team"])
def test_an_address_that_is_not_proven_opens_no_account_that_may_do_more(role):
    assert sso.account(identity(proven=False), (), (User(id="u", role=role),)) is Reason.UNVERIFIED_ADDRESS


@pytest.mark.parametrize("role", ["internal_user", "internal_user_viewer", "customer", None])
def test_it_opens_any_other(role):
    user = User(id="u", role=role)

    assert sso.account(identity(proven=False), (), (user,)) == user


def test_an_account_that_another_identity_has_is_not_opened_by_its_address():
    user = User(id="u", sso_user_id="https://idp.example|2")

    assert sso.account(identity(), (), (user,)) is Reason.LINKED_ELSEWHERE


@pytest.mark.parametrize("place", [0, 1])
def test_of_two_accounts_none_is_guessed(place):
    found: list[tuple[User, ...]] = [(), ()]
    found[place] = (User(id="u"), User(id="v"))

    assert sso.account(identity(), *found) is Reason.AMBIGUOUS_ACCOUNT


@pytest.mark.parametrize("place", [0, 1])
def test_a_blocked_account_is_opened_by_nobody(place):
    found: list[tuple[User, ...]] = [(), ()]
    found[place] = (User(id="u", fields={"blocked": True}),)

    assert sso.account(identity(), *found) is Reason.USER_BLOCKED


def test_the_bare_id_counts_where_one_issuer_can_have_given_it():
    one, other = provider(), provider(issuer="https://other.example")

    assert sso.names(identity(), [one]) == ("https://idp.example|1", "1")
    assert sso.names(identity(), [one, other]) == ("https://idp.example|1",)


@pytest.mark.parametrize(
    ("role", "may"),
    [("proxy_admin", True), ("proxy_admin_viewer", True), ("internal_user", False), (None, False)],
)
def test_where_only_administrators_may_enter_nobody_else_may(role, may):
    assert sso.may_enter(role, admins_only=True) is may
    assert sso.may_enter(role, admins_only=False)


@pytest.mark.parametrize(
    "url", ["https://idp.example", "https://idp.example:8443/realms/a?b=c", "http://127.0.0.1:1", "http://localhost/x"]
)
def test_secrets_go_over_tls_or_stay_on_the_machine(url):
    assert sso.is_safe(url)


@pytest.mark.parametrize(
    "url",
    [
        *(None, 7, "", "idp.example", "http://idp.example", "http://127.0.0.1.evil.example", "ftp://localhost/"),
        *("https://", "https:///x", "https://user@idp.example", "https://u:p@idp.example", "https://@idp.example"),
        *("https://idp.example#x", "https://idp.example:x", "https://idp.example:0", "https://idp.example\n"),
        *("https://idp example", "https://\u0131dp.example", "javascript:alert(1)", "https://[::1"),
    ],
)
def test_no_secret_goes_anywhere_else(url):
    assert not sso.is_safe(url)
