"""Anthropic's Messages API at the simulated provider: one block of text, or a call of the tool that was asked for."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from extproc.simulator import tools
from extproc.simulator.answers import Tokens, generate, tokenize
from extproc.simulator.forms import Pace, event_stream
from extproc.simulator.questions import Messages, Refused, check_model, read

PATH = "/v1/messages"
MODELS = ("claude-sonnet-5-5",)
TOKENS_PER_MESSAGE = 3

_STATUSES = {404: "not_found_error", 413: "request_too_large"}


class _Block(msgspec.Struct, frozen=True):
    """A content block as it begins, how its deltas look, their texts, and why the message ends with it."""

    begins: dict[str, Any]
    delta: str
    field: str
    tokens: Tokens
    stop_reason: str

    def whole(self) -> dict[str, Any]:
        text = "".join(self.tokens)
        return self.begins | ({"input": json.loads(text)} if self.delta == "input_json_delta" else {"text": text})


async def answer(request: Request, pace: Pace) -> Response:
    """The endpoint. Raises `Refused`."""
    asked = await read(request, Messages)
    check_model(asked.model, MODELS)
    if asked.max_tokens is None:
        raise Refused("max_tokens: Field required")
    given = sum(len(tokenize(text)) + TOKENS_PER_MESSAGE for text in asked.texts())
    block = _tool_call(asked) or _text(asked, asked.max_tokens)
    message = _message(asked.model, given)
    if asked.stream:
        return event_stream(_events(message, block, pace))
    await asyncio.sleep(pace.first_token + pace.each_token * len(block.tokens))
    usage = message["usage"] | {"output_tokens": len(block.tokens)}
    return JSONResponse({**message, "content": [block.whole()], "stop_reason": block.stop_reason, "usage": usage})


def error(refused: Refused) -> dict[str, Any]:
    """A refusal in Anthropic's shape."""
    kind = _STATUSES.get(refused.status, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": str(refused)}}


def _message(model: str, given: int) -> dict[str, Any]:
    """A message that has not begun yet."""
    cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {
        "id": f"msg_{secrets.token_urlsafe(18)}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": given, **cached, "output_tokens": 1},
    }


def _text(asked: Messages, limit: int) -> _Block:
    (said,) = generate("msg_", asked, 0, [asked.question()], limit).answers
    stopped = "end_turn" if said.finish_reason == "stop" else "max_tokens"
    return _Block({"type": "text", "text": ""}, "text_delta", "text", said.tokens, stopped)


def _tool_call(asked: Messages) -> _Block | None:
    """A call of the tool that must be called, if one must."""
    choice = asked.tool_choice or {}
    wanted = choice.get("name") if choice.get("type") == "tool" else None
    called = next((tool for tool in asked.tools if tool.get("name") == (wanted or tool.get("name"))), None)
    if choice.get("type") not in {"any", "tool"} or called is None:
        return None
    begins: dict[str, Any] = {
        "type": "tool_use",
        "id": f"toolu_{secrets.token_hex(12)}",
        "name": called.get("name"),
        "input": {},
    }
    tokens = tokenize(tools.arguments(called.get("input_schema"), asked.question()))
    return _Block(begins, "input_json_delta", "partial_json", tokens, "tool_use")


async def _events(message: dict[str, Any], block: _Block, pace: Pace) -> AsyncIterator[bytes]:
    """Every event of a stream."""
    await asyncio.sleep(pace.first_token)
    yield _event("message_start", message=message)
    yield _event("content_block_start", index=0, content_block=block.begins)
    yield _event("ping")
    for position, token in enumerate(block.tokens):
        if position:
            await asyncio.sleep(pace.each_token)
        yield _event("content_block_delta", index=0, delta={"type": block.delta, block.field: token})
    yield _event("content_block_stop", index=0)
    ended = {"stop_reason": block.stop_reason, "stop_sequence": None}
    yield _event("message_delta", delta=ended, usage={"output_tokens": len(block.tokens)})
    yield _event("message_stop")


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + b"data: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"
