"""Where Anthropic's Messages API has texts: requests, answers, and the channels of a stream."""

from __future__ import annotations

from typing import Any

import pytest
from providers.test_openai_texts import Echo
from providers.test_texts import Shouting

from extproc.errors import UnknownShape
from extproc.providers import anthropic_messages
from extproc.providers.anthropic_texts import AnthropicStream
from extproc.providers.texts import walk

CACHED = {"cache_control": {"type": "ephemeral"}}
#: A block as it comes, and as it goes.
BLOCKS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "text", "text": "a", **CACHED}, {"type": "text", "text": "A", **CACHED}),
    (
        {"type": "text", "text": "a", "citations": [{"type": "char_location", "cited_text": "b", "start": 1}]},
        {"type": "text", "text": "A", "citations": [{"type": "char_location", "cited_text": "B", "start": 1}]},
    ),
    (
        {"type": "thinking", "thinking": "a", "signature": "sig"},
        {"type": "thinking", "thinking": "A", "signature": "sig"},
    ),
    ({"type": "redacted_thinking", "data": "xyz"}, {"type": "redacted_thinking", "data": "xyz"}),
    (
        {"type": "tool_use", "id": "toolu_x", "name": "f", "input": {"to": ["a", 1]}},
        {"type": "tool_use", "id": "toolu_x", "name": "F", "input": {"TO": ["A", 1]}},
    ),
    (
        {"type": "server_tool_use", "id": "s", "name": "f", "input": {}},
        {"type": "server_tool_use", "id": "s", "name": "F", "input": {}},
    ),
    (
        {"type": "tool_result", "tool_use_id": "toolu_x", "content": "a", "is_error": False},
        {"type": "tool_result", "tool_use_id": "toolu_x", "content": "A", "is_error": False},
    ),
    (
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a"}]},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "A"}]},
    ),
    (
        {"type": "web_search_tool_result", "tool_use_id": "t", "content": [
            {"type": "web_search_result", "title": "a", "url": "b", "encrypted_content": "xyz", "page_age": None},
        ]},
        {"type": "web_search_tool_result", "tool_use_id": "t", "content": [
            {"type": "web_search_result", "title": "A", "url": "B", "encrypted_content": "xyz", "page_age": None},
        ]},
    ),
    (
        {"type": "bash_code_execution_tool_result", "tool_use_id": "t", "content": {
            "type": "bash_code_execution_result", "stdout": "a", "return_code": 0,
        }},
        {"type": "bash_code_execution_tool_result", "tool_use_id": "t", "content": {
            "type": "bash_code_execution_result", "stdout": "A", "return_code": 0,
        }},
    ),
    (
        {"type": "search_result", "source": "a", "title": "b", "content": [{"type": "text", "text": "c"}]},
        {"type": "search_result", "source": "A", "title": "B", "content": [{"type": "text", "text": "C"}]},
    ),
]  # fmt: skip


def delta(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def begun(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def stop(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


@pytest.mark.parametrize(("block", "expected"), BLOCKS, ids=lambda block: str(block["type"]))
def test_the_texts_of_every_kind_of_block_are_found_in_requests_and_answers(block, expected):
    asked = walk([{"role": "user", "content": [block]}], anthropic_messages.REQUEST_TEXTS["messages"], Shouting())
    answer = {"id": "m", "type": "message", "role": "assistant", "content": [block], "stop_reason": "end_turn"}

    assert asked == [{"role": "user", "content": [expected]}]
    assert walk(answer, anthropic_messages.RESPONSE_TEXTS, Shouting()) == answer | {"content": [expected]}


def test_a_request_has_texts_in_its_system_prompt_its_tools_and_its_stops():
    document = {
        "model": "m", "system": "a", "stop_sequences": ["b"], "metadata": {"user_id": "c"},
        "messages": [{"role": "user", "content": "d"}], "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "f", "description": "e", "input_schema": {"description": "g"}, **CACHED}],
        "tool_choice": {"type": "tool", "name": "f"},
    }  # fmt: skip
    table = anthropic_messages.REQUEST_TEXTS

    walked = {name: walk(value, table[name], Shouting()) for name, value in document.items() if name in table}

    assert walked == {
        "model": "m", "system": "A", "stop_sequences": ["B"],
        "messages": [{"role": "user", "content": "D"}], "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "F", "description": "E", "input_schema": {"DESCRIPTION": "G"}, **CACHED}],
        "tool_choice": {"type": "tool", "name": "F"},
    }  # fmt: skip
    assert "metadata" not in table  # what no table names is searched


@pytest.mark.parametrize(
    ("block", "what"),
    [
        ({"type": "image", "source": {"type": "base64", "data": "AAAA"}}, "image"),
        ({"type": "document", "source": {"type": "url", "url": "https://x"}}, "file"),
        ({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {}}]}, "image"),
        (
            {
                "type": "web_fetch_tool_result",
                "tool_use_id": "t",
                "content": {"type": "web_fetch_result", "content": {}},
            },
            "file",
        ),
    ],
)
def test_what_cannot_be_read_is_told(block, what):
    told = Shouting()

    walk([{"role": "user", "content": [block]}], anthropic_messages.REQUEST_TEXTS["messages"], told)

    assert told.met == [what]


@pytest.mark.parametrize("block", [{"type": "hologram"}, {"text": "a"}, 7])
def test_a_block_of_a_type_that_nobody_knows_is_an_error(block):
    with pytest.raises(UnknownShape):
        walk([{"role": "user", "content": [block]}], anthropic_messages.REQUEST_TEXTS["messages"], Shouting())


@pytest.mark.parametrize(
    ("kind", "field", "json"),
    [
        ("text_delta", "text", False),
        ("thinking_delta", "thinking", False),
        ("input_json_delta", "partial_json", True),
        ("compaction_delta", "content", False),
    ],
)
def test_pieces_of_a_text_are_a_channel_whose_rest_comes_before_its_blocks_stop(kind, field, json):
    echo = Echo()
    stream = AnthropicStream(echo)

    first = stream.rewrite(delta(3, type=kind, **{field: "ab"}))
    last = stream.rewrite(stop(3))

    assert first == [delta(3, type=kind, **{field: "A"})]
    assert last == [delta(3, type=kind, **{field: "B"}), stop(3)]
    assert echo.json == {(3, field): json}


def test_a_block_may_begin_with_a_piece_of_its_text():
    stream = AnthropicStream(Echo())

    assert stream.rewrite(begun(type="text", text="ab")) == [begun(type="text", text="A")]
    assert stream.rewrite(delta(type="text_delta", text="cd")) == [delta(type="text_delta", text="BC")]
    assert stream.rewrite(stop()) == [delta(type="text_delta", text="D"), stop()]


def test_blocks_do_not_share_what_is_held():
    stream = AnthropicStream(Echo())
    stream.rewrite(delta(0, type="text_delta", text="ab"))
    stream.rewrite(delta(1, type="text_delta", text="cd"))

    assert stream.rewrite(stop(0)) == [delta(0, type="text_delta", text="B"), stop(0)]
    assert stream.remaining() == [delta(1, type="text_delta", text="D")]
    assert stream.remaining() == []


def test_a_tools_whole_input_is_searched_where_its_block_begins():
    (event,) = AnthropicStream(Echo()).rewrite(begun(type="tool_use", id="t", name="f", input={"a": "b"}))

    assert event == begun(type="tool_use", id="t", name="F", input={"A": "B"})


def test_signatures_stay_and_citations_are_searched_whole():
    stream = AnthropicStream(Echo())
    citation = {"type": "web_search_result_location", "cited_text": "a", "encrypted_index": "xyz"}

    assert stream.rewrite(delta(type="signature_delta", signature="ab")) == [
        delta(type="signature_delta", signature="ab")
    ]
    assert stream.rewrite(delta(type="citations_delta", citation=citation)) == [
        delta(type="citations_delta", citation={**citation, "cited_text": "A"})
    ]


def test_what_an_event_has_beside_its_text_is_searched():
    (event,) = AnthropicStream(Echo()).rewrite({**delta(type="text_delta", text="ab", novelty="x"), "padding": "y"})

    assert event == {**delta(type="text_delta", text="A", novelty="X"), "padding": "Y"}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 3}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "ping"},
    ],
)  # fmt: skip
def test_an_event_without_a_text_stays_as_it_is(event):
    assert AnthropicStream(Echo()).rewrite(event) == [event]


@pytest.mark.parametrize(
    ("event", "rewritten"),
    [
        ({"type": "message_stop"}, {"type": "message_stop"}),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "a"}},
            {"type": "error", "error": {"type": "overloaded_error", "message": "A"}},
        ),
    ],
)
def test_what_no_stop_has_let_out_comes_before_the_end(event, rewritten):
    stream = AnthropicStream(Echo())
    stream.rewrite(delta(type="text_delta", text="ab"))

    assert stream.rewrite(event) == [delta(type="text_delta", text="B"), rewritten]


@pytest.mark.parametrize(
    "event",
    [
        [], {}, {"type": 7}, {"type": "novelty"}, {"type": "content_block_stop"},
        {"type": "content_block_start", "index": 0, "content_block": []}, begun(type="hologram"),
        delta(type="novelty_delta", text="a"), delta(type=[]), delta(type="text_delta", text=7),
        {"type": "content_block_delta", "index": "0", "delta": {"type": "text_delta", "text": "a"}},
    ],
)  # fmt: skip
def test_an_event_of_a_shape_that_nobody_knows_is_an_error(event):
    with pytest.raises(UnknownShape):
        AnthropicStream(Echo()).rewrite(event)
