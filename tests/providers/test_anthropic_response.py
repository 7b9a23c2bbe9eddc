"""Anthropic's answers: inclusive usage, text for an estimate, the end of a stream, errors in its own shape."""

from __future__ import annotations

import json

import anthropic
import httpx2
import pytest

from extproc.model import Usage
from extproc.providers import anthropic_response
from extproc.providers.api import Reading

CACHED = {"input_tokens": 10, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 3}


def read(payload: object) -> Reading:
    return anthropic_response.read(json.dumps(payload).encode())


def test_the_input_of_a_message_includes_what_was_cached() -> None:
    reading = read({"type": "message", "id": "msg_1", "model": "claude-x", "content": [], "usage": CACHED})

    assert reading.usage == Usage(input_tokens=22, output_tokens=3, cache_read_tokens=7, cache_write_tokens=5)
    assert (reading.response_id, reading.model) == ("msg_1", "claude-x")


def test_every_kind_of_block_counts_as_text() -> None:
    content = [
        {"type": "thinking", "thinking": "hm "},
        {"type": "text", "text": "ho "},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}},
    ]

    assert read({"type": "message", "content": content}).text == 'hm ho look{"a": 1}'


def test_a_stream_is_told_its_input_first_and_its_output_last() -> None:
    start = read({"type": "message_start", "message": {"id": "msg_1", "usage": CACHED}})
    end = read({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}})

    assert (start.response_id, start.usage_begins, end.usage_begins) == ("msg_1", True, False)
    assert anthropic_response.merge(start.usage, end.usage) == Usage(
        input_tokens=22, output_tokens=40, cache_read_tokens=7, cache_write_tokens=5
    )


@pytest.mark.parametrize("delta", [{"text": "ab"}, {"thinking": "ab"}, {"partial_json": "ab"}])
def test_the_text_of_a_delta_is_read_whatever_its_channel(delta: dict[str, str]) -> None:
    assert read({"type": "content_block_delta", "index": 0, "delta": delta}).text == "ab"


def test_only_message_stop_ends_a_stream() -> None:
    assert read({"type": "message_stop"}).finished
    assert not read({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}).finished


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b'{"usage": 5}', b'{"usage": {"output_tokens": -1}}'])
def test_what_is_not_understood_is_an_empty_reading(payload: bytes) -> None:
    assert anthropic_response.read(payload) == Reading()


def test_an_error_has_the_shape_of_anthropic() -> None:
    body = anthropic_response.error_body("No.", "auth_error", "key", 401)

    assert json.loads(body) == {"type": "error", "error": {"type": "authentication_error", "message": "No."}}
    assert anthropic_response.error_event("No.", "auth_error", "key", 401) == b"event: error\ndata: " + body + b"\n\n"


@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("budget_exceeded", 400, "billing_error"),
        ("invalid_request_error", 400, "invalid_request_error"),
        ("auth_error", 403, "permission_error"),
        ("invalid_request_error", 404, "not_found_error"),
        ("invalid_request_error", 415, "invalid_request_error"),
        ("throttling_error", 429, "rate_limit_error"),
        ("service_unavailable", 503, "overloaded_error"),
        ("provider_answer_refused", 502, "api_error"),
    ],
)
def test_the_type_of_an_error_is_one_that_anthropics_clients_know(kind: str, status: int, told: str) -> None:
    error = json.loads(anthropic_response.error_body("No.", kind, None, status))["error"]

    assert error["type"] == told


def ask(answer: httpx2.Response, *, stream: bool) -> list[str]:
    """The types of the events that the real SDK makes of an answer."""
    client = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    sdk = anthropic.Anthropic(api_key="sk-x", base_url="http://gateway", max_retries=0, http_client=client)
    asked = sdk.messages.create(model="c", max_tokens=5, messages=[{"role": "user", "content": "Hi"}], stream=stream)
    return [event.type for event in asked] if isinstance(asked, anthropic.Stream) else [asked.type]


def test_anthropics_sdk_raises_the_error_that_a_body_holds() -> None:
    body = anthropic_response.error_body("No key.", "auth_error", None, 401)

    with pytest.raises(anthropic.AuthenticationError, match="No key"):
        ask(httpx2.Response(401, content=body, headers={"content-type": "application/json"}), stream=False)


def test_anthropics_sdk_raises_the_error_that_ends_a_stream() -> None:
    event = b'event: ping\ndata: {"type": "ping"}\n\n' + anthropic_response.error_event("Gone.", "budget", None, 400)

    with pytest.raises(anthropic.APIStatusError, match="Gone"):
        ask(httpx2.Response(200, content=event, headers={"content-type": "text/event-stream"}), stream=True)
