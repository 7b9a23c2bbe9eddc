"""Counting is exact for OpenAI's newer models, bounded for everybody, and never needs the network."""

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.pricing import tokens

#: What `tiktoken_ext.openai_public` expects of `o200k_base.tiktoken`.
EXPECTED_HASH = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"


def prompt(*values) -> int:
    return tokens.count_prompt(json.dumps(value).encode() for value in values)


def test_the_ranks_in_the_package_are_openais():
    lines = (base64.b64encode(token) + b" %d\n" % rank for token, rank in tokens._ranks().items())

    assert hashlib.sha256(b"".join(lines)).hexdigest() == EXPECTED_HASH


def test_the_pattern_is_tiktokens(monkeypatch):
    from tiktoken_ext import openai_public  # type: ignore[import-untyped]  # a namespace package without stubs

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})

    assert openai_public.o200k_base()["pat_str"] == tokens._PATTERN


def test_preloading_leaves_nothing_to_load():
    tokens.preload()

    assert tokens._encoding.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("hello world", 2),
        ("The quick brown fox jumps over the lazy dog.", 10),
        ("1234567", 3),
        ("<|endoftext|>", 7),
        ("grün 🌱", 4),
        ("\ud800", 1),
    ],
)
def test_known_counts(text, expected):
    assert tokens.count(text) == expected


@given(st.text(max_size=300))
def test_a_text_never_has_more_tokens_than_bytes(text):
    assert tokens.count(text) <= len(text.encode())


def test_a_long_even_text_is_estimated_within_two_percent():
    sentence = "The quick brown fox jumps over the lazy dog, and then it sleeps. "
    repeats = tokens.EXACT_CHARACTERS // len(sentence) * 10
    exact = tokens.count(sentence * 100) * repeats / 100

    assert tokens.count(sentence * repeats) == pytest.approx(exact, rel=0.02)


def test_samples_are_taken_from_the_whole_text():
    prose, numbers = "word " * tokens.EXACT_CHARACTERS, "7" * 5 * tokens.EXACT_CHARACTERS

    assert tokens.count(prose + numbers) == pytest.approx(tokens.count(prose) + tokens.count(numbers), rel=0.15)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_messages_cost_their_text_and_their_framing(texts):
    messages = [{"role": "user", "content": text} for text in texts]

    framing = (tokens.MESSAGE_TOKENS + 1) * len(texts) + tokens.ANSWER_TOKENS

    assert prompt(messages) == sum(map(tokens.count, texts)) + framing


def test_content_in_parts_is_the_same_text():
    parts = [{"role": "user", "content": [{"type": "text", "text": "hello world"}]}]

    assert prompt(parts) == prompt([{"role": "user", "content": "hello world"}])


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}, tokens.IMAGE_TOKENS),
        ({"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}}, tokens.LOW_DETAIL_IMAGE_TOKENS),
        ({"type": "input_image", "image_url": "https://x"}, tokens.IMAGE_TOKENS),
        ({"type": "input_audio", "input_audio": {"data": "A" * 9000, "format": "wav"}}, 0),
        ({"type": "file", "file": {"file_data": "A" * 9000}}, 0),
    ],
)
def test_what_is_no_text_is_not_counted_as_text(part, expected):
    assert prompt([{"role": "user", "content": [part]}]) == prompt([{"role": "user", "content": []}]) + expected


def test_a_definition_of_a_tool_is_shown_with_its_names():
    function = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}

    counted = prompt([{"type": "function", "function": function}])

    assert counted == tokens.count(json.dumps(function, separators=(",", ":")))


def test_what_the_model_never_sees_is_not_counted():
    call = {
        "role": "assistant",
        "tool_calls": [{"id": "call_abc", "type": "function", "function": {"arguments": "{}"}}],
    }

    assert prompt([call]) == tokens.ANSWER_TOKENS + tokens.MESSAGE_TOKENS + tokens.count("assistant") + tokens.count(
        "{}"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hello world", 2),
        (["hello", "world"], 2),
        ([1, 2, 3], 3),
        ([[1, 2], [3]], 3),
        ([], 0),
        ({}, 0),
        (None, 0),
        (5, 0),
        ([True], 0),
    ],
)
def test_prompts_and_inputs_of_every_form(value, expected):
    assert prompt(value) == expected


def test_values_are_counted_together():
    assert prompt("hello", "hello") == 2 * prompt("hello")


@pytest.mark.parametrize("raw", [b"{", b'"\xff"', b"[" * 100_000])
def test_what_cannot_be_read_is_estimated_by_its_size(raw):
    assert tokens.count_prompt([raw]) == len(raw) // tokens.BYTES_PER_TOKEN


def test_a_long_prompt_is_sampled_as_one_text():
    messages = [{"role": "user", "content": "hello world " * 1000}] * 20

    assert prompt(messages) == pytest.approx(20 * tokens.count("hello world " * 1000), rel=0.05)


@pytest.mark.parametrize("value", [[[]], [{}], [1.5], ["a"]])
def test_a_prompt_of_very_many_values_is_told_by_its_size(value):
    raw = json.dumps(value * (tokens.MAX_MARKS + 1)).encode()

    assert tokens.count_prompt([raw]) == len(raw) // tokens.BYTES_PER_TOKEN


def test_fractions_are_no_text_and_their_length_is_no_matter():
    assert prompt([{"content": "hello", "weight": 1.5}]) == prompt([{"content": "hello", "weight": 1}])
    assert tokens.count_prompt([b'{"content":"hello","weight":0.%s}' % (b"1" * 100_000)]) == prompt(
        {"content": "hello"}
    )
