"""One exchange, told as stories: a request in, a verdict out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from exchange_world import (
    API_KEY,
    MASTER,
    World,
    forwarded,
    refusal,
    request_body,
    request_headers,
)


async def test_a_good_request_is_forwarded_with_the_providers_credential_and_model():
    exchange = World().exchange()
    await exchange.receive(request_headers((b"x-litellm-tags", b"a")))

    reply: Any = await exchange.receive(request_body())

    assert json.loads(reply.body)["model"] == "gpt-4o-real"
    assert dict(reply.set_headers) == {
        b"authorization": b"Bearer provider-key",
        b"x-extproc-upstream": b"openai",
        b"content-type": b"application/json",
        b"content-length": str(len(reply.body)).encode(),
        b"accept-encoding": b"identity",
    }
    assert b"x-litellm-tags" in reply.remove_headers
    assert reply.reroute


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        (request_headers(key=None), 401, "auth_error"),
        (request_headers(key="not-a-key"), 401, "auth_error"),
        (request_headers(key="sk-unknown-unknown-unknown"), 401, "token_not_found_in_db"),
        (request_headers((b"x-api-key", API_KEY.encode())), 401, "auth_error"),
        (request_headers((b"content-encoding", b"gzip")), 415, "invalid_request_error"),
        (request_headers((b"content-type", b"text/plain")), 415, "invalid_request_error"),
        (request_headers(end=True), 400, "invalid_request_error"),
        (request_headers(path=b"/v1/unknown"), 404, "invalid_request_error"),
    ],
)
async def test_a_bad_request_is_refused_at_its_headers(headers, status, kind):
    exchange = World().exchange()

    refused = refusal(await exchange.receive(headers))

    assert (refused[0], refused[1]["type"]) == (status, kind)
    assert exchange.over


async def test_every_refusal_carries_the_call_id():
    reply = await World().exchange().receive(request_headers(key=None))

    assert dict(reply.headers)[b"x-litellm-call-id"] == b"call-1"


@pytest.mark.parametrize(
    ("fields", "reason"), [({"blocked": True}, "key_blocked"), ({"expires_at": 1_000}, "expired_key")]
)
async def test_a_key_that_may_not_be_used_is_refused(fields, reason):
    exchange = World(**fields).exchange()
    await exchange.receive(request_headers())

    assert exchange.close().reason == reason


async def test_the_master_key_may_call_every_model_and_is_never_hashed_in_a_receipt():
    world = World()
    exchange = world.exchange()
    await exchange.receive(request_headers(key=MASTER))
    await exchange.receive(request_body())
    exchange.close()

    assert world.sink.receipts[0].key_digest == "litellm_proxy_master_key"


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"model": "gpt-5"}, 400, "invalid_request_error"),
        ({"model": None}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"stream": "yes"}, 400, "invalid_request_error"),
        ({"model": "locked"}, 503, "service_unavailable"),
        ({"api_base": "http://evil"}, 400, "invalid_request_error"),
    ],
)
async def test_a_bad_body_is_refused(fields, status, kind):
    exchange = World().exchange()
    await exchange.receive(request_headers())

    refused = refusal(await exchange.receive(request_body(**fields)))

    assert (refused[0], refused[1]["type"]) == (status, kind)


async def test_a_model_outside_the_keys_list_is_refused_before_it_is_known_whether_it_exists():
    world = World(models=("gpt-4o-mini",))
    for model in ("gpt-4o", "no-such-model"):
        exchange = world.exchange()
        await exchange.receive(request_headers())

        status, error = refusal(await exchange.receive(request_body(model=model)))

        assert (status, error["type"]) == (403, "key_model_access_denied")


async def test_an_unpriced_model_is_refused_where_the_setting_says_so():
    world = World()
    world.block_unpriced = True
    exchange = world.exchange()
    await exchange.receive(request_headers())

    status, error = refusal(await exchange.receive(request_body(model="homemade")))

    assert (status, error["param"]) == (400, "model")


async def test_a_lost_key_store_refuses():
    world = World()
    world.keys.down = True

    status, error = refusal(await world.exchange().receive(request_headers()))

    assert (status, error["type"]) == (503, "no_db_connection")


async def test_a_full_outbox_refuses():
    world = World()
    world.sink.accepting = False

    assert refusal(await world.exchange().receive(request_headers()))[0] == 503


async def test_a_request_without_a_parameter_that_its_key_demands_is_refused():
    world = World(fields={"enforced_params": ["user", "metadata.project"]})
    exchange = world.exchange()
    await exchange.receive(request_headers())
    status, error = refusal(await exchange.receive(request_body(user="u")))

    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", "metadata.project")
    await forwarded(world, user="u", metadata={"project": "p"})
