"""Exchanges as the messages that Envoy sends for them, and how to go through one without Envoy: for `--micro`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import payloads
from extproc import codec
from extproc.envoyconfig.processor_filter import HIDDEN
from extproc.model import Outcome

API_KEY = "sk-0123456789abcdefghijklmnopqrstuvwxyz"
#: Of a stream's messages, those before its first chunk of text, and those behind its last.
BEFORE, BEHIND = 4, 4


def driven(story: object) -> Outcome:
    """Run a coroutine that never really waits, without a loop around it."""
    try:
        story.send(None)  # type: ignore[attr-defined]
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    raise RuntimeError("the story waited for something")


def plain_messages() -> list[bytes]:
    asked, answered = payloads.request("127.0.0.1:4000", API_KEY, stream=False), payloads.answer()
    return [
        _request_headers(asked),
        body_message("request_body", json_of(asked), end=True),
        _response_headers(b"application/json"),
        body_message("response_body", json_of(answered), end=True),
    ]


def stream_messages(more: Mapping[str, Any] = {}) -> list[bytes]:
    """`more` are further fields of the request's body."""
    asked = payloads.request("127.0.0.1:4000", API_KEY, stream=True, more=more)
    return [
        _request_headers(asked),
        body_message("request_body", json_of(asked), end=True),
        _response_headers(b"text/event-stream; charset=utf-8"),
        *(body_message("response_body", event) for event in payloads.events()),
        body_message("response_body", b"", end=True),
    ]


def _request_headers(asked: bytes) -> bytes:
    lines = asked.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    sent = [(name.decode(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    pseudo = [(":method", b"POST"), (":path", b"/v1/chat/completions"), (":scheme", b"http"), (":authority", b"host")]
    added = [("x-request-id", b"0f2d7c1e-6d2f-4b0e-9d70-2f2f0e6a5b3c"), ("x-forwarded-for", b"127.0.0.1")]
    return _headers("request_headers", [*pseudo, *sent, *added], source="127.0.0.1:51234")


def _response_headers(kind: bytes) -> bytes:
    sent = [(":status", b"200"), ("content-type", kind), ("x-envoy-upstream-service-time", b"1")]
    return _headers("response_headers", sent)


def _headers(kind: str, headers: Sequence[tuple[str, bytes]], source: str = "") -> bytes:
    message = codec.ProcessingRequest()
    for name, value in headers:
        if name in HIDDEN:
            continue
        header = getattr(message, kind).headers.headers.add()
        header.key, header.raw_value = name, value
    if source:
        message.attributes[codec.FILTER].fields["source.address"].string_value = source
    return bytes(message.SerializeToString())


def body_message(kind: str, body: bytes, *, end: bool = False) -> bytes:
    message = codec.ProcessingRequest()
    part = getattr(message, kind)
    part.body, part.end_of_stream = body, end
    return bytes(message.SerializeToString())


def json_of(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[2]
