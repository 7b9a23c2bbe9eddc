"""ProcessingRequest bytes to events, replies to ProcessingResponse bytes.

Two rules of external_processor.proto decide the shape: outside full duplex there is *exactly one* response per request
message, and header changes in a body response count only where that body is BUFFERED. Envoy sends header values in
`raw_value`; we do too. The commonest replies never change, so they are encoded once, when the module is loaded.
"""

from __future__ import annotations

from typing import Any

from envoy_data_plane.envoy.service.ext_proc import v3

from extproc.codec.schema import derive
from extproc.errors import ProtocolError
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

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
METHOD = "Process"
FILTER = "envoy.filters.http.ext_proc"

# What the derived classes hold is known to protobuf only, so they are Any to the type checker.
ProcessingRequest: Any
ProcessingResponse: Any
ProcessingRequest, ProcessingResponse = derive(v3.ProcessingRequest, v3.ProcessingResponse)

#: The response field that answers each event.
_ANSWERS: dict[type[Event], str] = {
    RequestHeaders: "request_headers",
    RequestBody: "request_body",
    RequestTrailers: "request_trailers",
    ResponseHeaders: "response_headers",
    ResponseBody: "response_body",
    ResponseTrailers: "response_trailers",
}
_OVERWRITE_OR_ADD = 2  # HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
_SEND, _SKIP, _NONE, _BUFFERED = 1, 2, 0, 2


def decode(message: bytes) -> Event:
    """One event per message. Raises `ProtocolError` for bytes that are none, or a kind of message that is not ours."""
    try:
        request = ProcessingRequest.FromString(message)
    except Exception as error:
        raise ProtocolError("not a ProcessingRequest") from error
    kind = request.WhichOneof("request")
    if kind == "response_body":
        return ResponseBody(request.response_body.body, request.response_body.end_of_stream)
    if kind == "request_body":
        return RequestBody(request.request_body.body, request.request_body.end_of_stream)
    if kind == "request_headers":
        headers = request.request_headers
        return RequestHeaders(_headers(headers.headers), headers.end_of_stream, _attributes(request))
    if kind == "response_headers":
        headers = request.response_headers
        return ResponseHeaders(_headers(headers.headers), headers.end_of_stream)
    if kind == "request_trailers":
        return RequestTrailers()
    if kind == "response_trailers":
        return ResponseTrailers()
    raise ProtocolError(f"unexpected message {kind}")


def encode(event: Event, reply: Reply) -> bytes:
    """The answer to `event`."""
    if reply is PROCEED:
        return _UNCHANGED[type(event)]
    response = ProcessingResponse()
    if isinstance(reply, Refuse):
        _write_refusal(response.immediate_response, reply)
    elif isinstance(event, (RequestTrailers, ResponseTrailers)):
        _write_headers(getattr(response, _ANSWERS[type(event)]).header_mutation, reply)
    else:
        _write_common(getattr(response, _ANSWERS[type(event)]).response, reply)
        if reply.skip_response_body:
            _write_skip(response.mode_override)
    return bytes(response.SerializeToString())


def _headers(headers: Any) -> tuple[Header, ...]:
    return tuple((header.key.encode(), header.raw_value or header.value.encode()) for header in headers.headers)


def _attributes(request: Any) -> dict[str, str]:
    """String attributes only; Envoy groups them under the filter's name."""
    if FILTER not in request.attributes:
        return {}
    fields = request.attributes[FILTER].fields
    return {name: fields[name].string_value for name in fields}


def _write_common(common: Any, reply: Proceed) -> None:
    _write_headers(common.header_mutation, reply)
    if reply.body == b"":
        common.body_mutation.clear_body = True
    elif reply.body is not None:
        common.body_mutation.body = reply.body
    common.clear_route_cache = reply.reroute


def _write_headers(mutation: Any, reply: Proceed) -> None:
    for header in reply.set_headers:
        _write_header(mutation.set_headers.add(), header)
    mutation.remove_headers.extend(name.decode() for name in reply.remove_headers)


def _write_header(option: Any, header: Header) -> None:
    option.header.key = header[0].decode()
    option.header.raw_value = header[1]
    option.append_action = _OVERWRITE_OR_ADD


def _write_refusal(immediate: Any, refuse: Refuse) -> None:
    immediate.status.code = refuse.status
    for header in refuse.headers:
        _write_header(immediate.headers.set_headers.add(), header)
    immediate.body = refuse.body
    immediate.details = refuse.details


def _write_skip(mode: Any) -> None:
    """An override always replaces both body modes, so it must say every field, not only the one that changes."""
    mode.request_header_mode = _SEND
    mode.response_header_mode = _SEND
    mode.request_body_mode = _BUFFERED
    mode.response_body_mode = _NONE
    mode.request_trailer_mode = _SKIP
    mode.response_trailer_mode = _SKIP


def _unchanged(field: str) -> bytes:
    response = ProcessingResponse()
    getattr(response, field).SetInParent()
    return bytes(response.SerializeToString())


_UNCHANGED = {event: _unchanged(field) for event, field in _ANSWERS.items()}
