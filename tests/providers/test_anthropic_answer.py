"""The events of an Anthropic stream, as one message."""

from __future__ import annotations

import time
from typing import Any

import pytest

from extproc.providers.anthropic_answer import MOST, AnthropicAnswer

START = {"type": "message_start", "message": {"id": "m1", "role": "assistant", "content": [], "usage": {"input": 5}}}


def assembled(*events: object) -> Any:
    answer = AnthropicAnswer()
    for event in events:
        answer.feed(event)
    return answer.answer()


def block(index: object, **content: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: object, kind: str, **piece: object) -> dict[str, object]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **piece}}


def test_blocks_are_joined_and_the_end_is_taken_in():
    message = assembled(
        START,
        {"type": "ping"},
        block(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Let"),
        delta(0, "thinking_delta", thinking=" me"),
        delta(0, "signature_delta", signature="EqQ"),
        block(1, type="text", text="Hel"),
        delta(1, "text_delta", text="lo"),
        delta(1, "citations_delta", citation={"cited_text": "a"}),
        delta(1, "citations_delta", citation={"cited_text": "b"}),
        block(2, type="tool_use", id="t1", name="find", input={}),
        delta(2, "input_json_delta", partial_json='{"a"'),
        delta(2, "input_json_delta", partial_json=": 1}"),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output": 9}},
        {"type": "message_stop"},
    )

    assert message == {
        "id": "m1",
        "role": "assistant",
        "stop_reason": "tool_use",
        "usage": {"input": 5, "output": 9},
        "content": [
            {"type": "thinking", "thinking": "Let me", "signature": "EqQ"},
            {"type": "text", "text": "Hello", "citations": [{"cited_text": "a"}, {"cited_text": "b"}]},
            {"type": "tool_use", "id": "t1", "name": "find", "input": {"a": 1}},
        ],
    }


def test_the_input_of_a_tool_that_was_cut_off_stays_a_text():
    message = assembled(START, block(0, type="tool_use", input={}), delta(0, "input_json_delta", partial_json='{"a'))

    assert message["content"] == [{"type": "tool_use", "input": '{"a'}]


@pytest.mark.parametrize(
    "event",
    [
        None, 7, [], {}, {"type": 3}, {"type": "message_start"}, {"type": "message_delta", "usage": 3}, block("x"),
        {"type": "content_block_start", "index": 0}, delta(9, "text_delta", text="x"), delta(0, "text_delta", text=3),
        delta(0, "unknown_delta", text="x"), {"type": "content_block_delta", "index": 0},
    ],
)  # fmt: skip
def test_what_is_not_understood_is_no_error(event):
    message = assembled(START, block(0, type="text", text=""), event, delta(0, "text_delta", text="a"))

    assert message["id"] == "m1"


def test_blocks_beyond_what_any_message_has_are_left_out():
    assert len(assembled(START, *(block(index, type="text", text="") for index in range(MOST + 5)))["content"]) == MOST


def test_a_stream_of_nothing_is_no_message():
    assert assembled(block(0, type="text", text="a")) == {}


@pytest.mark.parametrize("index", [[], {}, "0", None, 0.0])
def test_a_piece_of_a_block_that_is_none_is_passed_over(index):
    message = assembled(START, block(0, type="text", text="a"), delta(index, "text_delta", text="b"))

    assert message["content"] == [{"type": "text", "text": "a"}]


def test_many_citations_and_much_usage_take_no_square_of_time():
    events = [delta(0, "citations_delta", citation={"n": number}) for number in range(60_000)]
    events += [{"type": "message_delta", "usage": {str(number): number}} for number in range(60_000)]
    began = time.process_time()

    message = assembled(START, block(0, type="text", text="", citations=None), *events)

    assert time.process_time() - began < 5
    assert len(message["content"][0]["citations"]) == 60_000
    assert len(message["usage"]) == 60_001
