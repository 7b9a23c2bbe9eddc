"""Usage is believed only as far as it makes sense; the text is everything the model generated."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.model import Usage
from extproc.providers import openai_response
from extproc.providers.api import Reading


def usage_of(usage, *, completion_tokens=True):
    payload = json.dumps({"usage": usage}).encode()
    return openai_response.read(payload, completion_tokens=completion_tokens).usage


def text_of(choice):
    return openai_response.read(json.dumps({"choices": [choice]}).encode(), completion_tokens=True).text


def test_the_mark_of_the_end_finishes_the_stream():
    assert openai_response.read(b"[DONE]", completion_tokens=True) == Reading(finished=True)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"5", b"\xff", b"[" * 100_000, b'{"id":"\xff"}'])
def test_what_is_no_object_is_an_empty_reading(payload):
    assert openai_response.read(payload, completion_tokens=True) == Reading()


def test_identity_of_the_wrong_type_is_ignored():
    assert openai_response.read(b'{"id":5,"model":{}}', completion_tokens=True) == Reading()


def test_an_endless_name_is_ignored():
    payload = json.dumps({"id": "i" * 257, "model": "m" * 256}).encode()

    assert openai_response.read(payload, completion_tokens=True) == Reading(model="m" * 256)


def test_odd_choices_do_not_cost_the_usage_beside_them():
    payload = b'{"choices":"odd","usage":{"prompt_tokens":1,"completion_tokens":2}}'

    reading = openai_response.read(payload, completion_tokens=True)

    assert reading == Reading(usage=Usage(input_tokens=1, output_tokens=2))


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "x",
        {"prompt_tokens": 1},
        {"completion_tokens": 1},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 10**9 + 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": None, "completion_tokens": 1},
    ],
)
def test_usage_that_makes_no_sense_is_no_usage(usage):
    assert usage_of(usage) is None


def test_embeddings_have_no_completion_tokens():
    assert usage_of({"prompt_tokens": 8, "total_tokens": 8}, completion_tokens=False) == Usage(input_tokens=8)


@pytest.mark.parametrize(
    "details", [None, {}, [], {"cached_tokens": None}, {"cached_tokens": -1}, {"audio_tokens": "x"}]
)
def test_odd_details_do_not_cost_the_usage(details):
    usage = {"prompt_tokens": 3, "completion_tokens": 2}

    told = usage_of(usage | {"prompt_tokens_details": details, "completion_tokens_details": details})

    assert told == Usage(input_tokens=3, output_tokens=2)


def test_every_detail_is_read():
    told = usage_of(
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20, "audio_tokens": 30},
            "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 6},
        }
    )

    assert told == Usage(
        input_tokens=100,
        output_tokens=50,
        cache_read_tokens=10,
        cache_write_tokens=20,
        input_audio_tokens=30,
        reasoning_tokens=5,
        output_audio_tokens=6,
    )


def test_a_part_larger_than_its_whole_is_billed_as_the_whole():
    told = usage_of({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}})

    assert told == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    ("total", "output", "reasoning"), [(30, 20, 15), (45, 35, 15), (44, 20, 15), (None, 20, 15), (100, 35, 15)]
)
def test_reasoning_that_the_total_shows_to_be_outside_is_added(total, output, reasoning):
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": total}

    told = usage_of(usage | {"completion_tokens_details": {"reasoning_tokens": 15}})

    assert told == Usage(input_tokens=10, output_tokens=output, reasoning_tokens=reasoning)


counts = st.one_of(st.none(), st.integers(0, 50))
details = st.one_of(st.none(), st.fixed_dictionaries({}, optional={"cached_tokens": counts, "audio_tokens": counts}))
usages = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 50), "completion_tokens": counts},
    optional={"total_tokens": counts, "prompt_tokens_details": details, "completion_tokens_details": details},
)


@given(usages, st.lists(st.fixed_dictionaries({}, optional={"text": st.text()}), max_size=3))
def test_a_payload_reads_the_same_in_one_go_and_beside_an_odd_neighbour(usage, choices):
    whole = openai_response.read(
        json.dumps({"id": "i", "usage": usage, "choices": choices}).encode(), completion_tokens=True
    )
    beside_odd_choices = json.dumps({"id": "i", "usage": usage, "choices": "odd"}).encode()
    beside_odd_usage = json.dumps({"id": "i", "usage": "odd", "choices": choices}).encode()

    assert openai_response.read(beside_odd_choices, completion_tokens=True).usage == whole.usage
    assert openai_response.read(beside_odd_usage, completion_tokens=True).text == whole.text


@given(*[st.integers(0, 1000)] * 7)
def test_parts_never_exceed_their_whole(prompt, completion, total, cached, audio, reasoning, spoken):
    told = usage_of(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio},
            "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": spoken},
        }
    )

    assert told.input_tokens == prompt
    assert completion <= told.output_tokens <= completion + reasoning
    assert max(told.cache_read_tokens, told.input_audio_tokens) <= prompt
    assert max(told.reasoning_tokens, told.output_audio_tokens) <= told.output_tokens


@pytest.mark.parametrize(
    ("choices", "hidden"), [("[]", True), (" [ ]", True), ('[{"delta":{}}]', False), ("null", False), ('"x"', False)]
)
def test_usage_beside_no_choices_came_because_we_asked(choices, hidden):
    payload = f'{{"choices":{choices},"usage":{{"prompt_tokens":1,"completion_tokens":2}}}}'.encode()

    assert openai_response.read(payload, completion_tokens=True).usage_only is hidden


def test_no_choices_without_usage_came_for_another_reason():
    assert not openai_response.read(b'{"choices":[],"usage":null}', completion_tokens=True).usage_only


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        ({}, ""),
        ({"text": "a"}, "a"),
        ({"text": None}, ""),
        ({"delta": {"content": "a"}}, "a"),
        ({"message": {"content": "a", "refusal": "b", "reasoning_content": "c"}}, "abc"),
        ({"delta": {"reasoning": "c"}}, "c"),
        ({"delta": {"reasoning": "c", "reasoning_content": "c"}}, "c"),
        ({"delta": {"content": [{"type": "text", "text": "a"}]}}, ""),
        ({"delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}, {"type": "custom"}]}}, "f{}"),
        ({"message": {"function_call": {"name": "f", "arguments": "{}"}}}, "f{}"),
        ({"delta": {"tool_calls": [{"function": {}}]}}, ""),
    ],
)
def test_the_text_is_everything_generated(choice, text):
    assert text_of(choice) == text
