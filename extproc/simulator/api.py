"""The endpoints: a question is read, checked and answered, or refused in the shape of its API."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from extproc.simulator import messages
from extproc.simulator.answers import FINGERPRINT, Generated, call, generate, size_of, texts, tokenize, vector
from extproc.simulator.forms import CHAT, COMPLETION, Form, Pace, calling, document, event_stream, events, whole_time
from extproc.simulator.questions import (
    Chat,
    Completion,
    Embedding,
    Generation,
    Refused,
    check_model,
    check_stream_options,
    read,
)

CHAT_MODELS = ("gpt-4o-mini", "gpt-4o")
COMPLETION_MODELS = ("gpt-3.5-turbo-instruct",)
EMBEDDING_SIZES = {"text-embedding-3-small": 1536}
MAX_TOKENS = 16_384
TOKENS_PER_MESSAGE = 3
TOKENS_BEFORE_ANSWER = 3


def create_app(pace: Pace) -> Starlette:
    """The provider as an ASGI application."""
    endpoints: tuple[tuple[str, str, Callable[[Request, Pace], Awaitable[Response]]], ...] = (
        ("POST", "/v1/chat/completions", _chat),
        ("POST", "/v1/completions", _completions),
        ("POST", "/v1/embeddings", _embeddings),
        ("POST", messages.PATH, messages.answer),
        ("GET", "/v1/models", _models),
    )
    routes = [Route(path, _endpoint(answer, pace), methods=[method]) for method, path, answer in endpoints]
    return Starlette(routes=routes, exception_handlers={Refused: _error, 404: _unknown_path, 405: _unknown_path})


def _endpoint(
    answer: Callable[[Request, Pace], Awaitable[Response]], pace: Pace
) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        began = time.monotonic()
        response = await answer(request, pace)
        response.headers["server"] = FINGERPRINT
        if request.url.path == messages.PATH:
            response.headers["request-id"] = f"req_{secrets.token_hex(12)}"
            return response
        response.headers["x-request-id"] = f"req_{secrets.token_hex(16)}"
        response.headers["openai-version"] = "2020-10-01"
        response.headers["openai-processing-ms"] = str(int((time.monotonic() - began) * 1000))
        return response

    return respond


async def _chat(request: Request, pace: Pace) -> Response:
    asked = await read(request, Chat)
    check_model(asked.model, CHAT_MODELS)
    check_stream_options(asked)
    given = sum(len(tokenize(message.text())) + TOKENS_PER_MESSAGE for message in asked.messages)
    limit = asked.max_completion_tokens or asked.max_tokens or MAX_TOKENS
    function, given = asked.must_call(), given + TOKENS_BEFORE_ANSWER
    if function is not None:
        return await _sent(asked, call(asked, function, given, limit), calling(function.name), pace)
    return await _sent(asked, generate("chatcmpl-", asked, given, [asked.question()], limit), CHAT, pace)


async def _completions(request: Request, pace: Pace) -> Response:
    asked = await read(request, Completion)
    check_model(asked.model, COMPLETION_MODELS)
    check_stream_options(asked)
    prompts = texts(asked.prompt)
    given = sum(size_of(prompt) for prompt in prompts)
    questions = [prompt if isinstance(prompt, str) else "" for prompt in prompts]
    # OpenAI's default for this API.
    generated = generate("cmpl-", asked, given, questions, asked.max_tokens or 16)
    return await _sent(asked, generated, COMPLETION, pace)


async def _sent(asked: Generation, generated: Generated, form: Form, pace: Pace) -> Response:
    """The answer as it was asked for: as a stream, or whole."""
    if asked.stream:
        return event_stream(events(generated, pace, form.stream, usage=asked.wants_usage()))
    await asyncio.sleep(whole_time(generated, pace))
    return document(generated, form)


async def _embeddings(request: Request, pace: Pace) -> Response:
    asked = await read(request, Embedding)
    check_model(asked.model, tuple(EMBEDDING_SIZES))
    largest = EMBEDDING_SIZES[asked.model]
    size = asked.dimensions or largest
    if size > largest:
        raise Refused(f"Invalid value for 'dimensions': at most {largest} for this model.", param="dimensions")
    inputs = texts(asked.input)
    if not all(inputs):
        raise Refused("'$.input' is invalid: it holds an empty text.", param="input")
    await asyncio.sleep(pace.first_token)
    rows = [
        {"object": "embedding", "index": index, "embedding": vector(each, size, asked.encoding_format)}
        for index, each in enumerate(inputs)
    ]
    given = sum(size_of(each) for each in inputs)
    usage = {"prompt_tokens": given, "total_tokens": given}
    return JSONResponse({"object": "list", "data": rows, "model": asked.model, "usage": usage})


async def _models(_: Request, __: Pace) -> Response:
    names = (*CHAT_MODELS, *COMPLETION_MODELS, *EMBEDDING_SIZES, *messages.MODELS)
    rows = [{"id": name, "object": "model", "created": 1_715_367_049, "owned_by": FINGERPRINT} for name in names]
    return JSONResponse({"object": "list", "data": rows})


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    if request.url.path == messages.PATH:
        return JSONResponse(messages.error(error), error.status)
    shown = {"message": str(error), "type": "invalid_request_error", "param": error.param, "code": error.code}
    return JSONResponse({"error": shown}, error.status)


async def _unknown_path(request: Request, _: Exception) -> Response:
    message = f"Invalid URL ({request.method} {request.url.path})"
    return await _error(request, Refused(message, status=404))
