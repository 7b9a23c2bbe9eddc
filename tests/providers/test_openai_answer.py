"""The chunks of an OpenAI stream, as one answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.providers.openai_answer import MOST, OpenAiAnswer


def assembled(*events: object) -> Any:
    answer = OpenAiAnswer()
    for event in events:
        answer.feed(event)
    return answer.answer()


def chunk(index: int = 0, finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"id": "c1", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def test_the_pieces_of_each_choice_are_joined():
    answer = assembled(
        chunk(role="assistant", content=""), chunk(1, content="b"), chunk(content="Hel"), chunk(content="lo"),
        chunk(finish="stop"),
        {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": {"total_tokens": 3}},
    )  # fmt: skip

    assert answer == {
        "id": "c1",
        "model": "m",
        "object": "chat.completion",
        "usage": {"total_tokens": 3},
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"},
            {"index": 1, "message": {"content": "b"}},
        ],
    }


def test_a_role_that_each_chunk_repeats_is_told_once():
    assert assembled(chunk(role="assistant", content="a"), chunk(role="assistant", content="b"))["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "ab"}}
    ]


def test_calls_of_tools_are_joined_by_their_index():
    def call(index: int, **function: str) -> dict[str, object]:
        return {"index": index, "id": f"call-{index}", "type": "function", "function": function}

    answer = assembled(
        chunk(tool_calls=[call(0, name="find", arguments='{"a"')]),
        chunk(tool_calls=[call(1, name="look", arguments="{}")]),
        chunk(tool_calls=[call(0, arguments=": 1}")]),
    )

    [choice] = answer["choices"]
    assert [one["function"] for one in choice["message"]["tool_calls"]] == [
        {"name": "find", "arguments": '{"a": 1}'},
        {"name": "look", "arguments": "{}"},
    ]


def test_texts_of_completions_and_lists_without_an_index_are_joined_and_probabilities_left_out():
    def piece(text: str, *found: object) -> dict[str, object]:
        return {"choices": [{"index": 0, "text": text, "found": [*found], "logprobs": {"tokens": [text]}}]}

    assert assembled(piece("a", 1), piece("b", {"x": 2}))["choices"] == [
        {"index": 0, "text": "ab", "found": [1, {"x": 2}]}
    ]


@pytest.mark.parametrize(
    "event", [None, 7, [], "x", {"choices": "none"}, {"choices": [None, 3]}, {"choices": [{"delta": "text"}]}]
)
def test_what_is_not_understood_is_no_error(event):
    assembled(event, event, chunk(content="a"), event)


def test_what_changes_its_kind_begins_anew():
    assert assembled(chunk(content="a"), chunk(content={"b": "c"}), chunk(content=["d"]))["choices"] == [
        {"index": 0, "message": {"content": [{"type": "text", "text": "d"}]}}
    ]


def test_the_pieces_of_all_parts_of_a_type_are_one_text():
    def thought(text: str) -> dict[str, object]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    image = {"type": "image_url", "image_url": {"url": "https://example.com"}}
    answer = assembled(
        chunk(content="a"), chunk(content=[thought("H"), image]), chunk(content=[thought("m"), "b"]),
        chunk(content=[{"type": "text", "text": "c"}, 7]), chunk(content="d"),
    )  # fmt: skip

    assert answer["choices"][0]["message"]["content"] == [{"type": "text", "text": "abcd"}, thought("Hm"), image, 7]


def test_calls_and_thoughts_have_their_place_where_they_have_no_index():
    def call(text: str) -> dict[str, object]:
        return {"index": None, "function": {"arguments": text}}

    answer = assembled(
        chunk(tool_calls=[call("[1"), call("{")], reasoning_details=[{"type": "reasoning.text", "text": "Hm"}, 7]),
        chunk(tool_calls=[call("]"), call("}")], reasoning_details=[{"type": "reasoning.text", "text": "m."}, 7]),
    )

    message = answer["choices"][0]["message"]
    assert [one["function"]["arguments"] for one in message["tool_calls"]] == ["[1]", "{}"]
    assert message["reasoning_details"] == [{"type": "reasoning.text", "text": "Hmm."}]


def test_choices_and_calls_beyond_what_any_stream_has_are_left_out():
    answer = assembled(*(chunk(index, content="x") for index in range(MOST + 5)))
    calls = assembled(chunk(tool_calls=[{"index": index} for index in range(MOST + 5)]))

    assert len(answer["choices"]) == MOST
    assert len(calls["choices"][0]["message"]["tool_calls"]) == MOST


def test_a_stream_of_nothing_is_no_answer():
    assert assembled() == {}


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=5)), max_size=20))
def test_the_text_of_a_choice_is_all_its_pieces_in_order(pieces):
    answer = assembled(*(json.loads(json.dumps(chunk(index, content=text))) for index, text in pieces))

    for choice in answer.get("choices", []):
        wanted = "".join(text for index, text in pieces if index == choice["index"])
        assert choice["message"]["content"] == wanted
