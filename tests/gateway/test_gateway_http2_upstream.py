"""A provider that speaks HTTP/2 may end its answers with trailers, and then nobody tells that a body is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as http
from gateway.redacting import GUARDRAILS
from gateway.running_gateway import CHAT, HELLO, keyed_client, running_gateway
from gateway.scripted_upstream import ScriptedUpstream
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded

from extproc.envoyconfig import clusters

EMAIL, MASKED = "ann@company.com", "<EMAIL_ADDRESS_1>"
ANSWER = {
    "id": "c",
    "choices": [{"message": {"content": EMAIL}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


@pytest.mark.parametrize("guardrails", [[], ["masking"]], ids=["as it comes", "redacted"])
async def test_a_json_answer_before_trailers_is_whole_and_counted(nursery, monkeypatch, guardrails):
    monkeypatch.setattr(clusters, "_spoken", _http2)
    async with trailing() as upstream, running_gateway(nursery, upstream, guardrails=GUARDRAILS) as gateway:
        await gateway.start_server()
        async with keyed_client(gateway) as client:
            response = await client.post(
                CHAT, json={"model": "scripted/any", "messages": HELLO, "guardrails": guardrails}
            )

            (choice,) = response.json()["choices"]
            assert choice["message"]["content"] == (MASKED if guardrails else EMAIL)
            row = await gateway.only_row(response.headers["x-litellm-call-id"])
            assert (row["total_tokens"], row["metadata"]["cut"]) == (5, False)


def _http2(_: str) -> http.HttpProtocolOptions:
    explicit = http.HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=core.Http2ProtocolOptions())
    return http.HttpProtocolOptions(explicit_http_config=explicit)


@contextlib.asynccontextmanager
async def trailing() -> AsyncIterator[ScriptedUpstream]:
    """A provider that speaks HTTP/2 only, and always says the same."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65_536):
            for event in connection.receive_data(data):
                if isinstance(event, StreamEnded):
                    assert event.stream_id is not None
                    _answer(connection, event.stream_id)
            writer.write(connection.data_to_send())
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    upstream = ScriptedUpstream()
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()


def _answer(connection: H2Connection, stream: int) -> None:
    connection.send_headers(stream, [(":status", "200"), ("content-type", "application/json")])
    connection.send_data(stream, json.dumps(ANSWER).encode())
    connection.send_headers(stream, [("x-checksum", "abc")], end_stream=True)
