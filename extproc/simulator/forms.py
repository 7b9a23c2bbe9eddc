"""How an answer is sent: as one document, or as a stream of events at the pace of a model."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response, StreamingResponse

from extproc.simulator.answers import Generated


class Pace(msgspec.Struct, frozen=True):
    """Seconds before the first token, and between one token and the next."""

    first_token: float = 0.15
    each_token: float = 0.025


class Shape(msgspec.Struct, frozen=True):
    """How the chunks of a stream look: the first part of a choice (if any), one for a token, and the last."""

    kind: str
    first: dict[str, Any]
    part: Callable[[str], dict[str, Any]]
    last: dict[str, Any]


MESSAGE = {"role": "assistant", "content": "", "refusal": None}
CHAT_STREAM = Shape(
    "chat.completion.chunk",
    {"delta": MESSAGE},
    lambda token: {"delta": {"content": token}},
    {"delta": {}},
)
COMPLETION_STREAM = Shape("text_completion", {}, lambda token: {"text": token}, {"text": ""})


class Form(msgspec.Struct, frozen=True):
    """How a text is sent: as a stream, or in its place within a choice of a document of this `kind`."""

    kind: str
    stream: Shape
    part: Callable[[str], dict[str, Any]]


CHAT = Form("chat.completion", CHAT_STREAM, lambda text: {"message": MESSAGE | {"content": text}})
COMPLETION = Form("text_completion", COMPLETION_STREAM, lambda text: {"text": text})


def calling(name: str) -> Form:
    """The text is the arguments of a call of this function."""
    call = {"id": f"call_{secrets.token_urlsafe(18)}", "type": "function"}

    def message(arguments: str, **place: int) -> dict[str, Any]:
        return MESSAGE | {
            "content": None,
            "tool_calls": [{**place, **call, "function": {"name": name, "arguments": arguments}}],
        }

    def delta(token: str) -> dict[str, Any]:
        return {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": token}}]}}

    return Form(
        CHAT.kind,
        Shape(CHAT_STREAM.kind, {"delta": message("", index=0)}, delta, {"delta": {}}),
        lambda text: {"message": message(text)},
    )


def document(generated: Generated, form: Form) -> Response:
    """The whole answer as one JSON document."""
    choices = [
        {"index": index, **form.part("".join(answer.tokens)), "logprobs": None, "finish_reason": answer.finish_reason}
        for index, answer in enumerate(generated.answers)
    ]
    return JSONResponse({**generated.head(form.kind), "choices": choices, "usage": generated.usage()})


async def events(generated: Generated, pace: Pace, shape: Shape, *, usage: bool) -> AsyncIterator[bytes]:
    """Every event of a stream. With `usage` asked for, each chunk has the field, and one more chunk fills it."""
    head = generated.head(shape.kind) | ({"usage": None} if usage else {})
    choices = range(len(generated.answers))

    def chunk(index: int, part: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, **part, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice]})

    await asyncio.sleep(pace.first_token)
    if shape.first:
        for index in choices:
            yield chunk(index, shape.first)
    async for index, token in _paced(generated, pace):
        yield chunk(index, shape.part(token))
    for index, answer in enumerate(generated.answers):
        yield chunk(index, shape.last, answer.finish_reason)
    if usage:
        yield _event({**head, "choices": [], "usage": generated.usage()})
    yield b"data: [DONE]\n\n"


async def _paced(generated: Generated, pace: Pace) -> AsyncIterator[tuple[int, str]]:
    """The tokens of all choices, side by side, as they would come."""
    for position in count():
        column = [
            (index, answer.tokens[position])
            for index, answer in enumerate(generated.answers)
            if position < len(answer.tokens)
        ]
        if not column:
            return
        if position:
            await asyncio.sleep(pace.each_token)
        for each in column:
            yield each


def _event(payload: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(payload) + b"\n\n"


def event_stream(events: AsyncIterator[bytes]) -> Response:
    """The response that sends these events as they come."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})


def whole_time(generated: Generated, pace: Pace) -> float:
    """How many seconds the answer takes when nothing of it is shown before its end."""
    return pace.first_token + pace.each_token * max(len(answer.tokens) for answer in generated.answers)
