"""Anthropic's Messages API, and every provider that speaks it.

Source: Anthropic's API reference, "Create a Message"; LiteLLM 1.109 for paths and words.
"""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers import anthropic_answer, anthropic_request, anthropic_response, anthropic_texts
from extproc.providers.api import Document, Reading, RequestFacts
from extproc.providers.texts import Spec

NAME = "anthropic_messages"
OPERATION = "anthropic_messages"
#: The second is that of clients whose base URL ends with `/anthropic`.
PATHS: tuple[str, ...] = ("/v1/messages", "/anthropic/v1/messages")
UPSTREAM_PATH = "/messages"
STREAM_MARKS: tuple[bytes, ...] = anthropic_response.STREAM_MARKS
REQUEST_TEXTS: Mapping[str, Spec] = anthropic_texts.REQUEST
RESPONSE_TEXTS: Spec = anthropic_texts.ANSWER

error_body = anthropic_response.error_body
error_event = anthropic_response.error_event
merge_usage = anthropic_response.merge
streamed = anthropic_texts.AnthropicStream
assembled = anthropic_answer.AnthropicAnswer


def read_request(document: Document) -> RequestFacts:
    """The facts of a request; what is in its messages is for the provider to judge."""
    return anthropic_request.read(document, UPSTREAM_PATH)


def write_request(
    document: Document,
    facts: RequestFacts,  # noqa: ARG001
    provider_model: str,
    *,
    ask_usage: bool = True,  # noqa: ARG001
) -> None:
    """Edit the document in place for the provider, which tells usage unasked."""
    anthropic_request.write(document, provider_model)


def read_response(payload: bytes) -> Reading:
    """Read a message or an event's data."""
    return anthropic_response.read(payload)
