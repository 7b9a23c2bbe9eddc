"""The simulated provider: OpenAI's chat completions, completions and embeddings without a model behind them.

For trying the gateway out and for tests. Whatever can be told apart says that it is simulated: the text, the system
fingerprint, the `server` header. The rest is as OpenAI does it: ids, chunks, usage with its details, pacing, limits on
the length, errors. Answers depend on the request alone, so that the same question has the same answer and usage.

A *token* here is a word or a piece of one, six letters at most; that is near enough to the real ones to be plausible.
"""

from __future__ import annotations

import array
import asyncio
import base64
import contextlib
import hashlib
import random
import re
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

import msgspec
import uvicorn
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

FINGERPRINT = "simulated-provider"
CHAT_MODELS = ("gpt-4o-mini", "gpt-4o")
COMPLETION_MODELS = ("gpt-3.5-turbo-instruct",)
EMBEDDING_SIZES = {"text-embedding-3-small": 1536}
MAX_TOKENS = 16_384
MAX_BODY_BYTES = 16 * 1024 * 1024
TOKENS_PER_MESSAGE = 3
TOKENS_BEFORE_ANSWER = 3

_TOKEN = re.compile(r" ?[^\W\d_]{1,6}|\d{1,3}|\s+|.", re.DOTALL)

Tokens: TypeAlias = "list[str]"
Asked = TypeVar("Asked", bound=BaseModel)


class Pace(msgspec.Struct, frozen=True):
    """Seconds before the first token, and between one token and the next."""

    first_token: float = 0.15
    each_token: float = 0.025


class Refused(Exception):
    """An error in OpenAI's shape."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    def text(self) -> str:
        """What was written, images and sound left out."""
        if isinstance(self.content, list):
            return " ".join(str(part.get("text", "")) for part in self.content)
        return self.content or ""


class _Generation(BaseModel):
    """What chat completions and completions have in common."""

    model: str
    n: Annotated[int, Field(ge=1, le=128)] = 1
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class _Chat(_Generation):
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


class _Completion(_Generation):
    prompt: str | list[str] | list[int] | list[list[int]] = "<|endoftext|>"


class _Embedding(BaseModel):
    model: str
    input: str | Annotated[list[str] | list[int] | list[list[int]], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None


class _Answer(msgspec.Struct, frozen=True):
    """One choice: its tokens, and why it ended."""

    tokens: Tokens
    finish_reason: str


class _Generated(msgspec.Struct, frozen=True):
    """Everything that is sent of one answer, in whatever form."""

    id: str
    created: int
    model: str
    prompt_tokens: int
    answers: tuple[_Answer, ...]

    def usage(self) -> dict[str, Any]:
        completion = sum(len(answer.tokens) for answer in self.answers)
        predicted = {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
        total = self.prompt_tokens + completion
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, **predicted},
        }

    def head(self, kind: str) -> dict[str, Any]:
        named = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**named, "system_fingerprint": FINGERPRINT}


class _Shape(msgspec.Struct, frozen=True):
    """How the chunks of a stream look: the first part of a choice (if any), one for a token, and the last."""

    kind: str
    first: dict[str, Any]
    part: Callable[[str], dict[str, Any]]
    last: dict[str, Any]


_MESSAGE = {"role": "assistant", "content": "", "refusal": None}
_CHAT_STREAM = _Shape(
    "chat.completion.chunk",
    {"delta": _MESSAGE},
    lambda token: {"delta": {"content": token}},
    {"delta": {}},
)
_COMPLETION_STREAM = _Shape("text_completion", {}, lambda token: {"text": token}, {"text": ""})


def create_app(pace: Pace) -> Starlette:
    """The provider as an ASGI application."""
    endpoints: tuple[tuple[str, str, Callable[[Request, Pace], Awaitable[Response]]], ...] = (
        ("POST", "/v1/chat/completions", _chat),
        ("POST", "/v1/completions", _completions),
        ("POST", "/v1/embeddings", _embeddings),
        ("GET", "/v1/models", _models),
    )
    routes = [Route(path, _endpoint(answer, pace), methods=[method]) for method, path, answer in endpoints]
    return Starlette(routes=routes, exception_handlers={Refused: _error, 404: _unknown_path, 405: _unknown_path})


async def serve(socket: Path, pace: Pace) -> None:
    """Answer on a Unix socket until SIGTERM or SIGINT; streams that are going on are cut a second later."""
    _remove(socket)
    config = uvicorn.Config(
        create_app(pace),
        uds=str(socket),
        log_config=None,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
    await server.serve()
    _remove(socket)


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """uvicorn would raise the signal again at its end, and the socket would stay."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def tokenize(text: str) -> Tokens:
    """The tokens of a text; joined they are the text again."""
    return _TOKEN.findall(text)


def _endpoint(
    answer: Callable[[Request, Pace], Awaitable[Response]], pace: Pace
) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        began = time.monotonic()
        response = await answer(request, pace)
        response.headers["x-request-id"] = f"req_{secrets.token_hex(16)}"
        response.headers["openai-version"] = "2020-10-01"
        response.headers["openai-processing-ms"] = str(int((time.monotonic() - began) * 1000))
        response.headers["server"] = FINGERPRINT
        return response

    return respond


async def _chat(request: Request, pace: Pace) -> Response:
    asked = await _read(request, _Chat)
    _check_model(asked.model, CHAT_MODELS)
    _check_stream_options(asked)
    given = sum(len(tokenize(message.text())) + TOKENS_PER_MESSAGE for message in asked.messages)
    question = next((each.text() for each in reversed(asked.messages) if each.role == "user"), "")
    limit = asked.max_completion_tokens or asked.max_tokens
    generated = _generate("chatcmpl-", asked, given + TOKENS_BEFORE_ANSWER, [question], limit or MAX_TOKENS)
    if asked.stream:
        return _event_stream(_events(generated, pace, _CHAT_STREAM, usage=asked.wants_usage()))
    await asyncio.sleep(_whole_time(generated, pace))
    return _document(generated, "chat.completion", lambda text: {"message": _MESSAGE | {"content": text}})


async def _completions(request: Request, pace: Pace) -> Response:
    asked = await _read(request, _Completion)
    _check_model(asked.model, COMPLETION_MODELS)
    _check_stream_options(asked)
    prompts = _texts(asked.prompt)
    given = sum(_size(prompt) for prompt in prompts)
    questions = [prompt if isinstance(prompt, str) else "" for prompt in prompts]
    # OpenAI's default for this API.
    generated = _generate("cmpl-", asked, given, questions, asked.max_tokens or 16)
    if asked.stream:
        return _event_stream(_events(generated, pace, _COMPLETION_STREAM, usage=asked.wants_usage()))
    await asyncio.sleep(_whole_time(generated, pace))
    return _document(generated, "text_completion", lambda text: {"text": text})


async def _embeddings(request: Request, pace: Pace) -> Response:
    asked = await _read(request, _Embedding)
    _check_model(asked.model, tuple(EMBEDDING_SIZES))
    largest = EMBEDDING_SIZES[asked.model]
    size = asked.dimensions or largest
    if size > largest:
        raise Refused(f"Invalid value for 'dimensions': at most {largest} for this model.", param="dimensions")
    inputs = _texts(asked.input)
    if not all(inputs):
        raise Refused("'$.input' is invalid: it holds an empty text.", param="input")
    await asyncio.sleep(pace.first_token)
    rows = [
        {"object": "embedding", "index": index, "embedding": _vector(each, size, asked.encoding_format)}
        for index, each in enumerate(inputs)
    ]
    given = sum(_size(each) for each in inputs)
    usage = {"prompt_tokens": given, "total_tokens": given}
    return JSONResponse({"object": "list", "data": rows, "model": asked.model, "usage": usage})


async def _models(_: Request, __: Pace) -> Response:
    names = (*CHAT_MODELS, *COMPLETION_MODELS, *EMBEDDING_SIZES)
    rows = [{"id": name, "object": "model", "created": 1_715_367_049, "owned_by": FINGERPRINT} for name in names]
    return JSONResponse({"object": "list", "data": rows})


def _document(generated: _Generated, kind: str, part: Callable[[str], dict[str, Any]]) -> Response:
    choices = [
        {"index": index, **part("".join(answer.tokens)), "logprobs": None, "finish_reason": answer.finish_reason}
        for index, answer in enumerate(generated.answers)
    ]
    return JSONResponse({**generated.head(kind), "choices": choices, "usage": generated.usage()})


async def _events(generated: _Generated, pace: Pace, shape: _Shape, *, usage: bool) -> AsyncIterator[bytes]:
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


async def _paced(generated: _Generated, pace: Pace) -> AsyncIterator[tuple[int, str]]:
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


def _event_stream(events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})


def _generate(prefix: str, asked: _Generation, given: int, questions: Sequence[str], limit: int) -> _Generated:
    answers = tuple(_answer(question, index, limit) for question in questions for index in range(asked.n))
    return _Generated(prefix + secrets.token_urlsafe(22), int(time.time()), asked.model, given, answers)


def _answer(question: str, index: int, limit: int) -> _Answer:
    quoted = " ".join(question.split())[:200]
    about = f' You wrote: "{quoted}".' if quoted else ""
    which = f" This is choice {index + 1}." if index else ""
    tokens = tokenize(
        f"This is a simulated answer: no model was asked.{which}{about} "
        "The simulated provider answers like this, token by token, with usage that adds up, so that keys, budgets and "
        "spend can be tried without a provider's key."
    )
    return _Answer(tokens[:limit], "length" if len(tokens) > limit else "stop")


def _vector(value: str | list[int], size: int, encoding: str) -> list[float] | str:
    """A direction that depends on the input alone; its length is 1, as OpenAI's."""
    seed = hashlib.sha256(repr(value).encode()).digest()
    chance = random.Random(seed)  # noqa: S311 - a made-up vector, not a secret
    raw = [chance.gauss(0.0, 1.0) for _ in range(size)]
    length = sum(component * component for component in raw) ** 0.5
    vector = array.array("f", (component / length for component in raw))
    return base64.b64encode(vector.tobytes()).decode() if encoding == "base64" else vector.tolist()


def _texts(value: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """One input or several, each a text or tokens."""
    if isinstance(value, str) or (value and isinstance(value[0], int)):
        return [value]
    return cast("list[str | list[int]]", value)


def _size(value: str | list[int]) -> int:
    return len(tokenize(value)) if isinstance(value, str) else len(value)


def _whole_time(generated: _Generated, pace: Pace) -> float:
    return pace.first_token + pace.each_token * max(len(answer.tokens) for answer in generated.answers)


async def _read(request: Request, shape: type[Asked]) -> Asked:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Refused("The request body is too large.", status=413)
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        where = f" for '{param}'" if param else ""
        raise Refused(f"Invalid value{where}: {first['msg']}.", param=param) from None


def _check_model(model: str, known: Sequence[str]) -> None:
    if model not in known:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(message, code="model_not_found", status=404)


def _check_stream_options(asked: _Generation) -> None:
    if asked.stream_options is not None and not asked.stream:
        raise Refused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )


async def _error(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    shown = {"message": str(error), "type": "invalid_request_error", "param": error.param, "code": error.code}
    return JSONResponse({"error": shown}, error.status)


async def _unknown_path(request: Request, _: Exception) -> Response:
    message = f"Invalid URL ({request.method} {request.url.path})"
    return await _error(request, Refused(message, status=404))
