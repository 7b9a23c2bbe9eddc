"""Replies become Envoy's messages; checked with envoy-data-plane's own classes."""

from __future__ import annotations

import pytest
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as filter_
from envoy_data_plane.envoy.service.ext_proc import v3
from hypothesis import given
from hypothesis import strategies as st

from extproc import codec
from extproc.codec.messages import ProcessingResponse
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

FIELDS: dict[type, str] = {
    RequestHeaders: "request_headers",
    RequestBody: "request_body",
    RequestTrailers: "request_trailers",
    ResponseHeaders: "response_headers",
    ResponseBody: "response_body",
    ResponseTrailers: "response_trailers",
}
EVENTS = (
    RequestHeaders((), end_of_stream=False),
    RequestBody(b"", end_of_stream=True),
    RequestTrailers(),
    ResponseHeaders((), end_of_stream=False),
    ResponseBody(b"", end_of_stream=True),
    ResponseTrailers(),
)
#: Around the lengths that take one byte more to tell.
lengths = st.sampled_from((0, 1, 126, 127, 128, 129, 16_383, 16_384, 2_097_152))
names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=140).map(str.encode)
octets = st.binary(max_size=200)
replies = st.builds(
    Proceed,
    set_headers=st.lists(st.tuples(names, octets), max_size=5).map(tuple),
    remove_headers=st.lists(names, max_size=5).map(tuple),
    body=st.one_of(st.none(), octets, lengths.map(lambda length: b"x" * length)),
    reroute=st.booleans(),
)


def written(reply: Proceed) -> v3.HeaderMutation:
    """The header changes as envoy-data-plane knows them."""
    return v3.HeaderMutation(
        set_headers=[
            core.HeaderValueOption(
                header=core.HeaderValue(key=name.decode(), raw_value=value),
                append_action=core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for name, value in reply.set_headers
        ],
        remove_headers=[name.decode() for name in reply.remove_headers],
    )


@given(st.sampled_from([event for event in EVENTS if "Trailers" not in type(event).__name__]), replies)
def test_any_reply_is_what_the_schema_says_of_it(event, reply):
    answer = v3.ProcessingResponse.parse(codec.encode(event, reply))

    common = getattr(answer, FIELDS[type(event)]).response
    assert (common.header_mutation or v3.HeaderMutation()) == written(reply)
    change = common.body_mutation
    assert reply.body is None if change is None else (change.clear_body or change.body) == (reply.body or True)
    assert common.clear_route_cache == reply.reroute


@given(st.sampled_from(EVENTS), replies)
def test_both_codecs_read_the_same_answer(event, reply):
    answer = codec.encode(event, reply)

    read = ProcessingResponse.FromString(answer)
    read.DiscardUnknownFields()

    assert v3.ProcessingResponse.parse(read.SerializeToString()) == v3.ProcessingResponse.parse(answer)


@given(st.sampled_from([event for event in EVENTS if "Trailers" in type(event).__name__]), replies)
def test_trailers_are_answered_with_header_changes_only(event, reply):
    answer = v3.ProcessingResponse.parse(codec.encode(event, reply))

    assert (getattr(answer, FIELDS[type(event)]).header_mutation or v3.HeaderMutation()) == written(reply)


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_is_answered_in_kind_changed_or_not(event):
    for reply in (PROCEED, Proceed(), Proceed(((b"a", b"b"),))):
        answer = v3.ProcessingResponse.parse(codec.encode(event, reply))

        assert getattr(answer, FIELDS[type(event)]) is not None


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
