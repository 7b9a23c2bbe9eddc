"""Exactly one credential, wherever it stands: two of them are refused in every combination, on both HTTP versions."""

from __future__ import annotations

from itertools import product

import pytest
from gateway.running_gateway import CHAT, Gateway
from gateway.wire import Answer, http2, pseudo, spoken

from extproc.policy.credentials import CREDENTIAL_HEADERS

BODY = b'{"model":"homemade","messages":[{"role":"user","content":"hi"}]}'
HEADERS = sorted(name.decode() for name in CREDENTIAL_HEADERS)


def field(name: str, key: str) -> tuple[str, str]:
    return name, f"Bearer {key}" if name == "authorization" else key


async def over_http1(gateway: Gateway, *fields: tuple[str, str]) -> Answer:
    lines = [f"POST {CHAT} HTTP/1.1", "host: gateway", "content-type: application/json", f"content-length: {len(BODY)}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return await spoken(gateway, "\r\n".join((*lines, "", "")).encode() + BODY)


async def over_http2(gateway: Gateway, *fields: tuple[str, str]) -> Answer:
    async with http2(gateway) as connection:
        return await connection.ask([*pseudo(CHAT), ("content-type", "application/json"), *fields], [BODY])


@pytest.mark.parametrize("ask", [over_http1, over_http2])
async def test_one_credential_is_enough_in_any_header(gateway, key, ask):
    assert [(await ask(gateway, field(name, key))).status for name in HEADERS] == [200] * len(HEADERS)


@pytest.mark.parametrize("ask", [over_http1, over_http2])
@pytest.mark.parametrize("second", ["the same", "another valid one", "an unknown one", "an empty one"])
async def test_two_credentials_are_refused_in_every_combination(gateway, upstream, key, ask, second):
    other = {
        "the same": key,
        "another valid one": await gateway.new_key(),
        "an unknown one": "sk-unknown-0123456789abcdef",
        "an empty one": "",
    }[second]
    before = len(upstream.asked)

    for first_name, second_name in product(HEADERS, HEADERS):
        found = await ask(gateway, field(first_name, key), field(second_name, other))

        assert found.status == 401, (first_name, second_name)
        # Envoy joins a repeated `authorization` with a comma, and what comes of that is no key of anybody's.
        assert found.error["type"] in {"auth_error", "token_not_found_in_db"}
    assert len(upstream.asked) == before


@pytest.mark.parametrize("ask", [over_http1, over_http2])
@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "bearer",
        "Basic {key}",
        "{key}",
        "Bearer {key}, Bearer {key}",
        "Bearer {key},",
        "Bearer Bearer {key}",
        "Bearer {key} {key}",
        'Bearer "{key}"',
        "Bearer {key}x",
        "Bearer {upper}",
        "Bearer sk-",
        "Token {key}",
    ],
)
async def test_what_is_almost_a_credential_is_none(gateway, upstream, key, ask, value):
    before = len(upstream.asked)

    found = await ask(gateway, ("authorization", value.format(key=key, upper=key.upper())))

    assert found.status == 401
    assert key[3:] not in str(found.error)
    assert len(upstream.asked) == before


@pytest.mark.parametrize("ask", [over_http1, over_http2])
async def test_a_credential_anywhere_else_is_none(gateway, upstream, key, ask):
    before = len(upstream.asked)

    for name in ("cookie", "proxy-authorization", "x-authorization", "token", "api_key", "x-litellm-key", "user-agent"):
        found = await ask(gateway, (name, f"Bearer {key}"))

        assert found.status in ({400, 401} if name != "api_key" else {0, 400})
    assert len(upstream.asked) == before
