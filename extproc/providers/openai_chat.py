"""OpenAI chat completions, and every provider that speaks them.

Source: OpenAI's API reference, "Create chat completion"; LiteLLM 1.109 for paths and words.
"""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers import openai_answer, openai_request, openai_response, openai_texts
from extproc.providers.api import Document, Reading, RequestFacts
from extproc.providers.texts import Spec

NAME = "openai_chat"
OPERATION = "acompletion"
PATHS: tuple[str, ...] = (
    "/v1/chat/completions",
    "/chat/completions",
    "/openai/deployments/{model}/chat/completions",
    "/engines/{model}/chat/completions",
)
UPSTREAM_PATH = "/chat/completions"
STREAM_MARKS: tuple[bytes, ...] = openai_response.STREAM_MARKS
REQUEST_TEXTS: Mapping[str, Spec] = openai_texts.CHAT_REQUEST
RESPONSE_TEXTS: Spec = openai_texts.ANSWER

#: What is prompt: definitions of tools are input tokens like messages.
_TEXTS = ("messages", "tools", "functions")

error_body = openai_request.error_body
error_event = openai_request.error_event
merge_usage = openai_response.merge
streamed = openai_texts.OpenAiStream
assembled = openai_answer.OpenAiAnswer


def read_request(document: Document) -> RequestFacts:
    """The facts of a request. `messages` must be there; what is in them is for the provider to judge."""
    openai_request.require_list(document, UPSTREAM_PATH, "messages")
    return openai_request.read_facts(document, UPSTREAM_PATH, _TEXTS)


def write_request(document: Document, facts: RequestFacts, provider_model: str, *, ask_usage: bool = True) -> None:
    """Edit the document in place for the provider."""
    openai_request.write_common(document, facts, provider_model, ask_usage=ask_usage)


def read_response(payload: bytes) -> Reading:
    """Read a chat completion or a `chat.completion.chunk`."""
    return openai_response.read(payload, completion_tokens=True)
