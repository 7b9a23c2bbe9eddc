"""Bodies and headers that two readers could take differently: nothing rides past the checks, and nothing hangs.

What is served is always one request, asked once, checked and booked; every refusal is in words that clients can read.
"""

from __future__ import annotations

import pytest
from gateway.crafted import BODY, CHUNKED, FORGED, TYPE, http2_statuses, reads_well, request
from gateway.running_gateway import CHAT
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import PROVIDER_KEY
from gateway.wire import answer, http1, http2, pseudo, spoken

#: Two ways to say where a body ends, or one that two readers could take differently.
TWO_LENGTHS = {
    "chunked and a length": (f"transfer-encoding: chunked\r\ncontent-length: {len(BODY)}", CHUNKED, 400),
    "a length and chunked": (f"content-length: {len(CHUNKED)}\r\ntransfer-encoding: chunked", CHUNKED, 400),
    "not chunked and a length": (f"transfer-encoding: xchunked\r\ncontent-length: {len(BODY)}", BODY, 400),
    "identity and a length": (f"transfer-encoding: identity\r\ncontent-length: {len(BODY)}", BODY, 400),
    "not chunked": ("transfer-encoding: xchunked", CHUNKED, 501),
    "not last": ("transfer-encoding: chunked, identity", CHUNKED, 501),
    "not first": ("transfer-encoding: gzip, chunked", CHUNKED, 501),
    "twice": ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", CHUNKED, 501),
    "once and not": ("transfer-encoding: chunked\r\ntransfer-encoding: identity", CHUNKED, 501),
    "space before the colon": ("transfer-encoding : chunked", CHUNKED, 400),
    "vertical tab": ("transfer-encoding:\x0bchunked", CHUNKED, 400),
    "two lengths": (f"content-length: {len(BODY)}\r\ncontent-length: 3", BODY, 400),
    "the same length twice": (f"content-length: {len(BODY)}\r\ncontent-length: {len(BODY)}", BODY, 400),
    "a list of lengths": (f"content-length: {len(BODY)}, {len(BODY)}", BODY, 400),
    "plus": (f"content-length: +{len(BODY)}", BODY, 400),
    "minus": (f"content-length: -{len(BODY)}", BODY, 400),
    "hexadecimal": (f"content-length: {len(BODY):#x}", BODY, 400),
    "more than there is": ("content-length: 18446744073709551616", BODY, 400),
    # By then the request has begun, and Envoy closes the connection without a word.
    "a chunk without end": ("transfer-encoding: chunked", b"FFFFFFFFFFFFFFFFF\r\n" + BODY, 0),
    "a negative chunk": ("transfer-encoding: chunked", b"-1\r\n" + BODY, 0),
}


@pytest.mark.parametrize("name", TWO_LENGTHS)
async def test_a_body_whose_end_is_in_doubt_is_refused(gateway, upstream, key, name):
    framing, body, status = TWO_LENGTHS[name]
    before = len(upstream.asked)

    found = await spoken(gateway, request(*framing.split("\r\n"), key=key, body=body))

    assert found.status == status
    assert status == 0 or reads_well(found)
    assert len(upstream.asked) == before


@pytest.mark.parametrize("framing", ["transfer-encoding: chunked", "Transfer-Encoding:\tCHUNKED"])
async def test_a_chunked_body_is_served_and_forwarded_with_its_length(gateway, upstream, key, framing):
    found = await spoken(gateway, request(framing, key=key, body=CHUNKED))

    assert found.status == 200
    assert upstream.asked[-1].values("content-length") == [str(len(BODY))]
    assert upstream.asked[-1].values("transfer-encoding") == []


async def test_a_request_hidden_behind_another_one_is_a_request_of_its_own(gateway, upstream, key):
    """The second has no key; it neither rides on the first nor reaches anybody."""
    before = len(upstream.asked)

    async with http1(gateway) as (reader, writer):
        writer.write(request(key=key) + request(FORGED))
        first, second = await answer(reader), await answer(reader)

    assert (first.status, second.status) == (200, 401)
    assert len(upstream.asked) == before + 1


async def test_what_follows_the_declared_end_of_a_body_is_not_part_of_it(gateway, upstream, key):
    before = len(upstream.asked)

    async with http1(gateway) as (reader, writer):
        writer.write(request(f"content-length: {len(BODY)}", key=key, body=BODY + b'{"model":"gpt-4o-mini"}\r\n\r\n'))
        first, second = await answer(reader), await answer(reader)

    assert (first.status, second.status) == (200, 400)
    assert [asked.body for asked in upstream.asked[before:]] == [BODY]


@pytest.mark.parametrize(
    "header",
    [
        "x_extproc_upstream: provider",
        "x-extproc_upstream: provider",
        "x-extproc-upstream : provider",
        "x-extproc-upstream\0: provider",
        "x-a\0: 1",
        "x-a: a\0b",
        "x a: 1",
        ": 1",
        "no colon",
        "x_litellm_tags: a",
        "content_length: 3",
        "transfer_encoding: chunked",
    ],
)
async def test_a_header_that_somebody_could_read_otherwise_is_a_400(gateway, upstream, key, header):
    before = len(upstream.asked)

    found = await spoken(gateway, request(header, key=key))

    assert found.status == 400
    assert reads_well(found)
    assert len(upstream.asked) == before


@pytest.mark.parametrize(
    "header",
    [
        "x-extproc-upstream: provider",
        "X-EXTPROC-UPSTREAM: nowhere",
        "x-extproc-upstream: provider\r\nx-extproc-upstream: nowhere",
        "x-a: b\nx-extproc-upstream: nowhere",
        "x-a: b\r\n x-extproc-upstream: nowhere",
        "connection: x-extproc-upstream",
        "x-extproc-key: admin",
        "x-litellm-model-id: other",
        "x-litellm-api-base: http://127.0.0.1:1",
        "x-litellm-tags: a",
    ],
)
async def test_a_header_of_ours_from_a_client_changes_nothing(gateway, upstream, key, header):
    without_key = await spoken(gateway, request(header))
    before = len(upstream.asked)
    found = await spoken(gateway, request(header, key=key))

    assert without_key.status == 401
    assert found.status == 200
    (asked,) = upstream.asked[before:]
    assert not [name for name, _ in asked.headers if name.startswith(("x-extproc-", "x-litellm-"))]


FORBIDDEN_FIELDS = (
    ("x_extproc_upstream", "provider"),
    ("X-Extproc-Upstream", "provider"),
    ("x-a", "b\r\nx-extproc-upstream: provider"),
    ("x-a", "b\nx-extproc-upstream: provider"),
    ("x-a\r\nx-extproc-upstream", "provider"),
    ("transfer-encoding", "chunked"),
    ("connection", "close"),
    ("content-length", "3"),
    (":path", "/v1/models"),
    (":authority", "elsewhere"),
    (":status", "200"),
    ("te", "chunked"),
)


async def test_a_field_that_http2_forbids_is_refused(gateway, upstream, key):
    before = len(upstream.asked)
    whole = [*pseudo(CHAT), ("authorization", f"Bearer {key}")]

    statuses = await http2_statuses(gateway, *([*whole, field] for field in FORBIDDEN_FIELDS))

    assert statuses <= {0, 400}
    assert len(upstream.asked) == before


async def test_a_header_of_ours_over_http2_changes_nothing(gateway, upstream, key):
    forged = ("x-extproc-upstream", "provider")
    before = len(upstream.asked)

    async with http2(gateway) as connection:
        without_key = await connection.ask([*pseudo(CHAT), TYPE, forged], [BODY])
        asked_without_key = len(upstream.asked) - before
        found = await connection.ask([*pseudo(CHAT), TYPE, ("authorization", f"Bearer {key}"), forged], [BODY])

    assert (without_key.status, asked_without_key) == (401, 0)
    assert found.status == 200
    assert upstream.asked[-1].values("x-extproc-upstream") == []


async def test_trailers_of_a_request_reach_nobody(gateway, upstream, key):
    trailers = [("x-extproc-upstream", "provider"), ("authorization", "Bearer sk-other"), ("x-api-key", "sk-third")]
    before = len(upstream.asked)

    async with http2(gateway) as connection:
        without_key = await connection.ask([*pseudo(CHAT), TYPE], [BODY], trailers)
        asked_without_key = len(upstream.asked) - before
        found = await connection.ask([*pseudo(CHAT), TYPE, ("authorization", f"Bearer {key}")], [BODY], trailers)
    chunked = await spoken(
        gateway,
        request(
            *("transfer-encoding: chunked", "trailer: authorization"),
            body=CHUNKED[:-2] + b"authorization: Bearer %b\r\n\r\n" % key.encode(),
        ),
    )

    assert (without_key.status, asked_without_key, found.status, chunked.status) == (401, 0, 200, 401)
    (asked,) = upstream.asked[before:]
    assert asked.values("authorization") == [f"Bearer {PROVIDER_KEY}"]
    assert asked.values("x-api-key") == []


@pytest.mark.parametrize(
    "header",
    [
        "x-http-method-override: DELETE",
        "x-http-method: DELETE",
        "x-method-override: DELETE",
        "x-original-url: /v1/files",
        "x-original-uri: /v1/files",
        "x-rewrite-url: /v1/files",
        "x-forwarded-prefix: /admin",
        "x-forwarded-path: /v1/files",
        "proxy-authorization: Basic YTpi",
        "x-forwarded-host: elsewhere",
        "forwarded: host=elsewhere",
    ],
)
async def test_what_a_server_might_obey_more_than_the_request_does_not_reach_the_provider(
    gateway, upstream: ScriptedUpstream, key, header
):
    found = await spoken(gateway, request(header, key=key))

    assert found.status == 200
    assert (upstream.asked[-1].method, upstream.asked[-1].target) == ("POST", "/v1/chat/completions")
    assert upstream.asked[-1].values(header.partition(":")[0]) == []


@pytest.mark.parametrize("valid", [True, False])
async def test_a_client_that_waits_to_be_told_to_go_on_is_told(gateway, upstream, key, valid):
    """`Expect: 100-continue`: with a key it may send its body; without one it is refused and need not."""
    whole = request("expect: 100-continue", key=key if valid else "")

    async with http1(gateway) as (reader, writer):
        writer.write(whole.removesuffix(BODY))
        if valid:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(BODY)
        found = await answer(reader)

    assert found.status == (200 if valid else 401)


@pytest.mark.parametrize("said", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, b"\0\1\2\3\r\n\r\n"])
async def test_what_is_no_http_at_all_is_a_400(gateway, said):
    assert (await spoken(gateway, said)).status == 400
