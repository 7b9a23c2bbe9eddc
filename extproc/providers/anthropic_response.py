"""What Anthropic's Messages API answers: usage, identity, the text for an estimate, and the shape of its errors.

Each payload is taken apart by itself: a whole `message`, or one event of `message_start` … `message_stop`. Nothing
raises; what is not understood is as if it were absent. Anthropic counts cached input beside `input_tokens`, the house
counts inclusively, so the three are summed. A stream tells the input in `message_start` and the output in
`message_delta`, cumulatively: its usage is the largest that was told of each count.

Source: Anthropic's API reference, "Create a Message", "Streaming Messages" and "Errors".
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from extproc.model import Usage
from extproc.providers.api import Reading
from extproc.providers.lenient import Tokens, decoded, identifier

#: Quotes inside JSON strings are escaped, so that an answer which talks about these names does not match.
STREAM_MARKS: tuple[bytes, ...] = (rb'"usage"\s*:\s*\{', rb'"type"\s*:\s*"message_stop"')

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

_ABSENT = Raw(b"null")
_NOTHING = Reading()
_FINISHED = Reading(finished=True)


class _Payload(msgspec.Struct, frozen=True, gc=False):
    """The top level of a message or of any event; parts undecoded."""

    type: Any = None
    id: Any = None
    model: Any = None
    usage: Raw = _ABSENT
    content: Raw = _ABSENT
    message: Raw = _ABSENT
    content_block: Raw = _ABSENT
    delta: Raw = _ABSENT


class _Usage(msgspec.Struct, frozen=True, gc=False):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    output_tokens_details: Raw = _ABSENT


class _OutputDetails(msgspec.Struct, frozen=True, gc=False):
    thinking_tokens: Tokens | None = None


class _Block(msgspec.Struct, frozen=True, gc=False):
    """A content block, or the delta of one."""

    text: str | None = None
    thinking: str | None = None
    name: str | None = None
    input: Raw = _ABSENT
    partial_json: str | None = None


_payloads = msgspec.json.Decoder(_Payload)
_usages = msgspec.json.Decoder(_Usage | None)
_output_details = msgspec.json.Decoder(_OutputDetails | None)
_block = msgspec.json.Decoder(_Block | None)
_blocks = msgspec.json.Decoder(list[_Block] | None)


def read(payload: bytes) -> Reading:
    """Read a whole message, or the data of one event."""
    top = decoded(_payloads, payload)
    if top is None:
        return _NOTHING
    if top.type == "message_stop":
        return _FINISHED
    if top.type == "message_start":
        return _reading(decoded(_payloads, top.message) or top, [], begins=True)
    return _reading(top, [top.content_block, top.delta], begins=False)


def merge(earlier: Usage | None, later: Usage | None) -> Usage | None:
    """The usage of a stream after one more event: counts are cumulative, and an event may leave some out."""
    if earlier is None or later is None:
        return earlier or later
    names = Usage.__struct_fields__
    return Usage(**{name: max(getattr(earlier, name), getattr(later, name)) for name in names})


def error_body(message: str, kind: str, param: str | None, status: int) -> bytes:  # noqa: ARG001
    """Anthropic's error envelope, with its own word for the type. It has no place for `param` and `status`."""
    error = {"type": _error_type(kind, status), "message": message}
    return msgspec.json.encode({"type": "error", "error": error})


def error_event(message: str, kind: str, param: str | None, status: int) -> bytes:
    """`event: error`, which Anthropic's SDKs raise as an `APIStatusError`."""
    return b"event: error\ndata: " + error_body(message, kind, param, status) + b"\n\n"


def _error_type(kind: str, status: int) -> str:
    """Anthropic's types go with the status, but for a spent budget, which it tells of as of a bill."""
    if kind == "budget_exceeded":
        return "billing_error"
    return _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def _reading(message: _Payload, pieces: list[Raw], *, begins: bool) -> Reading:
    blocks = decoded(_blocks, message.content) or [block for raw in pieces if (block := decoded(_block, raw))]
    usage = _inclusive(decoded(_usages, message.usage), begins=begins)
    return Reading(
        response_id=identifier(message.id),
        model=identifier(message.model),
        usage=usage,
        usage_begins=begins and usage is not None,
        text="".join([_text(block) for block in blocks]),
    )


def _inclusive(told: _Usage | None, *, begins: bool) -> Usage | None:
    """No usage where the output is not told and must be; input that is not told is 0, for `merge` to keep what was."""
    if told is None or (told.output_tokens is None and not begins):
        return None
    written, read_from = told.cache_creation_input_tokens or 0, told.cache_read_input_tokens or 0
    details = decoded(_output_details, told.output_tokens_details)
    thought = (details.thinking_tokens if details else None) or 0
    return Usage(
        input_tokens=(told.input_tokens or 0) + written + read_from,
        output_tokens=told.output_tokens or 0,
        cache_read_tokens=read_from,
        cache_write_tokens=written,
        reasoning_tokens=min(thought, told.output_tokens or 0),
    )


def _text(block: _Block) -> str:
    """Everything in a block that the model generated, whatever its channel."""
    said = (block.text, block.thinking, block.name, block.partial_json)
    called = bytes(block.input).decode("utf-8", "replace") if bytes(block.input) not in {b"null", b"{}"} else ""
    return "".join([part for part in said if part]) + called
