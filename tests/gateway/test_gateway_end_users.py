"""An application's header says for whom a request is made; it is counted, and no provider ever sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from gateway.running_gateway import CHAT, HELLO, Gateway, keyed_client, running_gateway
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import Nursery

HEADER = "X-OpenWebUI-User-Id"
BODY = {"model": "homemade", "messages": HELLO}


@pytest.fixture(scope="module")
async def gateway(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    names = (HEADER.lower(),)
    async with running_gateway(nursery, upstream, end_user_headers=names, mapped_headers=names) as found:
        await found.start_server()
        yield found


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with keyed_client(gateway) as found:
        yield found


async def test_the_header_names_the_end_user_before_the_body_does_and_goes_no_further(gateway, upstream, client):
    body = BODY | {"user": "of the body"}
    answers = [
        await client.post(CHAT, json=body, headers={HEADER: "of the header"}),
        await client.post(CHAT, json=body, headers={HEADER: ""}),
        await client.post(CHAT, json=body),
    ]
    rows = [await gateway.only_row(answer.headers["x-litellm-call-id"]) for answer in answers]

    assert [row["end_user"] for row in rows] == ["of the header", "of the body", "of the body"]
    assert all(asked.values(HEADER.lower()) == [] for asked in upstream.asked[-3:])


async def test_the_end_user_of_the_header_has_their_own_limit(gateway, client):
    made = await gateway.admin.post("/customer/new", json={"user_id": "anna", "rpm_limit": 1})
    assert made.status_code == 200, made.text

    statuses = [
        (await client.post(CHAT, json=BODY, headers={HEADER: name})).status_code for name in ("anna", "anna", "ben")
    ]

    assert statuses == [200, 429, 200]


async def test_a_header_that_is_there_twice_is_refused_and_costs_the_provider_nothing(upstream, client):
    before = len(upstream.asked)
    twice = [(HEADER, "anna"), (HEADER.lower(), "ben")]

    refused = await client.post(CHAT, json=BODY, headers=twice)

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, HEADER.lower())
    assert len(upstream.asked) == before
