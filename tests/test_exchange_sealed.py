"""Answers that are encrypted for the client: however their bytes come, only tokens pass, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from cryptography.fernet import Fernet
from exchange_world import World, forwarded, refusal, response_headers
from hypothesis import given
from hypothesis import strategies as st

from extproc import guardrails
from extproc.errors import ProtocolError, StreamEnded
from extproc.events import PROCEED, Proceed, ResponseBody
from extproc.exchange import Exchange
from extproc.guardrails import Configured
from extproc.model import SecretRef
from extproc.payload_keys import PayloadKey, PayloadKeys
from extproc.redaction import Action, Policy

SECRET = Fernet.generate_key()
CIPHER = Fernet(SECRET)
EMAIL, MASKED = "ann@example.com", "<EMAIL_ADDRESS_1>"
SAID = f"Confidential: {MASKED}, and more."


@pytest.mark.parametrize("guarded", [False, True], ids=["alone", "behind a guardrail"])
@given(
    deltas=st.lists(st.integers(0, len(SAID)), max_size=6),
    cuts=st.lists(st.integers(0, 2_000), max_size=12),
    end_alone=st.booleans(),
    wants_usage=st.booleans(),
)
def test_a_stream_in_any_pieces_is_tokens_of_the_whole_text(guarded, deltas, cuts, end_alone, wants_usage):
    texts = [SAID[start:end] for start, end in _spans(deltas, len(SAID))]
    body = stream(texts)
    pieces = [body[start:end] for start, end in _spans(cuts, len(body))]

    passed = asyncio.run(through(pieces, guarded=guarded, end_alone=end_alone, wants_usage=wants_usage))

    *events, done, rest = passed.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    told = [json.loads(event.removeprefix(b"data: ")) for event in events]
    content = [one["delta"].get("content") for event in told for one in event["choices"]]
    expected = SAID.replace(MASKED, EMAIL) if guarded else SAID
    assert "".join(CIPHER.decrypt(token.encode()).decode() for token in content if token) == expected
    assert any("usage" in event for event in told) == wants_usage


@pytest.mark.parametrize("odd", [b'{"choices": [{"delta": "Confidential"}]}', b'["Confidential"]', b"Confidential"])
async def test_nothing_passes_of_an_event_that_cannot_be_encrypted_nor_of_what_follows(odd):
    said = _event({"choices": [{"index": 0, "delta": {"content": "first"}}]})
    exchange = await sealed_exchange(World(), stream=True)
    await exchange.receive(response_headers(200, b"text/event-stream"))

    first = await exchange.receive(ResponseBody(said, end_of_stream=False))
    second = await exchange.receive(ResponseBody(b"data: " + odd + b"\n\n" + said, end_of_stream=False))

    assert b"first" not in (first.body or b"first")
    assert json.loads(second.body.removeprefix(b"data: "))["error"]["code"] == "502"
    with pytest.raises(StreamEnded):
        await exchange.receive(ResponseBody(said, end_of_stream=False))
    exchange.close()


@pytest.mark.parametrize("odd", [b'{"choices": [{"message": {"content": [{"type": "odd"}]}}]}', b"Confidential", b""])
async def test_an_answer_that_cannot_be_encrypted_does_not_pass(odd):
    exchange = await sealed_exchange(World())
    await exchange.receive(response_headers(200))

    reply = await exchange.receive(ResponseBody(odd, end_of_stream=True))

    assert refusal(reply)[0] == 502
    exchange.close()


async def test_what_was_thought_is_a_token_in_each_detail():
    detail = {"type": "reasoning.text", "index": 0, "format": "unknown", "text": SAID}
    said = _event({"choices": [{"index": 0, "delta": {"content": "", "reasoning_details": [detail]}}]})

    passed = await through([said], guarded=False, end_alone=True, wants_usage=False)

    (told,) = json.loads(passed.removeprefix(b"data: "))["choices"][0]["delta"]["reasoning_details"]
    assert CIPHER.decrypt(told.pop("text").encode()).decode() == SAID
    assert told == {"type": "reasoning.text", "index": 0, "format": "unknown"}


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_document_that_envoy_has_held_is_whole_also_where_it_does_not_say_so(is_told):
    exchange = await sealed_exchange(World())
    headers = await exchange.receive(response_headers(200))
    document = json.dumps({"choices": [{"message": {"content": SAID}}]}).encode()

    reply = await exchange.receive(ResponseBody(document, end_of_stream=is_told))

    assert headers.buffer_response_body
    assert CIPHER.decrypt(json.loads(reply.body or b"")["choices"][0]["message"]["content"]).decode() == SAID
    if not is_told:
        assert await exchange.receive(ResponseBody(b"", end_of_stream=True)) == PROCEED
    exchange.close()


async def test_others_have_their_turn_while_an_answer_of_many_texts_is_encrypted():
    world = World()
    exchange = await sealed_exchange(world)
    await exchange.receive(response_headers(200))
    texts = json.dumps({"choices": [{"message": {"content": ["a"] * 5_000}}]}).encode()

    encrypting = asyncio.ensure_future(exchange.receive(ResponseBody(texts, end_of_stream=True)))
    await asyncio.sleep(0)
    assert world.sink.receipts == []
    reply = await encrypting

    assert len(json.loads(reply.body or b"")["choices"][0]["message"]["content"]) == 5_000
    exchange.close()


async def test_an_answer_that_takes_too_long_to_be_encrypted_does_not_pass():
    world = World()
    world.more["redaction_deadline_ms"] = 0
    exchange = await sealed_exchange(world)
    await exchange.receive(response_headers(200))
    texts = json.dumps({"choices": [{"message": {"content": ["a"] * 5_000}}]}).encode()

    assert refusal(await exchange.receive(ResponseBody(texts, end_of_stream=True)))[0] == 502
    exchange.close()


async def test_nothing_passes_behind_a_document_that_was_whole():
    exchange = await sealed_exchange(World())
    await exchange.receive(response_headers(200))
    await exchange.receive(ResponseBody(b'{"choices": []}', end_of_stream=False))

    with pytest.raises(ProtocolError):
        await exchange.receive(ResponseBody(b"Confidential", end_of_stream=True))
    exchange.close()


async def through(pieces: list[bytes], *, guarded: bool, end_alone: bool, wants_usage: bool) -> bytes:
    """What a client gets of an answer in these pieces."""
    world = World()
    if guarded:
        policy = Policy(request={"EMAIL_ADDRESS": Action.MASK})
        world.more["guardrails"] = guardrails.compiled([Configured("pii", policy, Action.BLOCK, default_on=True)])
    exchange = await sealed_exchange(
        world, stream=True, **({"stream_options": {"include_usage": True}} if wants_usage else {})
    )
    world.sink.durable.set()
    await exchange.receive(response_headers(200, b"text/event-stream"))
    messages = [ResponseBody(piece, end_of_stream=False) for piece in pieces]
    messages = [*messages, ResponseBody(b"", end_of_stream=True)] if end_alone else _with_end(messages)
    passed = []
    for message in messages:
        reply = await exchange.receive(message)
        assert isinstance(reply, Proceed)
        passed.append(message.body if reply.body is None else reply.body)
    exchange.close()
    return b"".join(passed)


async def sealed_exchange(world: World, **fields: Any) -> Exchange:
    """One whose request was encrypted."""
    world.more["payload_keys"] = PayloadKeys([PayloadKey(SecretRef("env", "K"))], lambda _: SECRET.decode())
    asked = {"role": "user", "content": CIPHER.encrypt(f"Write to {EMAIL}".encode()).decode()}
    return await forwarded(world, messages=[asked], **fields)


def stream(texts: list[str]) -> bytes:
    deltas: list[dict[str, Any]] = [{"content": text} for text in texts]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices += [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    head: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    usage = {"prompt_tokens": 19, "completion_tokens": 7, "total_tokens": 26}
    events = [head | {"choices": [choice]} for choice in choices] + [head | {"choices": [], "usage": usage}]
    return b"".join(map(_event, events)) + b"data: [DONE]\n\n"


def _event(told: Any) -> bytes:
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def _with_end(messages: list[ResponseBody]) -> list[ResponseBody]:
    return [*messages[:-1], ResponseBody(messages[-1].body, end_of_stream=True)]


def _spans(cuts: list[int], end: int) -> list[tuple[int, int]]:
    edges = [0, *sorted(min(cut, end) for cut in cuts), end]
    return list(pairwise(edges))
