"""What an issuer says of itself is asked for once, kept for an hour, and looked for again when a key is not known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi.responses import JSONResponse
from identity_provider import IdentityProvider, running_identity_provider
from joserfc.jwk import OctKey

from extproc.errors import LoginFailed
from extproc.identity_providers import discovery
from extproc.identity_providers.asking import Asking
from extproc.identity_providers.discovery import Discovery
from extproc.policy.sso import Reason

CONFIGURATION = "/.well-known/openid-configuration"


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[IdentityProvider]:
    async with running_identity_provider() as found:
        yield found


@pytest.fixture
def provider(running: IdentityProvider) -> IdentityProvider:
    running.mend()
    running.asked.clear()
    return running


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def found(provider: IdentityProvider, clock: Clock) -> AsyncIterator[Discovery]:
    asking = Asking()
    yield Discovery(provider.issuer, asking, clock)
    await asking.close()


async def test_of_many_who_ask_at_once_one_asks_the_issuer(found, provider):
    await asyncio.gather(*(found.metadata() for _ in range(20)))

    assert provider.asked[CONFIGURATION] == 1


async def test_after_an_hour_it_is_asked_again(found, provider, clock):
    await found.key(provider.keys[0].kid)
    clock.now += discovery.KEEP_SECONDS + 1
    await found.key(provider.keys[0].kid)

    assert (provider.asked[CONFIGURATION], provider.asked["/jwks"]) == (2, 2)


async def test_a_key_that_is_not_known_is_looked_for_and_not_again_at_once(found, provider, clock):
    await found.key(provider.keys[0].kid)
    provider.rotate()
    assert await found.key(provider.keys[0].kid) is not None
    for name in range(10):
        assert await found.key(f"made up {name}") is None
    assert provider.asked["/jwks"] == 2

    provider.rotate()
    clock.now += discovery.LOOK_AGAIN_SECONDS + 1
    assert await found.key(provider.keys[0].kid) is not None


async def test_a_key_that_was_withdrawn_is_gone_after_an_hour(found, provider, clock):
    old = provider.keys[0].kid
    await found.key(old)
    provider.rotate()
    clock.now += discovery.KEEP_SECONDS + 1

    assert await found.key(old) is None


async def test_a_token_without_a_name_of_a_key_means_the_only_one(found, provider, clock):
    assert (await found.key(None)).kid == provider.keys[0].kid
    first = provider.keys
    provider.rotate()
    provider.keys += first
    clock.now += discovery.KEEP_SECONDS + 1

    assert await found.key(None) is None


async def test_a_symmetric_key_or_one_for_encryption_verifies_nothing(found, provider):
    known = provider.keys[0].as_dict(private=False)
    shared = {**OctKey.generate_key(256).as_dict(private=True), "kid": "shared"}
    keys = [shared, {**known, "kid": "enc", "use": "enc"}, {"kty": "RSA", "kid": "broken"}, {"kty": ["RSA"]}, 7, known]
    provider.answers["/jwks"] = JSONResponse({"keys": keys})

    assert await found.key(known["kid"]) is not None
    for name in ("shared", "enc", "broken"):
        assert await found.key(name) is None


async def test_an_issuer_that_failed_is_left_alone_for_some_seconds(found, provider, clock):
    provider.answers[CONFIGURATION] = JSONResponse({}, 500)
    for _ in range(10):
        with pytest.raises(LoginFailed, match=Reason.PROVIDER_DOWN):
            await found.metadata()
    assert provider.asked[CONFIGURATION] == 1

    provider.mend()
    clock.now += discovery.LEAVE_ALONE_SECONDS
    assert (await found.metadata()).issuer == provider.issuer


@pytest.mark.parametrize("field", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("address", ["http://127.0.0.1:9901/quit", "http://localhost/", "http://[::1]/"])
async def test_an_issuer_elsewhere_leads_nobody_to_this_machine(clock, field, address):
    """What listens on the loopback trusts whoever asks from there."""
    issuer = "https://id.company.com"

    class Answering(Asking):
        async def get(self, url: str) -> dict[str, str]:
            told = {name: f"{issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
            return {"issuer": issuer, **told, field: address}

    with pytest.raises(LoginFailed, match=Reason.PROVIDER_ANSWER):
        await Discovery(issuer, Answering(), clock).metadata()
