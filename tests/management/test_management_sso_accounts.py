"""Whose account a login opens, what a new one has, and what becomes of the keys of logins."""

from __future__ import annotations

import asyncio
import html
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
from management.asking import error, get, post
from management.logging_in import (
    CLI,
    RING,
    VERIFIER,
    browser,
    came_back,
    house,
    key_of,
    logged_in,
    message,
    provider,
    row,
    running,
    sent,
    users,
)

from extproc.management import sso_accounts
from extproc.management.app import create_app
from extproc.policy import sso
from extproc.policy.key_bounds import Bounds

__all__ = ["browser", "house", "provider", "running"]


async def test_an_account_is_made_once_and_every_change_of_it_is_in_the_trail(house, browser, admin):
    await key_of(browser)
    await key_of(browser)

    (user,) = await users(house)
    entries = (await get(admin, "/audit", page_size=100))["audit_logs"]
    assert {(entry["action"], entry["table_name"]) for entry in entries} == {
        ("created", "LiteLLM_UserTable"), ("created", "LiteLLM_VerificationToken"),
    }  # fmt: skip
    assert {entry["changed_by"] for entry in entries} == {user["user_id"]}


async def test_an_account_of_the_address_is_taken_with_its_role_and_known_by_its_id_from_then_on(
    house, browser, admin, provider
):
    await post(admin, "/user/new", user_id="u-1", user_email="Ada@Company.com", user_role="proxy_admin_viewer",
               auto_create_key=False)  # fmt: skip
    house.open(row(provider.issuer, role_claim="groups", roles=(("proxy_admin", ("admins",)),)))
    provider.claims = {"groups": ["admins"]}

    await key_of(browser)
    provider.claims = {"email": "ada.new@company.com"}
    await key_of(browser)

    (user,) = await users(house)
    assert (user["user_id"], user["user_role"]) == ("u-1", "proxy_admin_viewer")
    assert user["sso_user_id"] == f"{provider.issuer}|person-1"
    assert user["key_count"] == 2


async def test_who_has_the_address_of_somebody_else_from_before_does_not_get_the_account(browser, provider):
    await key_of(browser)
    provider.claims = {"sub": "person-2"}

    error(await logged_in(browser), 403, message=message(sso.Reason.LINKED_ELSEWHERE))


async def test_an_administrators_account_is_not_opened_by_a_name_that_nobody_proved(house, browser, admin, provider):
    await post(admin, "/user/new", user_email="ada@company.com", user_role="proxy_admin", auto_create_key=False)
    house.open(row(provider.issuer, kind=sso.MICROSOFT))
    provider.claims = {"preferred_username": "ada@company.com", "email": "ada@company.com"}

    error(await logged_in(browser), 403, message=message(sso.Reason.UNVERIFIED_ADDRESS))
    provider.claims = {"email": "ada@company.com", "xms_edov": True}
    await key_of(browser)


async def test_a_blocked_user_is_refused(browser, admin, house):
    await key_of(browser)
    (user,) = await users(house)
    await post(admin, "/user/block", user_id=user["user_id"])

    error(await logged_in(browser), 403, message=message(sso.Reason.USER_BLOCKED))


async def test_new_accounts_have_what_the_configuration_and_their_groups_give(house, browser, provider):
    house.open(
        row(provider.issuer, role_claim="groups", roles=(("proxy_admin_viewer", ("audit",)),)),
        newcomers={"user_role": "internal_user_viewer", "max_budget": "12.5", "models": ["gpt-4o"]},
    )
    await key_of(browser)
    provider.claims = {"sub": "person-2", "email": "bob@company.com", "groups": ["audit", "x"]}
    await key_of(browser)

    found = {user["user_email"]: user for user in await users(house)}
    assert {email: user["user_role"] for email, user in found.items()} == {
        "ada@company.com": "internal_user_viewer", "bob@company.com": "proxy_admin_viewer",
    }  # fmt: skip
    assert {(user["max_budget"], *user["models"]) for user in found.values()} == {(12.5, "gpt-4o")}


async def test_where_only_administrators_may_enter_nobody_else_does(house, browser, admin, provider):
    house.open(row(provider.issuer), admins_only=True)

    error(await logged_in(browser), 403, message=message(sso.Reason.ADMINS_ONLY))
    assert await users(house) == []
    await post(admin, "/user/new", user_email="ada@company.com", user_role="proxy_admin", auto_create_key=False)
    await key_of(browser)


async def test_two_first_logins_at_once_make_one_account(house):
    async with house.browser() as one, house.browser() as other:
        keys = await asyncio.gather(key_of(one), key_of(other))

    assert len({*keys}) == 2
    assert len(await users(house)) == 1


async def test_keys_of_logins_do_not_pile_up(house, browser, admin, monkeypatch):
    monkeypatch.setattr(sso_accounts, "MOST_KEYS", 2)
    first = await key_of(browser)
    for _ in range(2):
        house.gateway.now += 1_000
        await key_of(browser)

    assert (await get(admin, "/key/list"))["total_count"] == 2
    async with house.gateway.caller(first) as own:
        assert (await own.get("/key/info")).status_code == 401


async def test_keys_of_logins_that_have_ended_are_deleted_at_the_next_one(house, browser, admin, provider):
    await key_of(browser)
    house.gateway.now += 24 * 3_600_000
    seconds = house.gateway.now // 1_000
    provider.claims = {"iat": seconds, "exp": seconds + 300}
    await key_of(browser)

    assert (await get(admin, "/key/list"))["total_count"] == 1


def worker(house) -> httpx.AsyncClient:
    """A browser at another worker of the same gateway: it has an application of its own, and the same store."""
    app = create_app(house.gateway.app.state.parts)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url=str(house.opened[-1].settings.base_url), timeout=30
    )


def code_of(page: httpx.Response) -> str:
    (link,) = re.findall(r'href="([^"]+)"', page.text)
    return parse_qs(urlsplit(html.unescape(link)).query)["code"][0]


async def test_a_login_begins_at_one_worker_and_ends_at_another_and_its_code_is_good_once_at_all_of_them(
    house, browser
):
    async with worker(house) as other:
        back = await came_back(await sent(browser, **CLI))
        other.cookies = browser.cookies
        redeem = {"code": code_of(await other.get("/sso/callback", params=back)), "verifier": VERIFIER}
        answers = await asyncio.gather(
            *(each.post("/sso/cli/key", json=redeem) for _ in range(4) for each in (browser, other))
        )

    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 7
    assert (await users(house))[0]["key_count"] == 1


async def test_a_code_makes_no_second_key_when_the_first_is_deleted(house, browser):
    redeem = {"code": code_of(await logged_in(browser, **CLI)), "verifier": VERIFIER}
    made = await post(browser, "/sso/cli/key", **redeem)
    async with house.gateway.caller(made["key"]) as own:
        await post(own, "/session/logout")

    error(await browser.post("/sso/cli/key", json=redeem), 403, message=message(sso.Reason.REPLAYED))


async def test_a_key_of_a_login_has_what_keys_have_here_and_is_valid_no_longer_than_they_may_be(house):
    told = msgspec.structs.replace(
        house.gateway.parts.settings, key_bounds=Bounds(duration="1h"), key_defaults=Bounds(max_budget=5_000_000_000)
    )
    house.have(identity_providers=house.opened[-1], keyring=lambda: RING, settings=told)
    async with house.browser() as browser, house.gateway.caller(await key_of(browser)) as own:
        shown = (await get(own, "/key/info"))["info"]
        house.gateway.now += 3_600_000
        assert (await own.get("/key/info")).status_code == 401

    assert shown["max_budget"] == 5


async def test_of_two_with_the_address_of_an_account_who_come_at_once_one_gets_it(house, admin, provider):
    await post(admin, "/user/new", user_email="ada@company.com", auto_create_key=False)
    subjects = iter(["person-1", "person-2"])
    provider.sign = lambda claims: provider.signed({**claims, "sub": next(subjects)})
    async with house.browser() as one, house.browser() as other:
        answers = [(browser, await came_back(await sent(browser))) for browser in (one, other)]
        shown = await asyncio.gather(*(browser.get("/sso/callback", params=back) for browser, back in answers))

    assert sorted(each.status_code for each in shown) == [200, 403]
    error(max(shown, key=lambda each: each.status_code), 403, message=message(sso.Reason.LINKED_ELSEWHERE))
