"""A request body is understood once, and what was understood is what is forwarded."""

from __future__ import annotations

import json
import sys

import pytest

from extproc.bodies import request
from extproc.errors import MalformedBody
from extproc.pricing import tokens
from extproc.providers import openai_chat

MESSAGES = [{"role": "user", "content": "hello there"}]


def body(**fields) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": MESSAGES} | fields).encode()


def test_the_forwarded_body_names_the_providers_model_and_asks_for_usage():
    read = request.read(openai_chat, body(stream=True), None)

    assert json.loads(read.forward("gpt-4o-2024-08-06", ask_usage=True)) == {
        "model": "gpt-4o-2024-08-06",
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_model_in_the_path_counts_before_the_bodys():
    assert request.read(openai_chat, body(), "from-path").facts.model == "from-path"


def test_a_duplicate_key_cannot_show_the_provider_another_model():
    smuggled = b'{"model":"cheap","messages":[{"role":"user","content":"x"}],"mod\\u0065l":"dear"}'

    read = request.read(openai_chat, smuggled, None)

    assert read.facts.model == "dear"
    assert read.forward("dear", ask_usage=True).count(b'"model"') == 1


def test_a_small_prompt_is_counted_only_when_asked_for():
    prompt = request.read(openai_chat, body(), None).prompt

    assert prompt.counted is None
    assert prompt.tokens() == prompt.counted == tokens.count_prompt([json.dumps(MESSAGES).encode()])


def test_a_large_prompt_is_counted_at_once_and_not_kept():
    long = [{"role": "user", "content": "word " * 20_000}]

    prompt = request.read(openai_chat, body(messages=long), None).prompt

    assert prompt.texts == ()
    assert prompt.tokens() > 15_000


def test_a_body_that_is_no_object_is_malformed():
    with pytest.raises(MalformedBody, match="Invalid JSON payload"):
        request.read(openai_chat, b"[]", None)


def test_what_outlives_the_request_does_not_keep_its_body():
    sent = body(n=2)
    before = sys.getrefcount(sent)

    read = request.read(openai_chat, sent, None)
    outliving = (read.facts, read.prompt)
    del read

    assert sys.getrefcount(sent) == before
    assert outliving[1].tokens() > 0
