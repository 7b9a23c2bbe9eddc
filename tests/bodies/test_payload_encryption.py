"""Texts that come encrypted and go back encrypted, with the real cipher."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies import response
from extproc.bodies.payload_encryption import Sealing
from extproc.bodies.redacted import WithheldBody
from extproc.errors import MalformedBody
from extproc.events import Proceed
from extproc.providers import anthropic_messages, openai_chat

CIPHER = Fernet(Fernet.generate_key())
JSON, SSE = {b"content-type": b"application/json; charset=utf-8"}, {b"content-type": b"text/event-stream"}


def token(text: str, cipher: Fernet = CIPHER) -> str:
    return cipher.encrypt(text.encode()).decode()


def plain(text: str) -> str:
    return CIPHER.decrypt(text.encode()).decode()


def opened(message: dict[str, Any]) -> tuple[dict[str, Any], int]:
    sealing = Sealing(CIPHER)
    document = {"model": msgspec.Raw(b'"m"'), "messages": msgspec.Raw(json.dumps([message]).encode())}
    sealing.open(openai_chat, document)
    return json.loads(bytes(document["messages"]))[0], sealing.opened


@given(st.text(max_size=300))
def test_whatever_was_encrypted_is_opened(text):
    message, count = opened({"role": "user", "content": token(text)})

    assert (message["content"], count) == (text, 1)


def test_tokens_are_found_inside_of_texts_and_in_every_part():
    part = {"type": "text", "text": f"Translate: {token('one')}, then {token('two')}."}

    message, count = opened({"role": "user", "content": [part]})

    assert (message["content"][0]["text"], count) == ("Translate: one, then two.", 2)


def test_tokens_in_the_arguments_of_a_tool_call_leave_json():
    arguments = json.dumps({"to": token('say "hi"\n')})
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}

    message, _ = opened({"role": "assistant", "tool_calls": [call]})

    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"to": 'say "hi"\n'}


@pytest.mark.parametrize("before", ["\n", "\t", "\x01", "\u2028"])
def test_tokens_behind_an_escape_of_json_are_opened_too(before):
    call = {"name": "f", "arguments": json.dumps({"to": before + token("you")})}

    message, count = opened({"role": "assistant", "function_call": call, "more": {"to": before + token("me")}})

    assert json.loads(message["function_call"]["arguments"]) == {"to": before + "you"}
    assert (message["more"], count) == ({"to": before + "me"}, 2)


@pytest.mark.parametrize("text", ["plain", "", "gAAAAA", "gAAAAABshort", "x" * 500, "agAAAAA" + "b" * 200])
def test_what_is_no_token_stays(text):
    assert opened({"role": "user", "content": text}) == ({"role": "user", "content": text}, 0)


@pytest.mark.parametrize(
    "broken",
    [
        token("x", Fernet(Fernet.generate_key())),
        token("x")[:-8] + "AAAAAA==",
        CIPHER.encrypt(b"\xff\xfe").decode(),
        token("x") + " " + token("y", Fernet(Fernet.generate_key())),
    ],
    # Tokens are random, and every process must give its tests the same names.
    ids=["another key", "damaged", "no text", "one of two"],
)
def test_a_token_that_does_not_open_is_the_clients_mistake_and_quotes_nothing(broken):
    with pytest.raises(MalformedBody) as refused:
        opened({"role": "user", "content": broken})

    assert refused.value.status == 400
    assert broken[:20] not in str(refused.value)


def test_an_old_token_is_opened_too():
    old = CIPHER.encrypt_at_time(b"x", 1_000_000_000).decode()

    assert opened({"role": "user", "content": old})[0]["content"] == "x"


def through(api: Any, headers: dict[bytes, bytes], body: bytes, size: int = 7) -> bytes:
    """A body in pieces through what encrypts it."""
    stage = Sealing(CIPHER).body(api, headers, 1 << 20)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    passed = [response.take(stage, piece, last=number == len(pieces) - 1) for number, piece in enumerate(pieces)]
    return b"".join(piece if given is None else given for piece, given in zip(pieces, passed, strict=True))


def test_every_text_of_a_whole_answer_is_a_token_and_nothing_else_changes():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {
        "role": "assistant",
        "content": "héllo",
        "reasoning_content": "why",
        "tool_calls": [call],
        "refusal": None,
    }
    answer = {
        "id": "1", "object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 1},
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }  # fmt: skip

    told = json.loads(through(openai_chat, JSON, json.dumps(answer).encode()))

    sealed = told["choices"][0]["message"]
    assert (plain(sealed["content"]), plain(sealed["reasoning_content"])) == ("héllo", "why")
    assert plain(json.loads(sealed["tool_calls"][0]["function"]["arguments"])) == '{"a": 1}'
    sealed.update(message)
    assert told == answer


def test_arguments_that_were_sealed_whole_are_opened_whole_in_the_next_request():
    arguments = f'"{token(json.dumps({"a": 1}))}"'
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}

    message, _ = opened({"role": "assistant", "tool_calls": [call]})

    assert message["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_each_delta_of_a_stream_is_a_token_of_its_own(size):
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {}]
    events = [{"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"

    passed = through(openai_chat, SSE, body, size)

    assert passed.endswith(b"data: [DONE]\n\n")
    assert b"Hel" not in passed
    told = [json.loads(line[6:]) for line in passed.split(b"\n\n")[:-2]]
    pieces = [event["choices"][0]["delta"].get("content") for event in told]
    assert (pieces[0], pieces[3]) == ("", None)
    assert [plain(piece) for piece in pieces[1:3]] == ["Hel", "lo"]


def test_anthropics_streams_are_encrypted_too():
    events = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
    ]
    body = b"".join(
        b"event: " + event["type"].encode() + b"\ndata: " + json.dumps(event).encode() + b"\n\n"  # type: ignore[attr-defined]
        for event in events
    )

    passed = through(anthropic_messages, SSE, body, 1_000)

    told = [json.loads(line[6:]) for line in passed.split(b"\n") if line.startswith(b"data: ")]
    assert plain(told[1]["delta"]["text"]) == "Hello"
    assert [event["type"] for event in told] == [event["type"] for event in events]


def test_an_error_in_the_middle_of_a_stream_keeps_its_shape():
    error = {"message": "nothing of 'a secret' can be said", "type": "server_error", "code": None, "param": None}

    passed = through(openai_chat, SSE, b"data: " + json.dumps({"error": error}).encode() + b"\n\n")

    told = json.loads(passed.removeprefix(b"data: "))["error"]
    assert plain(told.pop("message")) == error.pop("message")
    assert told == error


@pytest.mark.parametrize("error", [500, None, []])
def test_an_error_that_is_no_text_stays(error):
    event = b"data: " + json.dumps({"error": error}).encode() + b"\n\n"

    assert json.loads(through(openai_chat, SSE, event).removeprefix(b"data: ")) == {"error": error}


@pytest.mark.parametrize("headers", [{}, {b"content-type": b"text/plain"}, {**JSON, b"content-encoding": b"gzip"}])
def test_an_answer_that_cannot_be_read_does_not_pass(headers):
    assert isinstance(Sealing(CIPHER).body(openai_chat, headers, 1_000), WithheldBody)


def test_a_token_where_none_is_expected_is_the_clients_mistake():
    hologram = [{"type": "hologram", "text": token("x")}]

    with pytest.raises(MalformedBody, match="stands where none is expected"):
        opened({"role": "user", "content": hologram})


@pytest.mark.parametrize(("kind", "whole"), [(b"application/json", True), (b"text/event-stream", False)])
def test_an_answer_that_is_encrypted_loses_its_length_and_is_whole_where_it_is_no_stream(kind, whole):
    _, reply = Sealing(CIPHER).begin(openai_chat, {b"content-type": kind}, 1_000, Proceed(remove_headers=(b"x",)))

    assert reply == Proceed(remove_headers=(b"x", b"content-length"), buffer_response_body=whole)


def test_names_ids_and_numbers_are_not_encrypted():
    sealing = Sealing(Fernet(Fernet.generate_key()))
    answer: dict[str, Any] = {"id": "a b", "systemName": None, "created": 10**18, "choices": []}

    assert json.loads(sealing.answer(openai_chat, json.dumps(answer).encode())) == answer


def test_an_id_of_a_request_stays_as_it_is():
    sealing = Sealing(Fernet(Fernet.generate_key()))
    raw = json.dumps([{"role": "an odd role", "content": sealing.seal("hello")}]).encode()
    document = {"messages": msgspec.Raw(raw)}

    sealing.open(openai_chat, document)

    assert json.loads(bytes(document["messages"])) == [{"role": "an odd role", "content": "hello"}]


def test_an_empty_list_stays_where_clients_expect_one():
    answer = {"choices": [{"message": {"content": "", "annotations": []}, "content_filter_results": {}}]}
    sealing = Sealing(CIPHER)

    assert json.loads(sealing.answer(openai_chat, json.dumps(answer).encode())) == answer
