"""OpenAI completions, the legacy API that self-hosted models still speak.

Source: OpenAI's API reference, "Completions (legacy)"; LiteLLM 1.109 for paths and words.
"""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers import openai_answer, openai_request, openai_response, openai_texts
from extproc.providers.api import Document, Reading, RequestFacts
from extproc.providers.texts import Spec

NAME = "openai_completions"
OPERATION = "atext_completion"
PATHS: tuple[str, ...] = (
    "/v1/completions",
    "/completions",
    "/openai/deployments/{model}/completions",
    "/engines/{model}/completions",
)
UPSTREAM_PATH = "/completions"
STREAM_MARKS: tuple[bytes, ...] = openai_response.STREAM_MARKS
REQUEST_TEXTS: Mapping[str, Spec] = openai_texts.COMPLETION_REQUEST
RESPONSE_TEXTS: Spec = openai_texts.ANSWER

error_body = openai_request.error_body
error_event = openai_request.error_event
merge_usage = openai_response.merge
streamed = openai_texts.OpenAiStream
assembled = openai_answer.OpenAiAnswer


def read_request(document: Document) -> RequestFacts:
    """The facts of a request. `prompt` is text, a list of texts, or token numbers."""
    openai_request.require(document, UPSTREAM_PATH, "prompt")
    return openai_request.read_facts(document, UPSTREAM_PATH, ("prompt", "suffix"))


def write_request(document: Document, facts: RequestFacts, provider_model: str, *, ask_usage: bool = True) -> None:
    """Edit the document in place for the provider."""
    openai_request.write_common(document, facts, provider_model, ask_usage=ask_usage)


def read_response(payload: bytes) -> Reading:
    """Read a `text_completion`, whole or one chunk of it."""
    return openai_response.read(payload, completion_tokens=True)
