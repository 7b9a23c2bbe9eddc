"""ProcessingRequest bytes to events; `answers.py` is the way back.

One rule of external_processor.proto decides the shape: outside full duplex there is *exactly one* response per request
message.
"""

from __future__ import annotations

from typing import Any

from extproc.codec.messages import ProcessingRequest
from extproc.errors import ProtocolError
from extproc.events import (
    Event,
    Header,
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


def decode(message: bytes) -> Event:
    """One event per message. Raises `ProtocolError` for bytes that are none, or a kind of message that is not ours."""
    try:
        request = ProcessingRequest.FromString(message)
    except Exception as error:
        raise ProtocolError("not a ProcessingRequest") from error
    kind = request.WhichOneof("request")
    if kind == "response_body":
        body = request.response_body
        return ResponseBody(body.body, body.end_of_stream)
    if kind == "request_body":
        body = request.request_body
        return RequestBody(body.body, body.end_of_stream)
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


def _headers(headers: Any) -> tuple[Header, ...]:
    """Envoy sends values in `raw_value`, other implementations of the protocol may not."""
    return tuple([(header.key.encode(), header.raw_value or header.value.encode()) for header in headers.headers])


def _attributes(request: Any) -> dict[str, str]:
    """String attributes only; Envoy groups them under the filter's name."""
    ours = request.attributes.get(FILTER)
    return {name: value.string_value for name, value in ours.fields.items()} if ours is not None else {}
