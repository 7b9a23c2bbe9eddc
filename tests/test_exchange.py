"""One exchange, told as stories: events in, replies out, a receipt at the end."""

from __future__ import annotations

import asyncio
import json
from itertools import product
from typing import Any

import pytest

from extproc.errors import ProtocolError, SecretUnavailable, StoreUnavailable
from extproc.events import (
    PROCEED,
    Proceed,
    Refuse,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from extproc.exchange import _STEPS, Exchange, Phase, Surroundings
from extproc.model import Deployment, Key, Receipt, SecretRef, Upstream, Usage
from extproc.policy import credentials
from extproc.policy.routing import Routes

API_KEY = "sk-0123456789abcdefghij"
MASTER = "sk-master-0123456789abcdef"
UPSTREAM = Upstream("openai", "https", "api.openai.com", 443, "/v1")
PRICED = Deployment(
    "id-1", "gpt-4o", "openai", "gpt-4o-real", UPSTREAM, "https://api.openai.com/v1", SecretRef("env", "K")
)
UNPRICED = Deployment("id-2", "homemade", "openai", "homemade", UPSTREAM, "https://api.openai.com/v1")
LOCKED = Deployment("id-3", "locked", "openai", "locked", UPSTREAM, "", SecretRef("env", "MISSING"))
USAGE = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}


class Keys:
    def __init__(self, *keys: Key) -> None:
        self.rows = {key.digest: key for key in keys}
        self.down = False

    async def find(self, digest):
        if self.down:
            raise StoreUnavailable("keys", "gone")
        return self.rows.get(digest)

    async def find_end_user(self, end_user):
        return None

    async def find_tags(self, names):
        return ()


class Sink:
    """A small real sink: acknowledges when told to."""

    def __init__(self) -> None:
        self.accepting = True
        self.receipts: list[Receipt] = []
        self.durable = asyncio.Event()
        self.durable.set()

    def put(self, receipt):
        self.receipts.append(receipt)
        return asyncio.ensure_future(self.durable.wait())


def credential(deployment):
    if deployment is LOCKED:
        raise SecretUnavailable("os.environ/MISSING is not set")
    return (b"authorization", b"Bearer provider-key") if deployment.credential else None


def price(deployment, provider_model, answered, usage, now):
    return None if deployment is UNPRICED else 2 * usage.input_tokens + 10 * usage.output_tokens


class World:
    def __init__(self, **key_fields) -> None:
        self.keys = Keys(Key(digest=credentials.digest(API_KEY), name="sk-...ghij", alias="app", **key_fields))
        self.sink = Sink()
        self.block_unpriced = False
        self.moment = 1_000

    def exchange(self) -> Exchange:
        return Exchange(
            Surroundings(
                keys=self.keys,
                receipts=self.sink,
                routes=Routes([PRICED, UNPRICED, LOCKED]),
                master_digest=credentials.digest(MASTER),
                credential=credential,
                price=price,
                now=lambda: self.moment,
                event_id=lambda moment: f"event-{moment}",
                block_unpriced_models=self.block_unpriced,
                max_response_bytes=1_000_000,
                log_requester_ip=True,
            )
        )


def request_headers(*extra, path=b"/v1/chat/completions", key=API_KEY, end=False):
    headers = [(b":method", b"POST"), (b":path", path), (b"x-request-id", b"call-1"), *extra]
    if key is not None:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    return RequestHeaders(tuple(headers), end, {"source.address": "10.1.2.3:4567"})


def request_body(**fields):
    document = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]} | fields
    return RequestBody(json.dumps(document).encode(), end_of_stream=True)


def response_headers(status=200, kind=b"application/json", *extra, end=False):
    return ResponseHeaders(((b":status", str(status).encode()), (b"content-type", kind), *extra), end)


async def forwarded(world: World, **fields) -> Exchange:
    exchange = world.exchange()
    assert await exchange.receive(request_headers()) == PROCEED
    assert isinstance(await exchange.receive(request_body(**fields)), Proceed)
    return exchange


def refusal(reply) -> tuple[int, dict[str, Any]]:
    assert isinstance(reply, Refuse)
    return reply.status, json.loads(reply.body)["error"]


# -- the request ---


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


# -- the response ---


@pytest.mark.parametrize("end_with_the_last_byte", [True, False])
async def test_a_plain_response_is_booked_before_its_last_byte_is_released(end_with_the_last_byte):
    """The end may come with the last bytes or, as after a length that was said, in a message of its own."""
    world = World()
    exchange = await forwarded(world)
    await exchange.receive(response_headers())
    document = json.dumps({"id": "chatcmpl-1", "model": "gpt-4o-real-0806", "usage": USAGE}).encode()
    parts = [document[:20], document[20:]] if end_with_the_last_byte else [document, b""]
    first = await exchange.receive(ResponseBody(parts[0], end_of_stream=False))
    world.sink.durable.clear()

    last = asyncio.ensure_future(exchange.receive(ResponseBody(parts[1], end_of_stream=True)))
    await asyncio.sleep(0.01)
    assert not last.done()
    world.sink.durable.set()

    assert first == Proceed(body=parts[0][:-1])
    assert await last == Proceed(body=parts[0][-1:] + parts[1])
    assert exchange.over
    (receipt,) = world.sink.receipts
    assert receipt.usage == Usage(input_tokens=8, output_tokens=3)
    assert (receipt.spend, receipt.estimated, receipt.cut, receipt.status) == (46, False, False, "success")
    assert (receipt.provider_response_id, receipt.model, receipt.model_group) == (
        "chatcmpl-1",
        "gpt-4o-real-0806",
        "gpt-4o",
    )
    assert (receipt.call_id, receipt.requester_ip, receipt.key_alias) == ("call-1", "10.1.2.3", "app")


async def test_a_streams_end_is_not_released_before_the_receipt_is_durable():
    world = World()
    exchange = await forwarded(world, stream=True)
    await exchange.receive(response_headers(200, b"text/event-stream; charset=utf-8"))
    usage = json.dumps({"id": "c", "choices": [], "usage": USAGE}).encode()
    assert await exchange.receive(ResponseBody(b"data: " + usage + b"\n\n", end_of_stream=False)) == Proceed(body=b"")
    world.sink.durable.clear()

    done = asyncio.ensure_future(exchange.receive(ResponseBody(b"data: [DONE]\n\n", end_of_stream=False)))
    await asyncio.sleep(0.01)
    assert not done.done()
    world.sink.durable.set()

    assert await done == PROCEED
    assert await exchange.receive(ResponseBody(b"", end_of_stream=True)) == PROCEED
    exchange.close()
    assert [receipt.usage.total_tokens for receipt in world.sink.receipts] == [11]


async def test_a_held_event_is_passed_on_at_the_end():
    exchange = await forwarded(World(), stream=True)
    await exchange.receive(response_headers(200, b"text/event-stream"))
    assert await exchange.receive(ResponseBody(b"data: {", end_of_stream=False)) == Proceed(body=b"")

    assert await exchange.receive(ResponseBody(b"}", end_of_stream=True)) == Proceed(body=b"data: {}")


async def test_a_hang_up_in_a_stream_is_billed_for_prompt_and_what_was_seen():
    world = World()
    exchange = await forwarded(world, stream=True)
    await exchange.receive(response_headers(200, b"text/event-stream"))
    chunk = {"id": "c", "model": "m", "choices": [{"delta": {"content": "one two three"}}]}
    await exchange.receive(ResponseBody(b"data: " + json.dumps(chunk).encode() + b"\n\n", end_of_stream=False))

    outcome = exchange.close()

    (receipt,) = world.sink.receipts
    assert outcome.receipt is receipt
    assert (receipt.estimated, receipt.cut, receipt.usage.output_tokens) == (True, True, 3)
    assert receipt.usage.input_tokens > 0
    assert receipt.spend == 2 * receipt.usage.input_tokens + 30


async def test_a_hang_up_before_the_response_is_billed_for_the_prompt():
    world = World()
    exchange = await forwarded(world)

    exchange.close()

    (receipt,) = world.sink.receipts
    assert (receipt.estimated, receipt.cut, receipt.usage.output_tokens) == (True, True, 0)
    assert receipt.usage.input_tokens > 0


async def test_usage_that_came_before_the_cut_is_not_estimated():
    world = World()
    exchange = await forwarded(world, stream=True)
    await exchange.receive(response_headers(200, b"text/event-stream"))
    usage = json.dumps({"id": "c", "choices": [], "usage": USAGE}).encode()
    await exchange.receive(ResponseBody(b"data: " + usage + b"\n\n", end_of_stream=False))

    exchange.close()

    (receipt,) = world.sink.receipts
    assert (receipt.estimated, receipt.cut, receipt.usage.total_tokens) == (False, True, 11)


async def test_a_cancelled_wait_for_the_receipt_books_nothing_twice():
    world = World()
    exchange = await forwarded(world)
    await exchange.receive(response_headers())
    world.sink.durable.clear()
    last = asyncio.ensure_future(exchange.receive(ResponseBody(b"{}", end_of_stream=True)))
    await asyncio.sleep(0.01)
    last.cancel()
    await asyncio.wait([last])

    exchange.close()

    assert len(world.sink.receipts) == 1


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_failed_response_costs_nothing_and_its_body_needs_nobody(status):
    world = World()
    exchange = await forwarded(world)

    reply = await exchange.receive(response_headers(status))

    assert reply.skip_response_body
    (receipt,) = world.sink.receipts
    assert (receipt.status, receipt.http_status, receipt.spend) == ("failure", status, 0)
    exchange.close()
    assert len(world.sink.receipts) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_provider_credential_is_the_gateways_fault_and_its_body_is_not_shown(status):
    world = World()
    exchange = await forwarded(world)

    refused = refusal(await exchange.receive(response_headers(status)))

    assert (refused[0], refused[1]["type"]) == (502, "provider_authentication_error")
    assert len(world.sink.receipts) == 1


async def test_a_compressed_response_is_passed_unread_and_estimated():
    world = World()
    exchange = await forwarded(world)
    await exchange.receive(response_headers(200, b"application/json", (b"content-encoding", b"gzip")))

    assert await exchange.receive(ResponseBody(b"x" * 400, end_of_stream=True)) == PROCEED
    (receipt,) = world.sink.receipts
    assert (receipt.estimated, receipt.cut, receipt.usage.output_tokens) == (True, False, 100)


async def test_a_response_without_a_body_is_booked():
    world = World()
    exchange = await forwarded(world)
    await exchange.receive(response_headers(end=True))

    assert [receipt.estimated for receipt in world.sink.receipts] == [True]


async def test_a_response_that_ends_with_trailers_is_booked_at_them():
    world = World()
    exchange = await forwarded(world)
    await exchange.receive(response_headers())
    await exchange.receive(ResponseBody(json.dumps({"usage": USAGE}).encode(), end_of_stream=False))

    assert await exchange.receive(ResponseTrailers()) == PROCEED
    assert [(receipt.cut, receipt.usage.total_tokens) for receipt in world.sink.receipts] == [(False, 11)]


async def test_an_unpriced_model_is_booked_without_a_price_never_as_nothing():
    world = World()
    exchange = await forwarded(world, model="homemade")
    await exchange.receive(response_headers())
    await exchange.receive(ResponseBody(json.dumps({"usage": USAGE}).encode(), end_of_stream=True))

    assert [receipt.spend for receipt in world.sink.receipts] == [None]


# -- what Envoy does by itself ---


async def test_envoys_own_answer_passes_and_leaves_no_receipt():
    world = World()
    exchange = world.exchange()
    await exchange.receive(request_headers())
    for event in (response_headers(413), ResponseBody(b"too large", end_of_stream=True)):
        assert await exchange.receive(event) == PROCEED

    assert exchange.close().status == 413
    assert world.sink.receipts == []


async def test_a_rejection_by_an_earlier_filter_has_no_request_and_passes():
    exchange = World().exchange()

    assert await exchange.receive(response_headers(403)) == PROCEED
    assert exchange.decided


async def test_an_exchange_is_undecided_until_there_is_a_verdict():
    exchange = World().exchange()
    assert not exchange.decided
    await exchange.receive(request_headers())
    assert not exchange.decided
    await exchange.receive(request_body())
    assert exchange.decided


EVENTS = [
    request_headers(),
    request_body(),
    RequestTrailers(),
    response_headers(),
    ResponseBody(b"", end_of_stream=False),
    ResponseTrailers(),
]


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, EVENTS)), ids=lambda value: type(value).__name__)
async def test_what_the_table_does_not_list_is_a_protocol_error(phase, event):
    exchange = await forwarded(World())
    exchange.phase = phase
    if (phase, type(event)) in _STEPS:
        assert callable(_STEPS[phase, type(event)])
        return

    with pytest.raises(ProtocolError):
        await exchange.receive(event)
