"""A person logs in through Envoy, and the key is good on both APIs, for as long as it lasts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway.running_gateway import CHAT, HELLO, Gateway, bearer, running_gateway
from identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, running_identity_provider
from pydantic import SecretStr

from extproc.model import SecretRef
from extproc.policy import sso

SESSION_SECONDS = 6


def secret(text: str) -> SecretRef:
    return SecretRef("literal", "", SecretStr(text))


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[IdentityProvider]:
    async with running_identity_provider() as found:
        yield found


@pytest.fixture(scope="module")
async def entered(nursery, upstream, provider) -> AsyncIterator[Gateway]:
    """A gateway where people of one provider log in for a short time."""
    told = sso.IdentityProvider(
        name="company", kind=sso.GENERIC, issuer=provider.issuer, client_id=secret(CLIENT_ID),
        client_secret=secret(CLIENT_SECRET), allowed_domains=("company.com",),
    )  # fmt: skip
    settings: dict[str, Any] = {
        "sso": sso.SingleSignOn(providers=(told,), session_duration=f"{SESSION_SECONDS}s"),
        "encryption_key": secret("an encryption key of tests"),
    }
    async with running_gateway(nursery, upstream, **settings) as found:
        await found.start_server()
        yield found


@pytest.fixture
async def browser(entered: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Goes wherever it is sent, with its cookies."""
    base = f"http://localhost:{entered.layout.http_port}"
    async with httpx.AsyncClient(base_url=base, follow_redirects=True, timeout=30) as client:
        yield client


async def test_the_key_of_a_login_is_good_on_both_apis_until_it_ends(entered, browser):
    shown = await browser.get("/sso/key/generate")
    assert shown.status_code == 200, shown.text
    (key,) = re.findall(r"<code>(sk-[^<]+)</code>", shown.text)

    async with httpx.AsyncClient(base_url=entered.http, headers=bearer(key), timeout=30) as own:
        body = {"model": "scripted/hello", "messages": HELLO}
        served = await own.post(CHAT, json=body)
        seen = await own.get("/user/info")
        assert (served.status_code, seen.status_code) == (200, 200), served.text
        assert seen.json()["user_info"]["user_email"] == "ada@company.com"
        assert (await own.get("/user/list")).status_code == 401
        await ends(own, body)

    for text in (key, provider_code(shown), CLIENT_SECRET):
        assert text not in entered.log()


async def ends(own: httpx.AsyncClient, body: Any) -> None:
    async with asyncio.timeout(SESSION_SECONDS + 30):
        while (await own.post(CHAT, json=body)).status_code == 200:
            await asyncio.sleep(0.2)
    refused = await own.post(CHAT, json=body)
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "expired_key")
    assert (await own.get("/user/info")).status_code == 401


def provider_code(shown: httpx.Response) -> str:
    """What the provider sent the browser back with."""
    return str(shown.url.params["code"])


async def test_an_answer_without_the_cookie_is_refused(browser, entered):
    begun = await browser.get("/sso/key/generate", follow_redirects=False)
    assert "HttpOnly" in begun.headers["set-cookie"]
    async with httpx.AsyncClient(timeout=30) as stranger:
        back = await stranger.get(begun.headers["location"])
        refused = await stranger.get(back.headers["location"])

    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "auth_error")


async def test_readiness_is_for_anyone(browser):
    ready = await browser.get("/sso/readiness")

    assert (ready.status_code, ready.json()["sso_configured"]) == (200, True)


async def test_one_of_several_providers_has_an_address_of_its_own(browser):
    refused = await browser.get("/sso/callback/company")

    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "auth_error")


@pytest.mark.parametrize(
    "path",
    [
        *("/sso/", "/sso", "/sso/key/generate/x", "/sso/../key/list", "/sso/callback%2f"),
        *("/sso/callback/", "/sso/callback/x/y", "/sso/callback/..", "/sso/callback/x%2fy"),
    ],
)
async def test_no_other_path_of_single_sign_on_leads_anywhere(browser, path):
    assert (await browser.get(path)).status_code in {400, 401, 404}
