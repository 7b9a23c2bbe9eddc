"""Replies to ProcessingResponse bytes.

The commonest replies never change, so they are encoded once, when the module is loaded. A reply that changes something
is put together by hand, from the inside out: a message inside a message is a tag, a length and the inner bytes. A body
comes last, so that it is copied once. Header changes hardly differ from one exchange to the next: what was encoded is
kept. All this costs a third of filling a message object and serializing it, which is what refusals do.

Field numbers come from the schema, none stands here; a property test holds the bytes equal to what the classes write.
Header changes in a body response count only where that body is BUFFERED. Envoy sends header values in `raw_value`; we
do too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from extproc.codec.messages import ProcessingResponse
from extproc.events import (
    PROCEED,
    Event,
    Header,
    Proceed,
    Refuse,
    Reply,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)

#: Encoded header changes that are kept. Some hold a client's text, so there must be an end of them.
KEPT = 1024
_OVERWRITE_OR_ADD = 2  # HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
_SEND, _SKIP, _NONE, _BUFFERED = 1, 2, 0, 2
_LENGTH_DELIMITED = 2  # the wire type

#: The response field that answers each event.
_ANSWERS: dict[type[Event], str] = {
    RequestHeaders: "request_headers",
    RequestBody: "request_body",
    RequestTrailers: "request_trailers",
    ResponseHeaders: "response_headers",
    ResponseBody: "response_body",
    ResponseTrailers: "response_trailers",
}


def encode(event: Event, reply: Reply) -> bytes:
    """The answer to `event`."""
    if reply is PROCEED:
        return _UNCHANGED[type(event)]
    if isinstance(reply, Refuse):
        return _refusal(reply)
    kind = type(event)
    body = reply.body or b""
    if body and not (reply.set_headers or reply.remove_headers or reply.reroute or kind in _TRAILERS):
        return b"".join((_before_body(kind, len(body)), body, _mode(reply)))
    changes = b"".join(map(_set_header, reply.set_headers)) + _removed_headers(reply.remove_headers)
    if kind in _TRAILERS:
        return _opened(_ANSWER_TAGS[kind], _opened(_TRAILER_CHANGES, changes))
    common = _opened(_HEADER_CHANGES, changes) if changes else b""
    if reply.reroute:
        common += _NEW_ROUTE
    if body:
        common += _opened(_BODY_CHANGE, _opened(_BODY, b"", len(body)), len(body))
    elif reply.body is not None:
        common += _CLEARED_BODY
    answer = _opened(_ANSWER_TAGS[kind], _opened(_COMMON, common, len(body)), len(body))
    return b"".join((answer, body, _mode(reply)))


@lru_cache(KEPT)
def _before_body(kind: type[Event], size: int) -> bytes:
    """What precedes a body of this size in an answer that changes nothing else, as most in a rewritten stream do."""
    common = _opened(_BODY_CHANGE, _opened(_BODY, b"", size), size)
    return _opened(_ANSWER_TAGS[kind], _opened(_COMMON, common, size), size)


def _mode(reply: Proceed) -> bytes:
    if reply.skip_response_body:
        return _WITHOUT_RESPONSE_BODY
    return _WHOLE_RESPONSE_BODY if reply.buffer_response_body else b""


def _opened(tag: bytes, inner: bytes, more: int = 0) -> bytes:
    """A field with `inner` in it and room for so many more bytes, which are to follow."""
    return tag + _varint(len(inner) + more) + inner


@lru_cache(KEPT)
def _set_header(header: Header) -> bytes:
    name, value = header
    return _opened(_SET_HEADERS, _opened(_HEADER, _opened(_NAME, name) + _opened(_VALUE, value)) + _OVERWRITTEN)


@lru_cache(KEPT)
def _removed_headers(names: tuple[bytes, ...]) -> bytes:
    return b"".join(_opened(_REMOVE_HEADERS, name) for name in names)


def _varint(number: int) -> bytes:
    """A whole number in groups of seven bits, the lowest first."""
    if number < 0x80:
        return _ONE_BYTE[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    groups = bytearray()
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_ONE_BYTE = tuple(bytes((number,)) for number in range(0x80))


# -- what is written by the class itself -------------------------------------------------------------------------------


def _refusal(refuse: Refuse) -> bytes:
    response = ProcessingResponse()
    immediate = response.immediate_response
    immediate.status.code = refuse.status
    for name, value in refuse.headers:
        option = immediate.headers.set_headers.add(append_action=_OVERWRITE_OR_ADD)
        option.header.key, option.header.raw_value = name.decode(), value
    immediate.body = refuse.body
    immediate.details = refuse.details
    return bytes(response.SerializeToString())


def _unchanged(field: str) -> bytes:
    response = ProcessingResponse()
    getattr(response, field).SetInParent()
    return bytes(response.SerializeToString())


def _response_body(kind: int) -> bytes:
    """An override always replaces both body modes, so it must say every field, not only the one that changes."""
    response = ProcessingResponse()
    mode = response.mode_override
    mode.request_header_mode = _SEND
    mode.response_header_mode = _SEND
    mode.request_body_mode = _BUFFERED
    mode.response_body_mode = kind
    mode.request_trailer_mode = _SKIP
    mode.response_trailer_mode = _SKIP
    return bytes(response.SerializeToString())


def _tag(path: str) -> bytes:
    """What precedes the length of a field; `path` leads to it from the top."""
    message, number = ProcessingResponse.DESCRIPTOR, 0
    for name in path.split("."):
        field = message.fields_by_name[name]
        message, number = field.message_type, field.number
    return _varint(number << 3 | _LENGTH_DELIMITED)


def _part(path: str, **fields: Any) -> bytes:
    """Fields of the message at `path`, without the message around them."""
    message = ProcessingResponse()
    for name in path.split("."):
        message = getattr(message, name)
    for name, value in fields.items():
        setattr(message, name, value)
    return bytes(message.SerializeToString())


_UNCHANGED = {event: _unchanged(field) for event, field in _ANSWERS.items()}
_WITHOUT_RESPONSE_BODY = _response_body(_NONE)
_WHOLE_RESPONSE_BODY = _response_body(_BUFFERED)
_TRAILERS = frozenset({RequestTrailers, ResponseTrailers})
_ANSWER_TAGS = {event: _tag(field) for event, field in _ANSWERS.items()}
# The answers to headers and to bodies are of one shape.
_COMMON = _tag("request_body.response")
_HEADER_CHANGES = _tag("request_body.response.header_mutation")
_TRAILER_CHANGES = _tag("request_trailers.header_mutation")
_SET_HEADERS = _tag("request_body.response.header_mutation.set_headers")
_REMOVE_HEADERS = _tag("request_body.response.header_mutation.remove_headers")
_BODY_CHANGE = _tag("request_body.response.body_mutation")
_BODY = _tag("request_body.response.body_mutation.body")
_NEW_ROUTE = _part("request_body.response", clear_route_cache=True)
_CLEARED_BODY = _opened(_BODY_CHANGE, _part("request_body.response.body_mutation", clear_body=True))
_HEADER = _tag("immediate_response.headers.set_headers.header")
_NAME = _tag("immediate_response.headers.set_headers.header.key")
_VALUE = _tag("immediate_response.headers.set_headers.header.raw_value")
_OVERWRITTEN = bytes(
    ProcessingResponse()
    .request_body.response.header_mutation.set_headers.add(append_action=_OVERWRITE_OR_ADD)
    .SerializeToString()
)
