"""Paths, methods, versions and upgrades written otherwise: nobody gets past the checks by them, and nothing hangs.

What is served is always one request, asked once, checked and booked; every refusal is in words that clients can read.
"""

from __future__ import annotations

import pytest
from gateway.crafted import BODY, FORGED, TYPE, http2_statuses, is_booked, reads_well, request
from gateway.running_gateway import CHAT
from gateway.wire import http2, pseudo, spoken

#: Other ways to write the path of an API, and what comes of them: 200 where it means that path to everybody.
PATHS = {
    "//v1/chat/completions": 200,
    "/v1//chat///completions": 200,
    "/v1\\chat\\completions": 200,
    "/v1/chat/%63ompletions": 200,
    "/v1/models/../chat/completions": 200,
    "/key/%2e%2e/v1/chat/completions": 200,
    "/..//v1/chat/completions": 200,
    "/v1/chat/completions?": 200,
    "/v1/chat/completions?api-version=1": 200,
    "http://elsewhere/v1/chat/completions": 200,
    "/v1/chat%2Fcompletions": 400,
    "/v1/chat%5ccompletions": 400,
    "/key/..%2fv1/chat/completions": 400,
    "/engines/a%2Fb/chat/completions": 400,
    "/v1/chat/completions%00": 400,
    "/v1/chat/completions#x": 400,
    "/v1/chat/completions\x80": 400,
    "/v1/chat/completions?key=sk-a": 400,
    "/v1/chat/completions?api-version=1&key=sk-a": 400,
    "v1/chat/completions": 400,
    "*": 400,
    "https://elsewhere/v1/chat/completions": 403,
    "/V1/chat/completions": 404,
    "/v1/chat/completions/": 404,
    "/v1/chat/completions/.": 404,
    "/v1/chat/completions/..;/": 404,
    "/v1/chat/completions;x=1": 404,
    "/v1/chat/completions%20": 404,
    "/v1/chat/completions%3Fkey=a": 404,
    "/v1/chat%252Fcompletions": 404,
    "/v1/chat/completions%ff": 404,
}


@pytest.mark.parametrize("path", PATHS)
async def test_a_path_written_otherwise_is_checked_or_refused(gateway, upstream, key, path):
    before = len(upstream.asked)

    without_key = await spoken(gateway, request(FORGED, line=f"POST {path} HTTP/1.1"))
    asked_without_key = len(upstream.asked) - before
    found = await spoken(gateway, request(FORGED, line=f"POST {path} HTTP/1.1", key=key))

    expected = PATHS[path]
    assert (without_key.status, asked_without_key) == (401 if expected == 200 else expected, 0)
    assert found.status == expected
    if expected == 200:
        assert len(upstream.asked) == before + 1
        assert upstream.asked[-1].target == "/v1/chat/completions"
        assert await is_booked(gateway, found)
    else:
        assert len(upstream.asked) == before
        assert reads_well(found)


HTTP2_PATHS = {path: status for path, status in PATHS.items() if path[0] == "/" and path.isascii()}


@pytest.mark.parametrize("path", HTTP2_PATHS)
async def test_a_path_written_otherwise_is_checked_or_refused_over_http2_too(gateway, upstream, key, path):
    before = len(upstream.asked)

    async with http2(gateway) as connection:
        without_key = await connection.ask([*pseudo(path), TYPE, ("x-extproc-upstream", "provider")], [BODY])
        asked_without_key = len(upstream.asked) - before
        found = await connection.ask([*pseudo(path), TYPE, ("authorization", f"Bearer {key}")], [BODY])

    expected = HTTP2_PATHS[path]
    assert (without_key.status, asked_without_key) == (401 if expected == 200 else expected, 0)
    assert (found.status, len(upstream.asked) - before) == (expected, int(expected == 200))


async def test_what_is_no_path_is_refused_over_http2(gateway, upstream, key):
    before = len(upstream.asked)
    paths = ("v1/chat/completions", "*", "http://a/v1/chat/completions", "/v1/chat completions", "")

    statuses = await http2_statuses(gateway, *([*pseudo(path), ("authorization", f"Bearer {key}")] for path in paths))

    assert statuses <= {0, 400, 404}
    assert len(upstream.asked) == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_another_method_is_a_405_even_with_a_key(gateway, upstream, key, version, method):
    before = len(upstream.asked)

    if version == "HTTP/2":
        headers = [*pseudo(CHAT, method=method), ("authorization", f"Bearer {key}"), ("x-extproc-upstream", "provider")]
        async with http2(gateway) as connection:
            found = await connection.ask(headers)
    else:
        found = await spoken(gateway, request(FORGED, line=f"{method} {CHAT} HTTP/1.1", key=key, body=b""))

    assert (found.status, found.headers["allow"]) == (405, "POST")
    assert len(upstream.asked) == before


@pytest.mark.parametrize("method", ["post", "Post", "PRI", "FOO", "CONNECT", "POST POST", ""])
async def test_what_is_no_method_is_a_400(gateway, upstream, key, method):
    before = len(upstream.asked)

    found = await spoken(gateway, request(FORGED, line=f"{method} {CHAT} HTTP/1.1", key=key))

    assert found.status == 400
    assert reads_well(found)
    assert len(upstream.asked) == before


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", ""])
async def test_another_version_of_http_is_a_426(gateway, upstream, key, version):
    before = len(upstream.asked)

    found = await spoken(gateway, request(line=f"POST {CHAT} {version}".rstrip(), key=key))

    assert found.status == 426
    assert reads_well(found)
    assert len(upstream.asked) == before


async def test_a_tunnel_is_dug_to_nobody(gateway, upstream, key):
    before = len(upstream.asked)
    provider = f"127.0.0.1:{upstream.port}"

    plain = await spoken(gateway, request(FORGED, line=f"CONNECT {provider} HTTP/1.1", key=key, body=b""))
    async with http2(gateway) as connection:
        second = await connection.ask(
            [(":method", "CONNECT"), (":authority", provider), ("authorization", f"Bearer {key}")]
        )

    assert (plain.status, second.status) == (404, 404)
    assert len(upstream.asked) == before


@pytest.mark.parametrize("line", [f"GET {CHAT} HTTP/1.1", f"POST {CHAT} HTTP/1.1"])
@pytest.mark.parametrize("protocol", ["websocket", "WebSocket", "connect-udp", "anything"])
async def test_an_upgrade_is_refused_even_with_a_key(gateway, upstream, key, line, protocol):
    before = len(upstream.asked)

    found = await spoken(
        gateway,
        request(
            *("connection: upgrade", f"upgrade: {protocol}", "sec-websocket-version: 13", "sec-websocket-key: eA=="),
            key=key,
            line=line,
        ),
    )

    assert found.status == (404 if protocol == "connect-udp" else 403)
    assert found.error["type"] == "invalid_request_error"
    assert len(upstream.asked) == before


async def test_a_websocket_over_http2_is_refused(gateway, upstream, key):
    before = len(upstream.asked)
    headers = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", CHAT)]

    async with http2(gateway) as connection:
        found = await connection.ask([*headers, (":authority", "a"), ("authorization", f"Bearer {key}")])

    assert found.status in {0, 403, 404}
    assert len(upstream.asked) == before
