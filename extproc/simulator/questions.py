"""What may be asked: request bodies, as far as the answers depend on them, and how a bad one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request

MAX_BODY_BYTES = 16 * 1024 * 1024

Asked = TypeVar("Asked", bound=BaseModel)


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


class Generation(BaseModel):
    """What chat completions and completions have in common."""

    model: str
    n: Annotated[int, Field(ge=1, le=128)] = 1
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None

    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class _Conversation(Generation):
    messages: Annotated[list[_Message], Field(min_length=1)]

    def question(self) -> str:
        """What the user wrote last."""
        return next((each.text() for each in reversed(self.messages) if each.role == "user"), "")


class Function(BaseModel):
    """What a model may call."""

    name: str
    parameters: dict[str, Any] | None = None


class _Tool(BaseModel):
    function: Function | None = None


class Chat(_Conversation):
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None

    def must_call(self) -> Function | None:
        """The function that must be called, if one must."""
        named = self.tool_choice.get("function") if isinstance(self.tool_choice, dict) else None
        if self.tool_choice != "required" and not isinstance(named, dict):
            return None
        functions = [tool.function for tool in self.tools or () if tool.function is not None]
        return next((each for each in functions if not named or each.name == named.get("name")), None)


class Messages(_Conversation):
    """Anthropic's; that it needs `max_tokens` is said in Anthropic's words."""

    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: dict[str, Any] | None = None

    def texts(self) -> list[str]:
        """Everything that was given: the system prompt is a message too."""
        first = [_Message(role="system", content=self.system)] if self.system else []
        return [each.text() for each in [*first, *self.messages]]


class Completion(Generation):
    prompt: str | list[str] | list[int] | list[list[int]] = "<|endoftext|>"


class Embedding(BaseModel):
    model: str
    input: str | Annotated[list[str] | list[int] | list[list[int]], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None


async def read(request: Request, shape: type[Asked]) -> Asked:
    """The request's body. Raises `Refused` where it is too large or not of this shape."""
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


def check_model(model: str, known: Sequence[str]) -> None:
    """Raises `Refused` for a model that is not known here."""
    if model not in known:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(message, code="model_not_found", status=404)


def check_stream_options(asked: Generation) -> None:
    """Raises `Refused` where a stream's options come without a stream, as OpenAI does."""
    if asked.stream_options is not None and not asked.stream:
        raise Refused(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
