"""The simulated provider, asked by OpenAI's own SDK over its Unix socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from extproc import simulator

ROOT = Path(__file__).parents[1]
HELLO = [{"role": "user", "content": "Hello, who are you?"}]


def client_at(socket: Path) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    return httpx.AsyncClient(transport=transport, base_url="http://simulated-provider", timeout=30)


@pytest.fixture(scope="session")
async def socket(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The command as `extproc up` runs it, without its pauses."""
    path = tmp_path_factory.mktemp("provider") / "provider.sock"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "extproc", "simulate-provider", "--socket", str(path), "--until-stdin-ends"),
        stdin=asyncio.subprocess.PIPE,
        env=os.environ | {"EXTPROC_SIMULATED_FIRST_TOKEN_MS": "0", "EXTPROC_SIMULATED_TOKEN_MS": "0"},
        cwd=ROOT,
    )
    async with asyncio.timeout(30):
        while not await answers(path):
            await asyncio.sleep(0.05)
    yield path
    assert process.stdin
    process.stdin.close()
    async with asyncio.timeout(30):
        await process.wait()
    assert process.returncode in {0, -signal.SIGTERM}
    assert not path.exists()


async def answers(path: Path) -> bool:
    try:
        async with client_at(path) as client:
            return (await client.get("/v1/models")).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
async def sdk(socket: Path) -> AsyncIterator[AsyncOpenAI]:
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with httpx2.AsyncClient(transport=transport, timeout=30) as http:
        yield AsyncOpenAI(api_key="unused", base_url="http://simulated-provider/v1", http_client=http, max_retries=0)


async def test_a_chat_completion_says_that_it_is_simulated(sdk):
    completion = await sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO)

    assert completion.id.startswith("chatcmpl-")
    assert completion.model == "gpt-4o-mini"
    assert completion.system_fingerprint == "simulated-provider"
    assert "simulated" in completion.choices[0].message.content
    assert "Hello, who are you?" in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"


async def test_usage_adds_up_and_has_openais_details(sdk):
    completion = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO)
    usage, text = completion.usage, completion.choices[0].message.content

    # Four words and two marks, three for the message, three before the answer.
    assert usage.prompt_tokens == len(simulator.tokenize(HELLO[0]["content"])) + 6
    assert usage.completion_tokens == len(simulator.tokenize(text))
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert usage.completion_tokens_details.reasoning_tokens == 0


async def test_a_stream_has_the_same_text_and_usage_as_the_plain_answer(sdk):
    plain = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO)
    stream = await sdk.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    assert plain.choices[0].message.content == text
    assert plain.usage == chunks[-1].usage
    assert chunks[-1].choices == []
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


async def test_usage_is_null_on_other_chunks_only_where_it_was_asked_for(socket):
    async with client_at(socket) as client:
        body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
        without = (await client.post("/v1/chat/completions", json=body)).text
        asked = (
            await client.post("/v1/chat/completions", json=body | {"stream_options": {"include_usage": True}})
        ).text

    assert '"usage"' not in without
    assert asked.count('"usage":null') == asked.count("data: ") - 2
    assert without.endswith("data: [DONE]\n\n")
    assert asked.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_length_is_limited(sdk, field):
    completion = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO, **{field: 5})

    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 5


TOOL = {
    "type": "function",
    "function": {
        "name": "send",
        "parameters": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
    },
}
NAMED = {"type": "function", "function": {"name": "send"}}


@pytest.mark.parametrize(("choice", "ended"), [("required", "tool_calls"), (NAMED, "stop")])
async def test_a_tool_that_must_be_called_is_called_with_what_the_user_wrote(sdk, choice, ended):
    asked = {"model": "gpt-4o", "messages": HELLO, "tools": [TOOL], "tool_choice": choice}
    whole = (await sdk.chat.completions.create(**asked)).choices[0]
    stream = await sdk.chat.completions.create(**asked, stream=True)
    chunks = [chunk.choices[0] async for chunk in stream]
    deltas = [chunk.delta.tool_calls[0] for chunk in chunks if chunk.delta.tool_calls]

    (call,) = whole.message.tool_calls
    assert (call.type, call.function.name, whole.message.content) == ("function", "send", None)
    assert json.loads(call.function.arguments) == {"to": "Hello, who are you?"}
    assert (whole.finish_reason, chunks[-1].finish_reason) == (ended, ended)
    assert (deltas[0].index, deltas[0].type, deltas[0].function.name) == (0, "function", "send")
    assert "".join(delta.function.arguments for delta in deltas) == call.function.arguments


@pytest.mark.parametrize("choice", ["auto", "none", {"type": "function", "function": {"name": "other"}}])
async def test_a_tool_that_need_not_be_called_is_not(sdk, choice):
    answer = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[TOOL], tool_choice=choice)

    assert answer.choices[0].message.tool_calls is None
    assert "simulated" in answer.choices[0].message.content


async def test_several_choices_stream_side_by_side(sdk):
    stream = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO, n=2, stream=True, max_tokens=8)
    chunks = [chunk async for chunk in stream]

    assert [chunk.choices[0].index for chunk in chunks] == [0, 1] * 10
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == ["length", "length"]


async def test_completions_answer_each_prompt(sdk):
    completion = await sdk.completions.create(model="gpt-3.5-turbo-instruct", prompt=["One", "Two"], n=2)

    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    # OpenAI's default for this API is 16 tokens.
    assert completion.usage.completion_tokens == 64
    assert completion.usage.prompt_tokens == 2
    assert completion.id.startswith("cmpl-")


async def test_completions_stream_the_same_text(sdk):
    plain = await sdk.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello", max_tokens=100)
    stream = await sdk.completions.create(
        model="gpt-3.5-turbo-instruct",
        prompt="Hello",
        max_tokens=100,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert plain.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert plain.usage == chunks[-1].usage


async def test_embeddings_are_unit_vectors_that_depend_on_the_input(sdk):
    first = await sdk.embeddings.create(model="text-embedding-3-small", input=["a cat", "a dog"])
    again = await sdk.embeddings.create(
        model="text-embedding-3-small", input="a cat", encoding_format="float", dimensions=1536
    )

    assert len(first.data[0].embedding) == 1536
    assert sum(component**2 for component in first.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert first.data[0].embedding == pytest.approx(again.data[0].embedding)
    assert first.data[0].embedding != first.data[1].embedding
    assert first.usage.prompt_tokens == 4
    assert first.usage.total_tokens == 4


async def test_token_ids_are_counted_as_they_are(sdk):
    answer = await sdk.embeddings.create(model="text-embedding-3-small", input=[[1, 2, 3], [4]], dimensions=8)

    assert [len(row.embedding) for row in answer.data] == [8, 8]
    assert answer.usage.prompt_tokens == 4


async def test_models_are_listed(sdk):
    names = [model.id async for model in sdk.models.list()]

    assert names == ["gpt-4o-mini", "gpt-4o", "gpt-3.5-turbo-instruct", "text-embedding-3-small", "claude-sonnet-5-5"]


async def test_an_unknown_model_is_a_404_as_openais(sdk):
    with pytest.raises(openai.NotFoundError) as refused:
        await sdk.chat.completions.create(model="gpt-9", messages=HELLO)

    assert refused.value.code == "model_not_found"
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", b"{", None),
        ("chat/completions", b'{"messages":[]}', "model"),
        ("chat/completions", b'{"model":"gpt-4o","messages":[]}', "messages"),
        ("chat/completions", b'{"model":"gpt-4o","messages":[{"role":"cat"}]}', "messages.0.role"),
        ("chat/completions", b'{"model":"gpt-4o","messages":[{"role":"user"}],"n":0}', "n"),
        (
            "chat/completions",
            b'{"model":"gpt-4o","messages":[{"role":"user"}],"stream_options":{"include_usage":true}}',
            "stream_options",
        ),
        ("completions", b'{"model":"gpt-3.5-turbo-instruct","max_tokens":0}', "max_tokens"),
        ("embeddings", b'{"model":"text-embedding-3-small","input":""}', "input"),
        ("embeddings", b'{"model":"text-embedding-3-small","input":"a","dimensions":2000}', "dimensions"),
    ],
)
async def test_a_bad_request_is_refused_in_openais_shape(socket, path, body, param):
    async with client_at(socket) as client:
        answer = await client.post(f"/v1/{path}", content=body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert set(error) == {"message", "type", "param", "code"}


async def test_an_unknown_path_is_refused_in_openais_shape(socket):
    async with client_at(socket) as client:
        answer = await client.get("/v1/nowhere")

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Invalid URL (GET /v1/nowhere)"


async def test_answers_carry_the_headers_of_openai_and_say_who_they_are(socket):
    async with client_at(socket) as client:
        answer = await client.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO})

    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["openai-processing-ms"].isdigit()
    assert answer.headers["server"] == "simulated-provider"


async def test_parts_of_a_message_count_by_their_text(sdk):
    parts = [{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    completion = await sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": parts}])

    assert completion.usage.prompt_tokens == len(simulator.tokenize("one two ")) + 6


@given(st.text())
def test_the_tokens_of_a_text_are_the_text(text):
    assert "".join(simulator.tokenize(text)) == text


def test_the_pauses_are_those_of_a_real_provider_unless_told_otherwise():
    assert simulator.Pace() == simulator.Pace(first_token=0.15, each_token=0.025)
