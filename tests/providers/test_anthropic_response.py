"""Anthropic's answers: inclusive usage, text for an estimate, the end of a stream, errors in its own shape."""

from __future__ import annotations

import json

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

    assert start.response_id == "msg_1"
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

    assert json.loads(body) == {"type": "error", "error": {"type": "auth_error", "message": "No."}}
    assert anthropic_response.error_event("No.", "auth_error", "key", 401) == b"event: error\ndata: " + body + b"\n\n"
