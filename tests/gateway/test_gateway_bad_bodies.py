"""Bodies that cannot be understood, or are not what they say: each is refused in precise words, and goes nowhere."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from gateway.running_gateway import CHAT
from gateway.scripted_upstream import WORDS, ScriptedUpstream, says
from gateway.wire import Answer

JSON = {"content-type": "application/json"}
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
WHOLE = b'{"model":"homemade",%b}' % MESSAGES


@pytest.fixture
async def nothing_passes(upstream: ScriptedUpstream) -> AsyncIterator[None]:
    """Holds when the test is over: the provider was not asked."""
    before = len(upstream.asked)
    yield
    assert len(upstream.asked) == before


def nested(depth: int) -> bytes:
    """A body with this many levels."""
    return b'{"model":"homemade",%b,"a":%b1%b}' % (MESSAGES, b"[" * (depth - 1), b"]" * (depth - 1))


def without_model(*fields: bytes) -> bytes:
    return b"{" + b",".join((*fields, MESSAGES)) + b"}"


def with_field(field: bytes) -> bytes:
    return without_model(b'"model":"homemade"', field)


NOT_A_DOCUMENT = {
    "empty": (b"", "the body is empty"),
    "white": (b" \r\n", "Input data was truncated"),
    "cut short": (WHOLE[:-1], "Input data was truncated"),
    "cut in a string": (WHOLE[:12], "Input data was truncated"),
    "followed by another": (WHOLE + WHOLE, "trailing characters"),
    "followed by a zero": (WHOLE + b"\0", "trailing characters"),
    "list": (b"[%b]" % WHOLE, "Expected `object`, got `array`"),
    "string": (b'"%b"' % b"model", "Expected `object`, got `str`"),
    "null": (b"null", "Expected `object`, got `null`"),
    "form": (b"model=homemade&messages=hi", "invalid character"),
    "single quotes": (WHOLE.replace(b'"', b"'"), "object keys must be strings"),
    "comment": (b"/* hi */" + WHOLE, "invalid character"),
    "trailing comma": (WHOLE[:-1] + b",}", "trailing comma in object"),
    "not a number": (with_field(b'"temperature":NaN'), "invalid character"),
    "infinity": (with_field(b'"temperature":Infinity'), "invalid character"),
    "raw newline": (with_field(b'"user":"a\nb"'), "invalid character"),
    "byte order mark": (b"\xef\xbb\xbf" + WHOLE, "byte order mark"),
    "latin-1": (with_field(b'"a":"\xe9"'), "not UTF-8 (byte 25)"),
    "overlong slash": (with_field(b'"a":"\xc0\xaf"'), "not UTF-8 (byte 25)"),
    "raw surrogate": (with_field(b'"a":"\xed\xa0\x80"'), "not UTF-8 (byte 25)"),
    "utf-16": (WHOLE.decode().encode("utf-16"), "not UTF-8 (byte 0)"),
    "gzip that does not say so": (gzip.compress(WHOLE), "not UTF-8 (byte 1)"),
    "nested": (nested(129), "nested deeper than 128 levels"),
    "nested beyond any stack": (nested(1_000_000), "nested deeper than 128 levels"),
    "never closed": (b'{"a":' + b"[" * 1_000_000, "nested deeper than 128 levels"),
    "half a pair": (without_model(b'"model":"homemade\\ud800"'), "unexpected end of hex escape"),
    "too many lists": (with_field(b'"a":[%b[]]' % (b"[]," * 300_000)), "more than 250000 lists and objects"),
    "too many fields": (with_field(b",".join(b'"f%d":0' % number for number in range(300))), "more than 256 fields"),
}


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize("name", NOT_A_DOCUMENT)
async def test_what_is_no_json_object_is_a_400_that_says_where(client, name):
    body, reason = NOT_A_DOCUMENT[name]

    response = await client.post(CHAT, content=body, headers=JSON)

    error = Answer(response.status_code, dict(response.headers), response.content).error
    assert response.status_code == 400
    assert error["message"].startswith("Invalid JSON payload: ")
    assert reason in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "request_body")


async def test_a_body_nested_to_the_limit_passes(client):
    assert (await client.post(CHAT, content=nested(128), headers=JSON)).status_code == 200


WRONG_FIELDS = {
    "no model": (without_model(), "model"),
    "model null": (without_model(b'"model":null'), "model"),
    "model number": (without_model(b'"model":4'), "model"),
    "model list": (without_model(b'"model":["homemade"]'), "model"),
    "model object": (without_model(b'"model":{"a":"homemade"}'), "model"),
    "model empty": (without_model(b'"model":""'), "model"),
    "model long": (without_model(b'"model":"%b"' % (b"m" * 257)), "model"),
    "model zero": (without_model(b'"model":"homemade\\u0000"'), "model"),
    "model newline": (without_model(b'"model":"homemade\\r\\nx-extproc-upstream: provider"'), "model"),
    "no messages": (b'{"model":"homemade"}', "messages"),
    "messages null": (b'{"model":"homemade","messages":null}', "messages"),
    "messages empty": (b'{"model":"homemade","messages":[ ]}', "messages"),
    "messages object": (b'{"model":"homemade","messages":{"role":"user"}}', "messages"),
    "messages string": (b'{"model":"homemade","messages":"hi"}', "messages"),
    "stream string": (with_field(b'"stream":"true"'), "stream"),
    "stream number": (with_field(b'"stream":1'), "stream"),
    "stream options": (with_field(b'"stream":true,"stream_options":[]'), "stream_options"),
    "include usage": (with_field(b'"stream":true,"stream_options":{"include_usage":"no"}'), "stream_options"),
    "tokens string": (with_field(b'"max_tokens":"5"'), "max_tokens"),
    "tokens negative": (with_field(b'"max_tokens":-1'), "max_tokens"),
    "tokens fraction": (with_field(b'"max_tokens":1.5'), "max_tokens"),
    "tokens infinite": (with_field(b'"max_tokens":1e999'), "max_tokens"),
    "tokens huge": (with_field(b'"max_completion_tokens":99999999999999999999'), "max_completion_tokens"),
    "tokens boolean": (with_field(b'"max_tokens":true'), "max_tokens"),
    "choices": (with_field(b'"n":0'), "n"),
    "many choices": (with_field(b'"n":129'), "n"),
    "user": (with_field(b'"user":7'), "user"),
    "metadata": (with_field(b'"metadata":[]'), "metadata"),
    "large metadata": (with_field(b'"metadata":{"a":"%b"}' % (b"x" * 65_536)), "metadata"),
    "base": (with_field(b'"api_base":"http://127.0.0.1:1"'), "api_base"),
    "escaped base": (with_field(b'"\\u0061pi_base":"http://127.0.0.1:1"'), "api_base"),
    "key": (with_field(b'"api_key":"sk-mine"'), "api_key"),
    "headers": (with_field(b'"extra_headers":{"x-extproc-upstream":"provider"}'), "extra_headers"),
    "first of two": (with_field(b'"api_key":"a","api_key":null'), "api_key"),
}


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize("name", WRONG_FIELDS)
async def test_a_field_of_the_wrong_type_is_a_400_that_names_it(client, name):
    body, param = WRONG_FIELDS[name]

    response = await client.post(CHAT, content=body, headers=JSON)

    error = Answer(response.status_code, dict(response.headers), response.content).error
    assert response.status_code == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert param in error["message"]


@pytest.mark.usefixtures("nothing_passes")
@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"content-encoding": "gzip"}, "content-encoding"),
        ({"content-encoding": "GZIP"}, "content-encoding"),
        ({"content-encoding": "br"}, "content-encoding"),
        ({"content-encoding": "zstd"}, "content-encoding"),
        ({"content-encoding": "identity, deflate"}, "content-encoding"),
        ({"content-type": "text/plain"}, "content-type"),
        ({"content-type": "application/x-www-form-urlencoded"}, "content-type"),
        ({"content-type": "multipart/form-data; boundary=application/json"}, "content-type"),
        ({"content-type": "application/json, text/plain"}, "content-type"),
    ],
)
async def test_a_body_that_says_it_is_not_plain_json_is_a_415(client, headers, param):
    response = await client.post(CHAT, content=gzip.compress(WHOLE), headers=JSON | headers)

    error = Answer(response.status_code, dict(response.headers), response.content).error
    assert response.status_code == 415
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.usefixtures("nothing_passes")
async def test_a_compressed_bomb_is_refused_before_it_is_read(gateway, client):
    """Sixteen mebibytes of nothing weigh sixteen kilobytes."""
    bomb = zlib.compress(b"\0" * gateway.settings.max_request_bytes)

    response = await client.post(CHAT, content=bomb, headers=JSON | {"content-encoding": "deflate"})

    assert response.status_code == 415


DECIDED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "doubled": (b'"stream":true,"stream":false', {"stream": False}),
    "escaped": (b'"stream":true,"str\\u0065am":false', {"stream": False}),
    "doubled inside": (
        b'"stream":true,"stream_options":{"include_usage":true,"include_usage":false}',
        {"stream": True, "stream_options": {"include_usage": True}},
    ),
    "messages": (b'"messages":[{"role":"user","content":"other"}]', {"messages": [{"role": "user", "content": "hi"}]}),
}


@pytest.mark.parametrize("name", DECIDED)
async def test_of_a_doubled_key_only_the_last_is_decided_on_and_forwarded(upstream, client, name):
    fields, expected = DECIDED[name]
    model = upstream.plays(f"doubled-{name}", says(WORDS))
    body = b'{"model":"homemade","model":"%b",%b,%b}' % (model.encode(), fields, MESSAGES)

    response = await client.post(CHAT, content=body, headers=JSON)

    assert response.status_code == 200
    (asked,) = upstream.asked_for(f"doubled-{name}")
    pairs = json.loads(asked.body, object_pairs_hook=list)
    assert len(pairs) == len({key for key, _ in pairs})
    assert asked.document == asked.document | expected
    assert response.headers["content-type"].startswith("text/event-stream") is expected.get("stream", False)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"model": "homemade"}, "prompt"),
        ("/v1/embeddings", {"model": "embedder"}, "input"),
        ("/v1/embeddings", {"input": "hi"}, "model"),
        ("/engines/homemade/chat/completions", {"messages": []}, "messages"),
    ],
)
@pytest.mark.usefixtures("nothing_passes")
async def test_every_api_names_what_it_misses(client, path, body, param):
    response = await client.post(path, json=body)

    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_a_large_body_that_is_all_structure_does_not_hold_up_the_others(gateway, client):
    """Four mebibytes of fractions are valid, but reading them one by one would take five seconds."""
    body = b'{"model":"homemade","messages":[{"role":"user","content":"hi","a":[%b1]}]}' % (b"1.5e300," * 500_000)

    response = await client.post(CHAT, content=body, headers=JSON)

    assert response.status_code == 200
    line = json.loads(await gateway.logged(response.headers["x-litellm-call-id"]))
    # Three times what it takes where ten others want the two processors.
    assert line["added_us"] < 2_000_000
