"""People log in with an identity provider, in a browser or from a command line, and get a key of their own."""

from __future__ import annotations

import html
import re
from urllib.parse import SplitResult, parse_qs, urlsplit

import httpx
import pytest
from identity_provider import running_identity_provider
from management.asking import error, get, post
from management.logging_in import (
    BASE,
    CLI,
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

from extproc.management import sso as routes
from extproc.management import sso_attempts
from extproc.model import SecretRef
from extproc.policy import sso

__all__ = ["browser", "house", "provider", "running"]


async def test_whoever_logs_in_gets_an_account_and_a_key_that_ends(house, browser, admin, provider):
    key = await key_of(browser)

    (user,) = await users(house)
    told = ("ada@company.com", "internal_user", f"{provider.issuer}|person-1")
    assert (user["user_email"], user["user_role"], user["sso_user_id"]) == told
    async with house.gateway.caller(key) as own:
        shown = (await get(own, "/key/info"))["info"]
        made = await post(own, "/key/generate", duration="1h")
        await own.get("/user/list")
        assert (await own.get("/user/list")).status_code == 401
        house.gateway.now += 24 * 3_600_000 + 1
        error(await own.get("/key/info"), 401, type="expired_key")
    assert (shown["user_id"], shown["metadata"]) == (user["user_id"], {"sso_provider": "company"})
    assert (shown["created_by"], made["user_id"]) == (user["user_id"], user["user_id"])


async def test_the_page_with_the_key_runs_nothing_loads_nothing_and_is_kept_nowhere(browser):
    shown = await logged_in(browser)

    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    assert shown.headers["content-security-policy"].startswith(
        "default-src 'none'; base-uri 'none'; form-action 'none'"
    )
    assert (shown.headers["cache-control"], shown.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert not re.search(r"<script|<style|<img|<link|\son\w+=", shown.text)


async def test_the_provider_is_asked_with_a_challenge_a_nonce_and_a_state_of_their_own(house, browser):
    first, second = [parse_qs(urlsplit(await sent(browser)).query) for _ in range(2)]

    assert first["redirect_uri"] == ["http://gateway/sso/callback"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) == 43
        assert first[name] != second[name]


async def test_the_address_to_come_back_to_is_the_configured_one_whatever_the_host_header_says(browser):
    begun = await browser.get("/sso/key/generate", headers={"host": "attacker.example"})

    assert parse_qs(urlsplit(begun.headers["location"]).query)["redirect_uri"] == ["http://gateway/sso/callback"]


@pytest.mark.parametrize(
    ("base", "name", "secure"),
    [("https://gateway.company.com", "__Host-extproc-login", True), (BASE, "extproc-login", False)],
)
async def test_the_cookie_is_sealed_and_bound_to_the_host(house, provider, base, name, secure):
    house.open(row(provider.issuer), base_url=base)
    async with house.browser() as browser:
        begun = await browser.get("/sso/key/generate")

    cookie = begun.headers["set-cookie"]
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    assert cookie.startswith(f"{name}=v1|")
    assert {"HttpOnly", "Max-Age=600", "Path=/", "SameSite=lax"} <= {*cookie.split("; ")}
    assert ("Secure" in cookie, state in cookie) == (secure, False)


async def test_an_answer_without_the_cookie_is_refused(house, browser):
    answer = await came_back(await sent(browser))
    async with house.browser() as another:
        error(await another.get("/sso/callback", params=answer), 403, message=message(sso.Reason.NO_ATTEMPT))


async def test_the_answer_to_anothers_login_is_refused(house, browser):
    """Login CSRF: an attacker hands over an answer of their own."""
    async with house.browser() as attacker:
        theirs = await came_back(await sent(attacker))
    address = await sent(browser)

    error(await browser.get("/sso/callback", params=theirs), 403, message=message(sso.Reason.WRONG_STATE))
    # And nobody can end what the browser is at.
    assert (await browser.get("/sso/callback", params=await came_back(address))).status_code == 200


async def test_the_log_says_why_nobody_is_logged_in_and_nothing_that_was_sent(house, browser, caplog):
    address = await sent(browser)
    state = parse_qs(urlsplit(address).query)["state"][0]

    await browser.get("/sso/callback", params={"state": state, "error": "access_denied"})
    await browser.post("/sso/cli/key", json={"code": "made-up", "verifier": VERIFIER})

    lines = [record for record in caplog.records if record.message == "login_failed"]
    assert [(line.reason, line.path) for line in lines] == [
        ("sso_declined", "/sso/callback"),
        ("sso_bad_request", "/sso/cli/key"),
    ]
    told = str([vars(line) for line in lines])
    assert state not in told
    assert "made-up" not in told


async def test_an_answer_is_good_once(house, browser):
    address = await sent(browser)
    cookie = browser.cookies["extproc-login"]
    answer = await came_back(address)
    assert (await browser.get("/sso/callback", params=answer)).status_code == 200
    assert "extproc-login" not in browser.cookies

    browser.cookies["extproc-login"] = cookie
    error(await browser.get("/sso/callback", params=answer), 403, message=message(sso.Reason.CODE_REFUSED))
    again = await came_back(address)
    error(
        await browser.get("/sso/callback", params=again, headers={"cookie": f"extproc-login={cookie}"}),
        403,
        message=message(sso.Reason.REPLAYED),
    )


async def test_an_attempt_ends(house, browser):
    answer = await came_back(await sent(browser))
    house.gateway.now += sso_attempts.ATTEMPT_MS

    error(await browser.get("/sso/callback", params=answer), 403, message=message(sso.Reason.EXPIRED))


async def test_what_was_sealed_for_another_purpose_is_no_attempt(house, browser):
    parts = house.gateway.app.state.parts
    grant = sso_attempts.Grant(id="x", user_id="x", provider="company", challenge="x", expires_at=parts.now() + 9_999)
    browser.cookies["extproc-login"] = sso_attempts.sealed(parts, grant)

    error(await browser.get("/sso/callback", params={"state": "x", "code": "x"}), 403,
          message=message(sso.Reason.NO_ATTEMPT))  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ({"error": "access_denied<script>"}, 403, sso.Reason.DECLINED),
        ({}, 400, sso.Reason.BAD_REQUEST),
        ({"code": "made up"}, 403, sso.Reason.CODE_REFUSED),
        ({"code": "made up", "iss": "https://elsewhere.example"}, 403, sso.Reason.WRONG_STATE),
    ],
)
async def test_an_answer_that_is_none_is_refused(browser, answer, status, reason):
    state = parse_qs(urlsplit(await sent(browser)).query)["state"][0]

    refused = await browser.get("/sso/callback", params={"state": state, **answer})

    error(refused, status, message=message(reason))
    assert "script" not in refused.text


def waiting(page: httpx.Response) -> SplitResult:
    """Where the page's one link leads."""
    (link,) = re.findall(r'href="([^"]+)"', page.text)
    return urlsplit(html.unescape(link))


async def test_a_command_line_gets_the_key_for_its_verifier_once(house, browser):
    page = await logged_in(browser, **CLI)
    told = waiting(page)
    query = {name: values[0] for name, values in parse_qs(told.query).items()}

    assert (page.status_code, told.scheme, told.netloc, query["state"]) == (200, "http", "127.0.0.1:40000", "s" * 20)
    assert "sk-" not in page.text
    redeem = {"code": query["code"], "verifier": VERIFIER}
    error(await browser.post("/sso/cli/key", json={**redeem, "verifier": "w" * 43}), 400)
    made = await post(browser, "/sso/cli/key", **redeem)
    assert (made["user_email"], made["user_role"]) == ("ada@company.com", "internal_user")
    error(await browser.post("/sso/cli/key", json=redeem), 403, message=message(sso.Reason.REPLAYED))
    async with house.gateway.caller(made["key"]) as own:
        assert (await get(own, "/key/info"))["info"]["user_id"] == made["user_id"]


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ("block", 403, sso.Reason.USER_BLOCKED),
        ("delete", 403, sso.Reason.USER_GONE),
        ("wait", 403, sso.Reason.EXPIRED),
    ],
)
async def test_a_command_line_gets_no_key_for_who_is_gone_by_then(house, browser, admin, change, status, reason):
    code = parse_qs(waiting(await logged_in(browser, **CLI)).query)["code"][0]
    (user,) = await users(house)
    if change == "wait":
        house.gateway.now += sso_attempts.GRANT_MS
    elif change == "block":
        await post(admin, "/user/block", user_id=user["user_id"])
    else:
        await post(admin, "/user/delete", user_ids=[user["user_id"]])

    error(await browser.post("/sso/cli/key", json={"code": code, "verifier": VERIFIER}), status,
          message=message(reason))  # fmt: skip


@pytest.mark.parametrize("missing", CLI)
async def test_a_command_line_says_all_of_it_or_nothing(browser, missing):
    told = {name: value for name, value in CLI.items() if name != missing}

    error(await browser.get("/sso/key/generate", params=told), 400, message=message(sso.Reason.BAD_REQUEST))


@pytest.mark.parametrize("told", [{"cli_port": 80}, {"cli_port": 70_000}, {"cli_state": "a b"}, {"cli_challenge": "x"}])
async def test_a_command_line_waits_on_a_port_of_the_loopback_and_nowhere_else(browser, told):
    assert (await browser.get("/sso/key/generate", params={**CLI, **told})).status_code == 422


async def test_a_login_ends_with_its_key_for_every_role(house, browser, provider):
    house.open(row(provider.issuer, default_role="internal_user_viewer"))
    key = await key_of(browser)
    async with house.gateway.caller(key) as own:
        assert await post(own, "/session/logout") == {"status": "logged out"}
        assert (await own.get("/key/info")).status_code == 401


async def test_no_other_key_ends_so(gateway, admin):
    made = await gateway.generate()

    async with gateway.caller(made["key"]) as own:
        error(await own.post("/session/logout"), 400, param="key")


async def test_of_several_providers_a_person_chooses_one(house, provider):
    house.open(row(provider.issuer), row(provider.issuer, name="partner"))
    async with house.browser() as browser:
        page = await browser.get("/sso/key/generate")
        assert re.findall(r'href="([^"]+)"', page.text) == [
            f"{BASE}/sso/key/generate?provider={name}" for name in ("company", "partner")
        ]
        address = await sent(browser, provider="partner")
        back = await came_back(address)
        error(await browser.get("/sso/callback/company", params=back), 403, message=message(sso.Reason.WRONG_STATE))
        back = await came_back(await sent(browser, provider="partner"))
        assert (await browser.get("/sso/callback/partner", params=back)).status_code == 200
        error(await browser.get("/sso/key/generate", params={"provider": "x"}), 404)
        error(await browser.get("/sso/key/generate", params=CLI), 400, message=message(sso.Reason.CHOOSE_PROVIDER))


async def test_one_of_several_providers_gets_no_code_of_anothers(house, browser, provider):
    """Mix-up (RFC 9700 §4.4): a partner's provider sends whoever logs in there on to the company's, within a login that
    somebody of theirs began, for they are signed in there. A provider need not say `iss`."""
    async with running_identity_provider() as partner:
        house.open(row(provider.issuer), row(partner.issuer, name="partner", allowed_domains=("partner.com",)))
        async with house.browser() as attacker, house.browser() as victim:
            theirs = urlsplit(await sent(attacker, provider="company"))
            state = parse_qs(urlsplit(await sent(victim, provider="partner")).query)["state"][0]
            query = {name: values[0] for name, values in parse_qs(theirs.query).items()}
            async with httpx.AsyncClient(timeout=30) as client:
                agreed = await client.get(f"{provider.issuer}/authorize", params={**query, "state": state})
            back = urlsplit(agreed.headers["location"])
            answer = {name: values[0] for name, values in parse_qs(back.query).items() if name != "iss"}

            refused = await victim.get(back.path, params=answer)

    error(refused, 403, message=message(sso.Reason.WRONG_STATE))
    assert partner.asked["/token"] == 0


async def test_readiness_says_whether_people_can_log_in(house, browser, admin, gateway, provider):
    assert (await get(browser, "/sso/readiness")) == {
        "status": "healthy", "sso_configured": True, "provider": "company",
    }  # fmt: skip
    house.open(row(provider.issuer, client_secret=SecretRef("env", "NOBODY_SET_THIS")))
    async with house.browser() as another:
        assert (await another.get("/sso/readiness")).status_code == 503
        error(await another.get("/sso/key/generate"), 503, message=message(sso.Reason.NOT_AVAILABLE))


async def test_without_providers_nobody_logs_in(gateway):
    async with gateway.caller(None) as nobody:
        assert (await get(nobody, "/sso/readiness"))["sso_configured"] is False
        for path in ("/sso/key/generate", "/sso/callback"):
            error(await nobody.get(path), 404, message=message(sso.Reason.NOT_CONFIGURED))


async def test_without_an_encryption_key_nobody_logs_in(house, browser):
    house.have(identity_providers=house.opened[-1])

    error(await browser.get("/sso/key/generate"), 503, message=message(sso.Reason.NOT_AVAILABLE))


async def test_a_flood_is_slowed_down_and_others_are_not(house, browser):
    flood, other = {"x-forwarded-for": "192.0.2.1"}, {"x-forwarded-for": "192.0.2.2"}
    for _ in range(routes.EACH):
        assert (await browser.get("/sso/callback", headers=flood)).status_code == 403

    slowed = await browser.get("/sso/callback", headers=flood)

    error(slowed, 429)
    assert 1 <= int(slowed.headers["retry-after"]) <= 60
    assert (await browser.get("/sso/key/generate", headers=other)).status_code == 303
