"""Where OpenAI's APIs have texts: requests, answers, and the channels of a stream."""

from __future__ import annotations

from typing import Any

import pytest
from providers.test_texts import Shouting

from extproc.errors import UnknownShape
from extproc.providers import openai_chat, openai_completions, openai_embeddings
from extproc.providers.openai_texts import OpenAiStream
from extproc.providers.texts import Channel, walk


class Echo(Shouting):
    """`Channels` that hold the last character of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[Channel, str] = {}
        self.json: dict[Channel, bool] = {}

    def feed(self, channel: Channel, delta: str, *, json: bool = False) -> str:
        text = self.held.get(channel, "") + delta.upper()
        self.held[channel], self.json[channel] = text[-1:], json
        return text[:-1]

    def flush(self, *first: object) -> list[tuple[Channel, str]]:
        ended = [channel for channel in self.held if channel[: len(first)] == first]
        return [(channel, self.held.pop(channel)) for channel in ended]


def choice(**fields: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, **fields}]}


def test_a_chat_has_texts_in_every_message_and_tool_and_none_in_its_names():
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}}
    document = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}], "tool_calls": [call]}],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"x": "y"}}}],
        "modalities": ["text"],
    }

    walked = {name: walk(value, openai_chat.REQUEST_TEXTS[name], Shouting()) for name, value in document.items()}

    assert walked["messages"][0]["content"] == [{"type": "text", "text": "A"}]
    assert walked["messages"][0]["role"] == "user"
    assert walked["messages"][0]["tool_calls"][0] == {
        "id": "x", "type": "function", "function": {"name": "F", "arguments": '{"A": "B"}'},
    }  # fmt: skip
    assert walked["tools"][0]["function"] == {"name": "F", "description": "D", "parameters": {"X": "Y"}}
    assert walked["modalities"] == ["text"]


def test_an_answer_has_texts_in_every_choice_and_loses_its_logprobs():
    answer = {"id": "c", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "a"}, "logprobs": {"content": []}},
        {"index": 1, "text": "b", "finish_reason": "stop"},
    ]}  # fmt: skip

    assert walk(answer, openai_completions.RESPONSE_TEXTS, Shouting()) == {"id": "c", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "A"}, "logprobs": None},
        {"index": 1, "text": "B", "finish_reason": "stop"},
    ]}  # fmt: skip


def test_embeddings_are_numbers_and_stay_also_in_base64():
    answer = {"object": "list", "data": [{"object": "embedding", "embedding": "AAAA", "index": 0}], "model": "m"}

    assert walk(answer, openai_embeddings.RESPONSE_TEXTS, Shouting()) == answer


def test_every_text_of_a_delta_is_a_channel_of_its_own():
    echo = Echo()
    stream = OpenAiStream(echo)
    delta = {
        "role": "assistant", "content": "ab", "novelty": "cd", "nothing": None,
        "tool_calls": [{"index": 3, "id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "function_call": {"name": "g", "arguments": "[]"}, "audio": {"id": "x", "transcript": "ef", "expires_at": 1},
    }  # fmt: skip

    (event,) = stream.rewrite(choice(delta=delta))

    assert event["choices"][0]["delta"] == {
        "role": "assistant", "content": "A", "novelty": "C", "nothing": None,
        "tool_calls": [{"index": 3, "id": "i", "type": "function", "function": {"name": "F", "arguments": "{"}}],
        "function_call": {"name": "G", "arguments": "["}, "audio": {"id": "x", "transcript": "E", "expires_at": 1},
    }  # fmt: skip
    assert {channel for channel, json in echo.json.items() if json} == {
        (0, "tool_calls", 3, "function", "arguments"), (0, "function_call", "arguments"),
    }  # fmt: skip


def test_the_chunk_that_ends_a_choice_takes_along_what_its_channels_hold():
    stream = OpenAiStream(Echo())
    calls = [{"index": 0, "function": {"arguments": "{}"}}, {"index": 1, "custom": {"input": "xy"}}]
    stream.rewrite(choice(delta={"content": "ab", "tool_calls": calls, "audio": {"transcript": "gh"}}))

    (event,) = stream.rewrite(choice(delta={"tool_calls": [{"index": 1}]}, finish_reason="stop"))

    assert event["choices"][0]["delta"] == {
        "tool_calls": [{"index": 1, "custom": {"input": "Y"}}, {"index": 0, "function": {"arguments": "}"}}],
        "content": "B", "audio": {"transcript": "H"},
    }  # fmt: skip
    assert stream.remaining() == []


@pytest.mark.parametrize(
    ("delta", "nothing", "rest"),
    [
        ({"audio": {"transcript": "ab"}}, {"audio": None}, {"audio": {"transcript": "B"}}),
        ({"function_call": {"arguments": "{}"}}, {"function_call": None}, {"function_call": {"arguments": "}"}}),
        (
            {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
            {"tool_calls": [{"index": 0, "function": None}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
        ),
        (
            {"function_call": {"arguments": "{}"}},
            {"function_call": {"name": None, "arguments": None}},
            {"function_call": {"name": None, "arguments": "}"}},
        ),
    ],
)
def test_the_last_chunk_may_say_that_it_has_nothing_of_what_is_held(delta, nothing, rest):
    stream = OpenAiStream(Echo())
    stream.rewrite(choice(delta=delta))

    (event,) = stream.rewrite(choice(delta=nothing, finish_reason="stop"))

    assert event["choices"][0]["delta"] == rest


def test_what_is_left_at_the_end_is_an_event_of_our_own():
    stream = OpenAiStream(Echo())
    stream.rewrite({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "ab"}}]})
    stream.rewrite({"id": "c", "model": "m", "choices": [{"index": 1, "text": "cd"}]})

    (event,) = stream.remaining()

    assert event == {"id": "c", "model": "m", "choices": [
        {"index": 0, "finish_reason": None, "delta": {"content": "B"}},
        {"index": 1, "finish_reason": None, "text": "D"},
    ]}  # fmt: skip
    assert stream.remaining() == []


def test_an_event_without_choices_is_searched_where_no_table_names_it():
    usage = {"prompt_tokens": 1}
    event = {"id": "c", "choices": None, "usage": usage, "citations": ["a"], "obfuscation": "zz"}

    assert OpenAiStream(Echo()).rewrite(event) == [
        {"id": "c", "choices": None, "usage": usage, "citations": ["A"], "obfuscation": "zz"}
    ]


def test_a_choice_may_have_no_delta_or_a_whole_message():
    stream = OpenAiStream(Echo())

    assert stream.rewrite(choice(delta=None, message={"content": "a"}))[0]["choices"][0]["message"]["content"] == "A"


def texts_of(events: list[Any], *at: Any) -> str:
    """What a client makes of pieces of lists."""
    found = []
    for event in events:
        for entry in event["choices"][0]["delta"].get(at[0]) or []:
            value = entry
            for name in at[1:]:
                value = value.get(name, "") if isinstance(value, dict) else "".join(each[name] for each in value)
            found.append(value)
    return "".join(found)


@pytest.mark.parametrize(
    ("part", "at"),
    [
        (lambda text: {"content": [{"type": "text", "text": text}]}, ("content", "text")),
        (lambda text: {"content": [{"type": "refusal", "refusal": text}]}, ("content", "refusal")),
        (lambda text: {"content": [{"type": "thinking", "thinking": text}]}, ("content", "thinking")),
        (
            lambda text: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]},
            ("content", "thinking", "text"),
        ),
        (
            lambda text: {"reasoning_details": [{"type": "reasoning.text", "index": 2, "text": text}]},
            ("reasoning_details", "text"),
        ),
        (
            lambda text: {"reasoning_details": [{"type": "reasoning.summary", "summary": text}]},
            ("reasoning_details", "summary"),
        ),
    ],
)
@pytest.mark.parametrize("last", ["", "ef"])
def test_pieces_of_a_text_in_a_list_are_one_text_whoever_spells_it_so(part, at, last):
    stream = OpenAiStream(Echo())
    delta = part(last) if last else {}

    events = [event for text in ("ab", "cd") for event in stream.rewrite(choice(delta=part(text)))]
    assert texts_of(events, *at) == "ABC"
    events += stream.rewrite(choice(delta=delta, finish_reason="stop"))

    assert texts_of(events, *at) == "ABCD" + last.upper()
    (name,) = part("")
    assert events[-1]["choices"][0]["delta"][name][-1]["type"] == part("")[name][0]["type"]


def test_a_content_of_parts_takes_what_waits_of_one_that_was_a_text():
    stream = OpenAiStream(Echo())
    stream.rewrite(choice(delta={"content": "ab"}))

    (event,) = stream.rewrite(choice(delta={"content": ["cd", {"type": "text", "text": None}]}, finish_reason="stop"))

    assert event["choices"][0]["delta"]["content"] == [
        "C",
        {"type": "text", "text": None},
        {"type": "text", "text": "B"},
        {"type": "text", "text": "D"},
    ]


def test_what_waits_of_parts_goes_beside_a_content_that_is_a_text():
    stream = OpenAiStream(Echo())
    stream.rewrite(choice(delta={"content": [{"type": "text", "text": "ab"}]}))

    (event,) = stream.rewrite(choice(delta={"content": "cd"}, finish_reason="stop"))

    assert event["choices"][0]["delta"]["content"] == [
        {"type": "text", "text": "C"},
        {"type": "text", "text": "B"},
        {"type": "text", "text": "D"},
    ]


@pytest.mark.parametrize("piece", [7, {}, [{"type": "text", "text": ["a"]}]])
def test_a_part_whose_text_is_none_is_an_error(piece):
    with pytest.raises(UnknownShape):
        OpenAiStream(Echo()).rewrite(choice(delta={"content": [{"type": "text", "text": piece}]}))


def test_a_detail_that_is_no_object_is_searched_whole():
    assert OpenAiStream(Echo()).rewrite(choice(delta={"reasoning_details": ["ab"]}))[0]["choices"][0]["delta"] == {
        "reasoning_details": ["AB"]
    }


def test_a_text_beside_a_delta_is_another_text_than_one_within():
    stream = OpenAiStream(Echo())

    (event,) = stream.rewrite(choice(text="ab", delta={"text": "cd"}, finish_reason="stop"))

    assert (event["choices"][0]["text"], event["choices"][0]["delta"]) == ("AB", {"text": "CD"})


def test_what_is_held_finds_its_place_also_where_the_last_chunk_has_none_for_it():
    stream = OpenAiStream(Echo())
    stream.rewrite(choice(delta={"audio": {"id": "x"}, "tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}))
    stream.rewrite(choice(text="ab"))

    (event,) = stream.rewrite(choice(delta={"tool_calls": None}, finish_reason="stop"))

    assert event["choices"][0] == {
        "index": 0, "finish_reason": "stop", "text": "B",
        "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
    }  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [[], choice(delta=[]), choice(delta={"tool_calls": [7]}), {"choices": 7}, {"choices": [7]}],
)
def test_an_event_of_a_shape_that_nobody_knows_is_an_error(event):
    with pytest.raises(UnknownShape):
        OpenAiStream(Echo()).rewrite(event)
