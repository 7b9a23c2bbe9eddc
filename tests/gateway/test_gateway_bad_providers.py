"""What providers, networks and clients do to a response, and the one row that is left of it each time."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest
from gateway.running_gateway import CHAT, HELLO
from gateway.scripted_upstream import (
    DONE,
    USAGE,
    WORDS,
    Answering,
    Asked,
    Gate,
    chat_document,
    chat_events,
    document,
    never_answers,
    new_id,
    pieces,
    resets_after,
    resets_before_headers,
    says,
)
from gateway.wire import http2, pseudo


def asking(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, **fields}


def outcome(row: dict[str, Any]) -> tuple[str, bool, bool]:
    return row["status"], row["metadata"]["estimated"], row["metadata"]["cut"]


async def test_a_client_that_hangs_up_leaves_one_row_of_what_it_saw(gateway, upstream, client):
    script = Gate()
    model = upstream.plays("hung-up", script)

    async with client.stream("POST", CHAT, json=asking(model, stream=True)) as response:
        async for line in response.aiter_lines():
            if WORDS[0] in line:
                break

    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert outcome(row) == ("success", True, True)
    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] > 0
    assert row["spend_nanos"] > 0
    script.open.set()


async def test_a_client_that_resets_its_stream_over_http2_leaves_one_row_and_other_streams_alone(
    gateway, upstream, key
):
    script, other = Gate(), Gate()
    given_up, kept = upstream.plays("reset-by-client", script), upstream.plays("kept-by-client", other)
    head = [*pseudo(CHAT), ("authorization", f"Bearer {key}"), ("content-type", "application/json")]

    async with http2(gateway) as connection:
        found = await connection.hang_up(head, json.dumps(asking(given_up, stream=True)).encode(), WORDS[0].encode())
        other.open.set()
        whole = await connection.ask(head, [json.dumps(asking(kept, stream=True)).encode()])

    row = await gateway.only_row(found.headers["x-litellm-call-id"])
    assert outcome(row) == ("success", True, True)
    assert row["completion_tokens"] > 0
    assert whole.body.endswith(DONE)
    assert outcome(await gateway.only_row(whole.headers["x-litellm-call-id"])) == ("success", False, False)
    script.open.set()


async def test_a_client_that_gives_up_before_the_first_byte_leaves_one_row_of_its_prompt(gateway, upstream, client):
    model = upstream.plays("silent", never_answers)

    given_up = asyncio.create_task(client.post(CHAT, json=asking(model, user="gave-up")))
    async with asyncio.timeout(30):
        while not upstream.asked_for("silent"):
            await asyncio.sleep(0.01)
    given_up.cancel()
    await asyncio.wait([given_up])

    (row,) = [row for row in await gateway.rows() if row["model_group"] == model]
    assert outcome(row)[1:] == (True, True)
    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] == 0
    assert row["end_user"] == "gave-up"


async def test_a_provider_that_resets_in_the_middle_leaves_one_row_and_a_broken_stream(gateway, upstream, client):
    events, _ = chat_events("reset", WORDS, response_id=new_id())
    begun, heard = b"".join(events[:4]), asyncio.Event()
    model = upstream.plays("reset", resets_after(events[:4], heard))

    received = b""
    with pytest.raises(httpx.RemoteProtocolError):
        async with client.stream("POST", CHAT, json=asking(model, stream=True)) as response:
            async for data in response.aiter_raw():
                received += data
                if received == begun:
                    heard.set()

    assert received == begun
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert outcome(row) == ("success", True, True)
    assert row["completion_tokens"] > 0


async def test_a_provider_that_resets_before_it_answers_is_a_503_and_one_failed_row(gateway, upstream, client):
    model = upstream.plays("reset-early", resets_before_headers)

    response = await client.post(CHAT, json=asking(model))

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "503"
    row = await gateway.only_row(response.headers["x-request-id"])
    assert (row["status"], row["metadata"]["http_status"], row["spend_nanos"]) == ("failure", 503, 0)
    assert len(upstream.asked_for("reset-early")) == 1, "a request that may have been served must not be sent again"


@pytest.mark.parametrize("status", [400, 404, 429, 500, 529])
async def test_a_providers_error_is_passed_on_and_costs_nothing(gateway, upstream, client, status):
    told = {"error": {"message": "The provider's own words.", "type": "their_type", "param": None, "code": None}}
    model = upstream.plays(f"error-{status}", document(told, status, ("retry-after", "7")))

    response = await client.post(CHAT, json=asking(model))

    assert (response.status_code, response.json()) == (status, told)
    assert response.headers["retry-after"] == "7"
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert (row["status"], row["metadata"]["http_status"]) == ("failure", status)
    assert (row["spend_nanos"], row["total_tokens"]) == (0, 0)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_provider_that_refuses_our_credential_is_not_the_clients_401(gateway, upstream, client, status):
    told = {"error": {"message": "Incorrect API key provided: sk-provi****6789."}}
    model = upstream.plays(f"refused-{status}", document(told, status))

    response = await client.post(CHAT, json=asking(model))

    assert response.status_code == 502
    assert response.json()["error"]["type"] == "provider_authentication_error"
    assert "sk-provi" not in response.text
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert (row["status"], row["spend_nanos"]) == ("failure", 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_missing_usage_is_estimated_and_says_so(gateway, upstream, client, stream):
    model = upstream.plays("uncounted", says(WORDS, usage=None))

    response = await client.post(CHAT, json=asking(model, stream=stream))

    assert response.status_code == 200
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert outcome(row) == ("success", True, False)
    assert 8 <= row["completion_tokens"] <= 16
    assert row["spend_nanos"] > 0


async def test_a_compressed_body_that_nobody_asked_for_passes_untouched_and_is_estimated(gateway, upstream, client):
    told = chat_document("gzipped", WORDS, response_id=new_id())
    packed = gzip.compress(json.dumps(told).encode())

    async def script(_: Asked, answering: Answering) -> None:
        await answering.head(200, ("content-length", str(len(packed))), ("content-encoding", "gzip"))
        await answering.raw(packed)

    response = await client.post(CHAT, json=asking(upstream.plays("gzipped", script)))

    assert response.json() == told
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert outcome(row) == ("success", True, False)


async def test_a_response_with_trailers_is_complete_and_counted(gateway, upstream, client):
    events, counted = chat_events("trailing", WORDS, response_id=new_id())

    async def script(_: Asked, answering: Answering) -> None:
        await answering.stream_head(("trailer", "x-checksum"))
        for each in (*events, counted or b"", DONE):
            await answering.chunk(each)
        await answering.end(("x-checksum", "abc"))

    response = await client.post(CHAT, json=asking(upstream.plays("trailing", script), stream=True))

    assert response.content == b"".join(events) + DONE
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert (outcome(row), row["total_tokens"]) == (("success", False, False), 26)


async def test_a_json_response_with_trailers_is_complete_and_counted(gateway, upstream, client):
    told = chat_document("trailing-json", WORDS, response_id=new_id())

    async def script(_: Asked, answering: Answering) -> None:
        await answering.head(200, ("transfer-encoding", "chunked"), ("trailer", "x-checksum"))
        await answering.chunk(json.dumps(told).encode())
        await answering.end(("x-checksum", "abc"))

    response = await client.post(CHAT, json=asking(upstream.plays("trailing-json", script)))

    assert response.json() == told
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert (outcome(row), row["total_tokens"]) == (("success", False, False), 26)


async def test_a_response_too_large_to_be_kept_passes_whole_and_is_estimated(gateway, upstream, client):
    words = ["word " * 1000] * (gateway.settings.max_response_bytes // 4000)
    model = upstream.plays("huge", says(words))

    response = await client.post(CHAT, json=asking(model))

    assert response.json()["choices"][0]["message"]["content"] == "".join(words)
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert outcome(row) == ("success", True, False)
    assert row["completion_tokens"] > 100_000


async def test_repeated_response_ids_of_a_provider_lose_no_row(gateway, upstream, client):
    model = upstream.plays("repeated", says(WORDS, response_id="chatcmpl-the-same"))

    for _ in range(3):
        await client.post(CHAT, json=asking(model))

    rows = await gateway.rows("chatcmpl-the-same")
    assert len({row["event_id"] for row in rows}) == 3
    assert {row["total_tokens"] for row in rows} == {26}


async def test_a_stream_may_be_cut_anywhere(gateway, upstream, client):
    """Every byte in a packet of its own: inside events, field names, JSON strings and UTF-8 characters."""
    events, counted = chat_events("dust", ("Grüße", " 🦀"), response_id=new_id())
    whole = b"".join(events) + (counted or b"") + DONE
    model = upstream.plays("dust", pieces((whole[i : i + 1] for i in range(len(whole))), pause=0.0005))

    response = await client.post(CHAT, json=asking(model, stream=True))

    assert response.content == b"".join(events) + DONE
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert (row["total_tokens"], outcome(row)) == (26, ("success", False, False))


@pytest.mark.parametrize("size", [7, 61, 333])
async def test_the_end_of_a_stream_may_share_a_packet_with_anything(gateway, upstream, client, size):
    events, counted = chat_events(f"cut-{size}", WORDS, response_id=new_id())
    whole = (b"".join(events) + (counted or b"") + DONE).replace(b"\n\n", b"\r\n\r\n")
    model = upstream.plays(f"cut-{size}", pieces(whole[i : i + size] for i in range(0, len(whole), size)))

    response = await client.post(CHAT, json=asking(model, stream=True))

    assert response.content == (b"".join(events) + DONE).replace(b"\n\n", b"\r\n\r\n")
    assert (await gateway.only_row(response.headers["x-litellm-call-id"]))["total_tokens"] == 26


async def test_a_stream_that_forgets_its_last_blank_line_is_passed_on_whole(gateway, upstream, client):
    events, counted = chat_events("unfinished", WORDS, response_id=new_id())
    model = upstream.plays("unfinished", pieces([*events, counted or b"", DONE.rstrip(b"\n")]))

    response = await client.post(CHAT, json=asking(model, stream=True))

    assert response.content == b"".join(events) + DONE.rstrip(b"\n")
    assert (await gateway.only_row(response.headers["x-litellm-call-id"]))["total_tokens"] == 26


async def test_every_message_of_envoys_gets_exactly_one_reply(gateway, upstream, client):
    """Also the empty chunk that ends a stream, and a stream whose events are all held back."""
    names = ("stream_msgs_sent", "stream_msgs_received", "spurious_msgs_received", "message_timeouts", "streams_failed")
    # Of what others have asked nothing is on its way any more.
    await gateway.settled()
    before = await processor_counters(gateway, names)

    await client.post(CHAT, json=asking(upstream.plays("counted", says(WORDS)), stream=True))
    await client.post(CHAT, json=asking(upstream.plays("counted-json", says(WORDS))))
    await client.post(
        CHAT, json=asking(upstream.plays("counted-dust", pieces(bytes([byte]) for byte in DONE)), stream=True)
    )
    await gateway.settled()

    after = await processor_counters(gateway, names)
    sent, received, *trouble = (after[name] - before[name] for name in names)
    assert sent == received > 3 * 4
    assert trouble == [0, 0, 0]


async def processor_counters(gateway, names: tuple[str, ...]) -> dict[str, int]:
    lines = (await gateway.envoy.admin("/stats?filter=ext_proc")).splitlines()
    return {
        name: sum(int(line.rpartition(": ")[2]) for line in lines if line.partition(":")[0].endswith(f".{name}"))
        for name in names
    }


async def test_a_client_that_closes_its_sending_side_leaves_exactly_one_row(gateway, upstream, key):
    """Envoy takes the half-close of an HTTP/1.1 connection for a hang-up, though the provider has more to say."""
    script = Gate()
    model = upstream.plays("half-closed", script)
    body = json.dumps(asking(model, stream=True)).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )

    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.layout.http_port)
    writer.write(head.encode() + body)
    await reader.readuntil(WORDS[0].encode())
    writer.write_eof()
    rest = await asyncio.wait_for(reader.read(), 30)
    writer.close()

    (row,) = [row for row in await gateway.rows() if row["model_group"] == model]
    script.open.set()
    assert DONE not in rest
    assert outcome(row) == ("success", True, True)


async def test_a_hundred_streams_at_a_time_are_each_whole_and_booked_once(gateway, upstream):
    key = await gateway.new_key()
    model = upstream.plays("crowd", says(WORDS, pause=0.01))

    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=gateway.http, timeout=60, limits=limits) as client:
        headers = {"authorization": f"Bearer {key}"}
        responses = await asyncio.gather(
            *(client.post(CHAT, json=asking(model, stream=True), headers=headers) for _ in range(100))
        )

    assert all(response.content.endswith(DONE) for response in responses)
    rows = await gateway.rows(api_key=key)
    assert len(rows) == len({row["request_id"] for row in rows}) == 100
    assert {row["total_tokens"] for row in rows} == {26}


async def test_a_json_response_with_a_length_arrives_whole_whatever_its_size(gateway, upstream, client):
    words = ["x" * 1000] * 2000
    model = upstream.plays("large", says(words))

    response = await client.post(CHAT, json=asking(model))

    assert response.json()["choices"][0]["message"]["content"] == "".join(words)
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert (row["total_tokens"], outcome(row)) == (USAGE["total_tokens"], ("success", False, False))


async def test_an_error_in_the_shape_of_a_stream_is_passed_on(gateway, upstream, client):
    """Some providers answer 200, begin a stream, and end it with an error event and no `[DONE]`."""
    error = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
    events, _ = chat_events("error-event", WORDS, response_id=new_id())
    model = upstream.plays("error-event", pieces([*events[:3], error]))

    response = await client.post(CHAT, json=asking(model, stream=True))

    assert response.content == b"".join(events[:3]) + error
    row = await gateway.only_row(response.headers["x-litellm-call-id"])
    assert outcome(row) == ("success", True, False)
