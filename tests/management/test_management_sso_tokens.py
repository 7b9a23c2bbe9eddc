"""Nobody gets in by a token that does not prove who they are, and a provider that fails is told apart."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from fastapi.responses import JSONResponse, PlainTextResponse
from identity_provider import CLIENT_ID, IdentityProvider
from joserfc import jws, jwt
from joserfc.jwk import ECKey
from management.asking import error
from management.logging_in import (
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

from extproc.policy import sso

__all__ = ["browser", "house", "provider", "running"]


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": "another"}, sso.Reason.BAD_TOKEN),
        ({"nonce": None}, sso.Reason.BAD_TOKEN),
        ({"aud": "another client"}, sso.Reason.BAD_TOKEN),
        ({"aud": [CLIENT_ID, "another client"]}, sso.Reason.BAD_TOKEN),
        ({"azp": "another client"}, sso.Reason.BAD_TOKEN),
        ({"iss": "https://elsewhere.example"}, sso.Reason.BAD_TOKEN),
        ({"exp": -120}, sso.Reason.BAD_TOKEN),
        ({"exp": None}, sso.Reason.BAD_TOKEN),
        ({"iat": 600}, sso.Reason.BAD_TOKEN),
        ({"iat": -86_400}, sso.Reason.BAD_TOKEN),
        ({"nbf": 600}, sso.Reason.BAD_TOKEN),
        ({"sub": None}, sso.Reason.BAD_TOKEN),
        ({"email_verified": False}, sso.Reason.UNVERIFIED_ADDRESS),
        ({"email_verified": None}, sso.Reason.UNVERIFIED_ADDRESS),
        ({"email_verified": "true"}, sso.Reason.UNVERIFIED_ADDRESS),
        ({"email": None}, sso.Reason.NO_ADDRESS),
        ({"email": "ada@company.com.attacker.example"}, sso.Reason.WRONG_DOMAIN),
        ({"email": "ada@sub.company.com"}, sso.Reason.WRONG_DOMAIN),
    ],
    ids=str,
)
async def test_who_is_not_proven_gets_nothing(house, browser, provider, claims, reason):
    """Moments are told in seconds from now."""
    moments = {"exp", "iat", "nbf"} & {name for name in claims if claims[name] is not None}
    provider.claims = {**claims, **{name: int(time.time()) + claims[name] for name in moments}}

    error(await logged_in(browser), 403, message=message(reason))
    assert await users(house) == []


def unsigned(claims: dict[str, Any]) -> str:
    return ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "none"}, claims)) + "."


def signed_with_the_public_key(provider: IdentityProvider) -> Any:
    """HS256 with the text of the public key that everybody knows."""

    def sign(claims: dict[str, Any]) -> str:
        header = {"alg": "HS256", "kid": provider.keys[0].kid}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        public = provider.keys[0].as_pem(private=False)
        return f"{signed}.{encoded(hmac.digest(public, signed.encode(), 'sha256'))}"

    return sign


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def written(provider: IdentityProvider, claims: str) -> str:
    """A token that says these very bytes."""
    header = {"alg": provider.algorithm, "kid": provider.keys[0].kid}
    return jws.serialize_compact(header, claims.encode(), provider.keys[0], algorithms=[provider.algorithm])


def signed_by_another(provider: IdentityProvider) -> Any:
    other = ECKey.generate_key("P-256")
    return lambda claims: jwt.encode({"alg": "ES256", "kid": provider.keys[0].kid}, claims, other)


@pytest.mark.parametrize(
    "forge",
    [
        lambda provider: lambda claims: written(provider, json.dumps({**claims, "nonce": "\ud800"})),
        lambda provider: lambda claims: written(provider, '{"a":' + "[" * 20_000 + "]" * 20_000 + "}"),
        lambda _: unsigned,
        signed_with_the_public_key,
        signed_by_another,
        lambda _: lambda claims: "no.token.at.all",
        lambda provider: lambda claims: provider.signed(claims)[:-4] + "AAAA",
        lambda _: lambda claims: "e" * 70_000,
    ],
    ids=[
        "half a letter",
        "nested without end",
        "alg none",
        "HS256 with the public key",
        "another key",
        "no token",
        "a changed signature",
        "too long",
    ],
)
async def test_a_token_that_is_none_of_the_providers_or_makes_no_sense_is_refused(house, browser, provider, forge):
    provider.sign = forge(provider)

    error(await logged_in(browser), 403, message=message(sso.Reason.BAD_TOKEN))
    assert await users(house) == []


@pytest.mark.parametrize(
    ("kind", "size", "algorithm"),
    [("RSA", 2048, "RS256"), ("RSA", 2048, "PS256"), ("EC", "P-384", "ES384"), ("OKP", "Ed25519", "Ed25519")],
)
async def test_a_provider_may_sign_with_any_algorithm_that_needs_its_own_key(browser, provider, kind, size, algorithm):
    provider.rotate(kind, size, algorithm)

    await key_of(browser)


async def test_keys_of_the_provider_may_rotate(browser, provider):
    await key_of(browser)
    provider.rotate()
    await key_of(browser)
    provider.rotate()

    # Anybody can write a name of a key into a token: it is not looked for again and again.
    error(await logged_in(browser), 403, message=message(sso.Reason.BAD_TOKEN))


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/token", JSONResponse({}, 503), 503),
        ("/token", JSONResponse({"error": "invalid_client"}, 401), 502),
        ("/token", PlainTextResponse("hello"), 502),
        ("/token", JSONResponse({"id_token": "x" * 300_000}), 502),
        ("/jwks", JSONResponse({}, 500), 503),
        ("/jwks", JSONResponse({"keys": "none"}), 502),
        ("/jwks", JSONResponse({}, 302, {"location": "http://127.0.0.1:1/"}), 502),
    ],
)
async def test_a_provider_that_fails_is_told_apart_from_a_person_that_does(browser, provider, path, answer, status):
    address = await sent(browser)
    back = await came_back(address)
    provider.answers[path] = answer

    error(await browser.get("/sso/callback", params=back), status, type="auth_error")


async def test_a_provider_that_is_down_is_a_503_at_once(house, browser):
    house.open(row("http://127.0.0.1:1"))

    async with house.browser() as browser:
        refused = await browser.get("/sso/key/generate")
        error(refused, 503, message=message(sso.Reason.PROVIDER_DOWN))
        assert "retry-after" in refused.headers
        assert (await browser.get("/sso/readiness")).status_code == 503


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://elsewhere.example"},
        {"token_endpoint": "http://elsewhere.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
async def test_a_provider_that_leads_elsewhere_is_not_followed(browser, provider, changed):
    provider.answers["/.well-known/openid-configuration"] = JSONResponse({**provider._configuration(), **changed})

    error(await browser.get("/sso/key/generate"), 502, message=message(sso.Reason.PROVIDER_ANSWER))


async def test_a_client_secret_goes_into_the_form_where_the_provider_wants_it_there(browser, provider):
    provider.methods = ["client_secret_post"]

    await key_of(browser)
