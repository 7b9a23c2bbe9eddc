"""A provider for tests that speaks Anthropic's Messages API, and Anthropic's own client of the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import anthropic
import httpx2
from gateway.running_gateway import Gateway
from gateway.scripted_upstream import Answering, Asked, Script, new_id

MESSAGES = "/v1/messages"
USAGE = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 7,
    "output_tokens": 9,
}
_DELTAS = {"text": "text_delta", "thinking": "thinking_delta", "input": "input_json_delta"}


def anthropic_client(gateway: Gateway, key: str) -> anthropic.AsyncAnthropic:
    """Its base URL is the gateway's, as Anthropic's clients want it."""
    http = httpx2.AsyncClient(timeout=30)
    return anthropic.AsyncAnthropic(base_url=gateway.http, api_key=key, http_client=http, max_retries=0)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def message(model: str, content: Sequence[dict[str, Any]], usage: dict[str, int], response_id: str) -> dict[str, Any]:
    named = {"id": response_id, "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    return {**named, "content": list(content), "stop_reason": "end_turn", "usage": usage}


def events(model: str, content: Sequence[dict[str, Any]], usage: dict[str, int], size: int = 3) -> list[bytes]:
    """The events of a stream, its texts in pieces of `size` characters; the input is told first, the output last."""
    begins = message(model, [], usage | {"output_tokens": 1}, new_id())
    found = [event("message_start", message=begins | {"stop_reason": None}), event("ping")]
    for index, block in enumerate(content):
        field = next(name for name in _DELTAS if name in block)
        whole = json.dumps(block[field]) if field == "input" else block[field]
        found.append(
            event("content_block_start", index=index, content_block={**block, field: {} if field == "input" else ""})
        )
        name = "partial_json" if field == "input" else field
        for start in range(0, len(whole), size):
            delta = {"type": _DELTAS[field], name: whole[start : start + size]}
            found.append(event("content_block_delta", index=index, delta=delta))
        found.append(event("content_block_stop", index=index))
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    found.append(event("message_delta", delta=ended, usage={"output_tokens": usage["output_tokens"]}))
    return [*found, event("message_stop")]


def says(
    *content: dict[str, Any], usage: dict[str, int] = USAGE, model: str | None = None, seen: list[Any] | None = None
) -> Script:
    """A well-behaved provider: a stream where one is asked for, its bytes cut anywhere, else a document."""

    async def script(asked: Asked, answering: Answering) -> None:
        if seen is not None:
            seen.append(asked.document)
        name = model or asked.document["model"]
        if not asked.document.get("stream"):
            body = json.dumps(message(name, content, usage, new_id())).encode()
            own = (("content-length", str(len(body))), ("anthropic-organization-id", "org-operator"))
            await answering.head(200, *own, ("anthropic-ratelimit-requests-remaining", "41"))
            await answering.raw(body)
            return
        data = b"".join(events(name, content, usage))
        await answering.stream_head()
        for start in range(0, len(data), 101):
            await answering.chunk(data[start : start + 101])
        await answering.end()

    return script


class Endless:
    """A provider that goes on until nobody listens."""

    def __init__(self) -> None:
        self.cut_off = asyncio.Event()

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        first = events(asked.document["model"], [text("word ")], USAGE, size=5)[:4]
        try:
            await answering.stream_head()
            await answering.chunk(b"".join(first))
            while answering.remains():
                await answering.chunk(first[-1])
                await asyncio.sleep(0.005)
        finally:
            self.cut_off.set()
