"""One exchange, told as stories: a response in, and a receipt at the end."""

from __future__ import annotations

import asyncio
import json

import pytest
from exchange_world import (
    USAGE,
    World,
    forwarded,
    refusal,
    response_headers,
)

from extproc import guardrails
from extproc.errors import StreamEnded
from extproc.events import (
    PROCEED,
    Proceed,
    ResponseBody,
    ResponseTrailers,
)
from extproc.guardrails import Configured
from extproc.model import Usage
from extproc.redaction import Action, Policy


@pytest.mark.parametrize("told", [True, False])
async def test_a_plain_response_is_booked_before_its_last_byte_is_released(told):
    """The end may come with the last bytes, in a message of its own or, before trailers, not at all."""
    world = World()
    exchange = await forwarded(world)
    await exchange.receive(response_headers())
    document = json.dumps({"id": "chatcmpl-1", "model": "gpt-4o-real-0806", "usage": USAGE}).encode()
    first = await exchange.receive(ResponseBody(document[:20], end_of_stream=False))
    world.sink.durable.clear()

    last = asyncio.ensure_future(exchange.receive(ResponseBody(document[20:], end_of_stream=told)))
    await asyncio.sleep(0.01)
    assert not last.done()
    world.sink.durable.set()

    assert first == Proceed(body=document[:19])
    assert await last == Proceed(body=document[19:])
    exchange.close()
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


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
async def test_nobody_is_sent_elsewhere_by_a_provider(status):
    world = World()
    exchange = await forwarded(world)

    refused = refusal(await exchange.receive(response_headers(status, b"text/html", (b"location", b"https://evil"))))

    assert refused[0] == 502
    assert "evil" not in str(refused)
    assert [receipt.http_status for receipt in world.sink.receipts] == [status]


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


def redacting(action: Action) -> World:
    world = World()
    policy = Policy(response={"EMAIL_ADDRESS": action})
    world.more["guardrails"] = guardrails.compiled([Configured("pii", policy, Action.BLOCK, default_on=True)])
    return world


async def test_what_was_found_before_trailers_is_counted_once():
    exchange = await forwarded(redacting(Action.MASK))
    await exchange.receive(response_headers())
    said = {"choices": [{"message": {"content": "ann@example.com"}}], "usage": USAGE}
    await exchange.receive(ResponseBody(json.dumps(said).encode(), end_of_stream=False))

    assert await exchange.receive(ResponseTrailers()) == PROCEED
    assert exchange.close().redactions == {("response", "EMAIL_ADDRESS", "mask"): 1}


async def test_what_is_found_at_trailers_in_a_text_that_was_held_ends_the_stream():
    world = redacting(Action.BLOCK)
    exchange = await forwarded(world, stream=True)
    await exchange.receive(response_headers(200, b"text/event-stream"))
    said = {"choices": [{"index": 0, "delta": {"content": "to ann@example.com"}}]}
    await exchange.receive(ResponseBody(b"data: " + json.dumps(said).encode() + b"\n\n", end_of_stream=False))

    with pytest.raises(StreamEnded):
        await exchange.receive(ResponseTrailers())
    assert exchange.close().reason == "blocked_entity"
    assert [receipt.cut for receipt in world.sink.receipts] == [True]


async def test_an_answer_of_trailers_alone_is_refused_where_it_would_have_to_be_read():
    world = redacting(Action.MASK)
    exchange = await forwarded(world)
    await exchange.receive(response_headers())

    assert refusal(await exchange.receive(ResponseTrailers()))[0] == 502
    exchange.close()
    assert len(world.sink.receipts) == 1


async def test_an_unpriced_model_is_booked_without_a_price_never_as_nothing():
    world = World()
    exchange = await forwarded(world, model="homemade")
    await exchange.receive(response_headers())
    await exchange.receive(ResponseBody(json.dumps({"usage": USAGE}).encode(), end_of_stream=True))

    assert [receipt.spend for receipt in world.sink.receipts] == [None]
