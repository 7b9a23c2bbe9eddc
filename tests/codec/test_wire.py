"""Envoy's messages become events; checked with envoy-data-plane's own classes."""

from __future__ import annotations

import contextlib

import pytest
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.service.ext_proc import v3
from hypothesis import given
from hypothesis import strategies as st

from extproc import codec
from extproc.errors import ProtocolError
from extproc.events import (
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
    request = codec.ProcessingRequest()
    request.request_headers.SetInParent()
    request.attributes[codec.FILTER].fields["source.address"].string_value = "10.0.0.1:5"
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
