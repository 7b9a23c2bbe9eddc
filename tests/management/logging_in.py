"""A gateway where people log in, the provider that vouches for them, and a browser."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
from identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, running_identity_provider
from management.asking import get
from management.conftest import Gateway
from pydantic import SecretStr

from extproc.encryption import Keyring
from extproc.identity_providers.house import IdentityProviders
from extproc.identity_providers.questions import challenge
from extproc.management.errors import login_refused
from extproc.model import SecretRef
from extproc.policy import sso

BASE = "http://gateway"
RING = Keyring(["an encryption key of tests"])
VERIFIER = "v" * 43
CLI = {"cli_port": 40_000, "cli_challenge": challenge(VERIFIER), "cli_state": "s" * 20}
#: The marks of a key in a page.
KEY = re.compile(r"<code>(sk-[A-Za-z0-9_-]+)</code>")


def secret(text: str) -> SecretRef:
    return SecretRef("literal", "", SecretStr(text))


def row(issuer: str, **changes: Any) -> sso.IdentityProvider:
    told: dict[str, Any] = {
        "name": "company", "kind": sso.GENERIC, "issuer": issuer, "client_id": secret(CLIENT_ID),
        "client_secret": secret(CLIENT_SECRET), "allowed_domains": ("company.com", "subsidiary.com"),
    }  # fmt: skip
    return sso.IdentityProvider(**{**told, **changes})


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[IdentityProvider]:
    async with running_identity_provider() as found:
        yield found


@pytest.fixture
def provider(running: IdentityProvider) -> IdentityProvider:
    running.mend()
    return running


class House:
    """A gateway where people log in."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.opened: list[IdentityProviders] = []

    def open(self, *rows: sso.IdentityProvider, base_url: str = BASE, **settings: Any) -> None:
        found = IdentityProviders(sso.SingleSignOn(providers=rows, base_url=base_url, **settings))
        self.opened.append(found)
        self.have(identity_providers=found, keyring=lambda: RING)

    def have(self, **parts: Any) -> None:
        """From now on, for browsers that are open too."""
        self.gateway.app.state.parts = msgspec.structs.replace(self.gateway.parts, **parts)

    def browser(self) -> httpx.AsyncClient:
        client = self.gateway.caller(None)
        client.base_url = httpx.URL(self.opened[-1].settings.base_url or "")
        return client


@pytest.fixture
async def house(gateway: Gateway, provider: IdentityProvider) -> AsyncIterator[House]:
    gateway.now = int(time.time() * 1_000)
    house = House(gateway)
    house.open(row(provider.issuer))
    yield house
    for each in house.opened:
        await each.close()


@pytest.fixture
async def browser(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.browser() as client:
        yield client


async def sent(browser: httpx.AsyncClient, **query: Any) -> str:
    """Where the browser is sent to log in."""
    begun = await browser.get("/sso/key/generate", params=query)
    assert begun.status_code == 303, begun.text
    return begun.headers["location"]


async def came_back(address: str) -> dict[str, str]:
    """What the identity provider sends the browser back with."""
    async with httpx.AsyncClient(verify=False, timeout=30) as client:
        agreed = await client.get(address)
    assert agreed.status_code == 302, agreed.text
    return {name: values[0] for name, values in parse_qs(urlsplit(agreed.headers["location"]).query).items()}


async def logged_in(browser: httpx.AsyncClient, **query: Any) -> httpx.Response:
    return await browser.get("/sso/callback", params=await came_back(await sent(browser, **query)))


async def key_of(browser: httpx.AsyncClient) -> str:
    shown = await logged_in(browser)
    assert shown.status_code == 200, shown.text
    (key,) = KEY.findall(shown.text)
    return str(key)


async def users(house: House) -> list[Any]:
    async with house.gateway.caller() as admin:
        found: list[Any] = (await get(admin, "/user/list"))["users"]
    return found


def message(reason: sso.Reason) -> str:
    return login_refused(reason).message
