"""The derived C classes and envoy-data-plane's own are the same schema."""

from __future__ import annotations

import pytest
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.service.ext_proc import v3
from envoy_data_plane.envoy.type import v3 as types
from hypothesis import given
from hypothesis import strategies as st

from extproc import codec

names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=12)
octets = st.binary(max_size=64)
header_maps = st.builds(
    core.HeaderMap, headers=st.lists(st.builds(core.HeaderValue, key=names, raw_value=octets), max_size=6)
)
http_headers = st.builds(v3.HttpHeaders, headers=header_maps, end_of_stream=st.booleans())
http_bodies = st.builds(v3.HttpBody, body=octets, end_of_stream=st.booleans())
requests = st.one_of(
    st.builds(v3.ProcessingRequest, request_headers=http_headers, observability_mode=st.booleans()),
    st.builds(v3.ProcessingRequest, response_headers=http_headers),
    st.builds(v3.ProcessingRequest, request_body=http_bodies),
    st.builds(v3.ProcessingRequest, response_body=http_bodies),
    st.builds(v3.ProcessingRequest, request_trailers=st.builds(v3.HttpTrailers, trailers=header_maps)),
    st.builds(v3.ProcessingRequest, response_trailers=st.builds(v3.HttpTrailers, trailers=header_maps)),
)
mutations = st.builds(
    v3.HeaderMutation,
    set_headers=st.lists(
        st.builds(
            core.HeaderValueOption,
            header=st.builds(core.HeaderValue, key=names, raw_value=octets),
            append_action=st.sampled_from(list(core.HeaderValueOptionHeaderAppendAction)),
        ),
        max_size=4,
    ),
    remove_headers=st.lists(names, max_size=4),
)
responses = st.one_of(
    st.builds(
        v3.ProcessingResponse,
        request_body=st.builds(
            v3.BodyResponse,
            response=st.builds(
                v3.CommonResponse,
                header_mutation=mutations,
                body_mutation=st.builds(v3.BodyMutation, body=octets),
                clear_route_cache=st.booleans(),
            ),
        ),
    ),
    st.builds(
        v3.ProcessingResponse,
        immediate_response=st.builds(
            v3.ImmediateResponse,
            status=st.builds(types.HttpStatus, code=st.sampled_from(list(types.StatusCode))),
            headers=mutations,
            body=octets,
            details=names,
        ),
    ),
)


def canonical(kind, message: bytes) -> bytes:
    """The same message, written by the C library: field order and defaults no longer differ."""
    return kind.FromString(message).SerializeToString(deterministic=True)


@given(requests)
def test_a_request_survives_the_way_through_the_derived_class(request):
    written = bytes(request)

    assert v3.ProcessingRequest.parse(canonical(codec.ProcessingRequest, written)) == v3.ProcessingRequest.parse(
        written
    )


@given(responses)
def test_a_response_survives_the_way_through_the_derived_class(response):
    written = bytes(response)

    read = canonical(codec.ProcessingResponse, written)

    assert v3.ProcessingResponse.parse(read) == v3.ProcessingResponse.parse(written)


@given(responses)
def test_nothing_is_unknown_to_the_derived_class(response):
    parsed = codec.ProcessingResponse.FromString(bytes(response))

    assert len(parsed.SerializeToString()) == len(bytes(response))


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ("request_headers", 2),
        ("response_headers", 3),
        ("request_body", 4),
        ("response_body", 5),
        ("request_trailers", 6),
        ("response_trailers", 7),
        ("metadata_context", 8),
        ("attributes", 9),
        ("observability_mode", 10),
        ("protocol_config", 11),
    ],
)
def test_the_numbers_are_those_of_external_processor_proto(field, number):
    assert codec.ProcessingRequest.DESCRIPTOR.fields_by_name[field].number == number
