"""Envoy's messages become events, replies become Envoy's messages; checked with envoy-data-plane's own classes."""

from __future__ import annotations

import contextlib

import pytest
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as filter_
from envoy_data_plane.envoy.service.ext_proc import v3
from hypothesis import given
from hypothesis import strategies as st

from extproc import codec
from extproc.errors import ProtocolError
from extproc.events import (
    PROCEED,
    Proceed,
    Refuse,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)

HEADERS = v3.HttpHeaders(
    headers=core.HeaderMap(
        headers=[
            core.HeaderValue(key=":path", raw_value=b"/v1"),
            core.HeaderValue(key="x", raw_value=b"\xff"),
            core.HeaderValue(key="x", value="text"),
        ]
    ),
    end_of_stream=True,
)
SEEN = ((b":path", b"/v1"), (b"x", b"\xff"), (b"x", b"text"))


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (v3.ProcessingRequest(request_headers=HEADERS), RequestHeaders(SEEN, end_of_stream=True)),
        (v3.ProcessingRequest(response_headers=HEADERS), ResponseHeaders(SEEN, end_of_stream=True)),
        (v3.ProcessingRequest(request_body=v3.HttpBody(body=b"{}")), RequestBody(b"{}", end_of_stream=False)),
        (
            v3.ProcessingRequest(response_body=v3.HttpBody(body=b"", end_of_stream=True)),
            ResponseBody(b"", end_of_stream=True),
        ),
        (v3.ProcessingRequest(request_trailers=v3.HttpTrailers()), RequestTrailers()),
        (v3.ProcessingRequest(response_trailers=v3.HttpTrailers()), ResponseTrailers()),
    ],
)
def test_every_message_becomes_its_event(message, event):
    assert codec.decode(bytes(message)) == event


def test_attributes_are_read_from_under_the_filters_name():
    request = codec.wire.ProcessingRequest()
    request.request_headers.SetInParent()
    request.attributes[codec.wire.FILTER].fields["source.address"].string_value = "10.0.0.1:5"
    request.attributes["other"].fields["source.address"].string_value = "6.6.6.6:6"

    assert codec.decode(request.SerializeToString()).attributes == {"source.address": "10.0.0.1:5"}


@pytest.mark.parametrize("message", [b"\xff\xff\xff", b"", bytes(v3.ProcessingRequest(observability_mode=True))])
def test_what_is_no_message_of_ours_is_a_protocol_error(message):
    with pytest.raises(ProtocolError):
        codec.decode(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_protocol_error(message):
    with contextlib.suppress(ProtocolError):
        codec.decode(message)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (RequestHeaders((), end_of_stream=False), "request_headers"),
        (RequestBody(b"", end_of_stream=True), "request_body"),
        (RequestTrailers(), "request_trailers"),
        (ResponseHeaders((), end_of_stream=False), "response_headers"),
        (ResponseBody(b"", end_of_stream=True), "response_body"),
        (ResponseTrailers(), "response_trailers"),
    ],
)
def test_each_event_is_answered_in_kind_changed_or_not(event, field):
    for reply in (PROCEED, Proceed(((b"a", b"b"),))):
        answer = v3.ProcessingResponse.parse(codec.encode(event, reply))

        assert getattr(answer, field) is not None


def test_a_change_arrives_whole():
    reply = Proceed(((b"authorization", b"Bearer x"),), (b"cookie",), b"{}", reroute=True)

    common = v3.ProcessingResponse.parse(
        codec.encode(RequestBody(b"", end_of_stream=True), reply)
    ).request_body.response

    assert common == v3.CommonResponse(
        header_mutation=v3.HeaderMutation(
            set_headers=[
                core.HeaderValueOption(
                    header=core.HeaderValue(key="authorization", raw_value=b"Bearer x"),
                    append_action=core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
                )
            ],
            remove_headers=["cookie"],
        ),
        body_mutation=v3.BodyMutation(body=b"{}"),
        clear_route_cache=True,
    )


def test_an_emptied_body_is_cleared_not_left():
    answer = v3.ProcessingResponse.parse(codec.encode(ResponseBody(b"x", end_of_stream=False), Proceed(body=b"")))

    assert answer.response_body.response.body_mutation.clear_body is True


def test_skipping_the_response_body_says_every_field_of_the_override():
    reply = Proceed(skip_response_body=True)

    answer = v3.ProcessingResponse.parse(codec.encode(ResponseHeaders((), end_of_stream=False), reply))

    assert answer.mode_override == filter_.ProcessingMode(
        request_header_mode=filter_.ProcessingModeHeaderSendMode.SEND,
        response_header_mode=filter_.ProcessingModeHeaderSendMode.SEND,
        request_body_mode=filter_.ProcessingModeBodySendMode.BUFFERED,
        response_body_mode=filter_.ProcessingModeBodySendMode.NONE,
        request_trailer_mode=filter_.ProcessingModeHeaderSendMode.SKIP,
        response_trailer_mode=filter_.ProcessingModeHeaderSendMode.SKIP,
    )


def test_a_refusal_becomes_an_immediate_response():
    refuse = Refuse(429, ((b"retry-after", b"1"),), b'{"error":{}}', "extproc_over")

    immediate = v3.ProcessingResponse.parse(
        codec.encode(RequestHeaders((), end_of_stream=False), refuse)
    ).immediate_response

    assert immediate.status.code == 429
    assert immediate.body == b'{"error":{}}'
    assert immediate.details == "extproc_over"
    assert immediate.headers.set_headers[0].header == core.HeaderValue(key="retry-after", raw_value=b"1")
