"""Requests to Anthropic's Messages API: what is read of them, refused, and forwarded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.errors import MalformedBody
from extproc.providers import anthropic_request
from extproc.providers.api import Document

PATH = "/v1/messages"
PLAIN: dict[str, Any] = {"model": "claude", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}


def document(**fields: Any) -> Document:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in (PLAIN | fields).items()}


def written(**fields: Any) -> dict[str, Any]:
    asked = document(**fields)
    anthropic_request.read(asked, PATH)
    anthropic_request.write(asked, "claude-x")
    return dict(msgspec.json.decode(msgspec.json.encode(asked)))


def test_the_facts_of_a_request_are_read() -> None:
    facts = anthropic_request.read(document(stream=True, system="Be kind", metadata={"user_id": "u-1"}), PATH)

    assert (facts.model, facts.stream, facts.max_output_tokens, facts.end_user) == ("claude", True, 64, "u-1")
    assert [bytes(text) for text in facts.texts] == [b'"Be kind"', msgspec.json.encode(PLAIN["messages"])]
    assert facts.wants_usage


@pytest.mark.parametrize("name", ["model", "max_tokens", "messages"])
def test_what_anthropic_requires_is_required(name: str) -> None:
    asked = document()
    del asked[name]

    with pytest.raises(MalformedBody) as refused:
        anthropic_request.read(asked, PATH)

    assert refused.value.param == name


@pytest.mark.parametrize("fields", [{"api_base": "http://other"}, {"api_key": "x"}, {"n": 2}, {"max_tokens": -1}])
def test_what_a_client_must_not_decide_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedBody):
        anthropic_request.read(document(**fields), PATH)


def test_the_provider_gets_its_own_model_name_and_all_that_is_anthropics() -> None:
    assert written(stream=True, system="Be kind") == PLAIN | {"model": "claude-x", "stream": True, "system": "Be kind"}


def test_the_provider_gets_nothing_of_the_gateways() -> None:
    sent = written(tags=["a"], litellm_metadata={"x": 1}, stream_options={}, metadata={"user_id": "u-1", "tags": ["b"]})

    assert sent == PLAIN | {"model": "claude-x", "metadata": {"user_id": "u-1"}}


def test_a_user_id_meant_for_the_gateway_stays_here() -> None:
    assert "metadata" not in written(litellm_metadata={"user_id": "u-1"})
