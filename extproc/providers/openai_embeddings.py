"""OpenAI embeddings: nothing is generated, so nothing is streamed and only input counts.

Source: OpenAI's API reference, "Create embeddings"; LiteLLM 1.109 for paths and words.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.providers import openai_answer, openai_request, openai_response, openai_texts
from extproc.providers.api import Document, Reading, RequestFacts
from extproc.providers.texts import Spec

NAME = "openai_embeddings"
OPERATION = "aembedding"
PATHS: tuple[str, ...] = (
    "/v1/embeddings",
    "/embeddings",
    "/openai/deployments/{model}/embeddings",
    "/engines/{model}/embeddings",
)
UPSTREAM_PATH = "/embeddings"
STREAM_MARKS: tuple[bytes, ...] = openai_response.STREAM_MARKS
REQUEST_TEXTS: Mapping[str, Spec] = openai_texts.EMBEDDING_REQUEST
RESPONSE_TEXTS: Spec = openai_texts.EMBEDDINGS

error_body = openai_request.error_body
error_event = openai_request.error_event
merge_usage = openai_response.merge
streamed = openai_texts.OpenAiStream
assembled = openai_answer.OpenAiAnswer


def read_request(document: Document) -> RequestFacts:
    """The facts of a request. `input` is text, a list of texts, or token numbers."""
    openai_request.require(document, UPSTREAM_PATH, "input")
    facts = openai_request.read_facts(document, UPSTREAM_PATH, ("input",))
    return msgspec.structs.replace(facts, max_output_tokens=0)


def write_request(document: Document, facts: RequestFacts, provider_model: str, *, ask_usage: bool = True) -> None:
    """Edit the document in place for the provider."""
    openai_request.write_common(document, facts, provider_model, ask_usage=ask_usage)


def read_response(payload: bytes) -> Reading:
    """Read a list of embeddings; the vectors are skipped, not parsed."""
    return openai_response.read(payload, completion_tokens=False)
