"""Anthropic's Messages API as the rest of the house sees it."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

from extproc.framing import document
from extproc.framing.sse import SseFramer
from extproc.model import Usage
from extproc.providers import anthropic_messages, registry

FIXTURES = Path(__file__).parent / "fixtures" / "anthropic_messages"


@pytest.mark.parametrize("ask_usage", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_never_asked_for_since_it_comes_unasked(stream: bool, ask_usage: bool) -> None:
    asked = {"model": "ours", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    request = document.read(json.dumps(asked).encode())
    facts = anthropic_messages.read_request(request)

    anthropic_messages.write_request(request, facts, "theirs", ask_usage=ask_usage)

    assert json.loads(document.write(request)) == asked | {"model": "theirs"}
    assert facts.wants_usage


def test_nothing_of_a_stream_is_hidden_and_only_its_first_usage_is_a_beginning() -> None:
    readings = [
        anthropic_messages.read_response(event.data)
        for event in SseFramer().feed((FIXTURES / "stream" / "stream.sse").read_bytes())
    ]
    told = [reading for reading in readings if reading.usage is not None]

    assert [reading.usage_begins for reading in told] == [True, False]
    assert functools.reduce(anthropic_messages.merge_usage, [reading.usage for reading in told], None) == Usage(
        input_tokens=35, output_tokens=15, cache_read_tokens=10
    )
    assert not any(reading.usage_only for reading in readings)


def test_the_upstream_path_follows_the_base_path_of_its_provider() -> None:
    base = registry.api_base("anthropic", "https://api.anthropic.com")

    assert f"{base}{anthropic_messages.UPSTREAM_PATH}" == "https://api.anthropic.com/v1/messages"
