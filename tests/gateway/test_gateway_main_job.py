"""The main job on real Envoy: a key, a stream, a price."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import ROUND_CEILING, Decimal
from typing import Any

import genai_prices
import httpx2
import openai
import pytest
from gateway.running_gateway import CHAT, HELLO, Gateway
from gateway.scripted_upstream import USAGE, WORDS, document, says
from gateway.server_processes import PROVIDER_KEY
from genai_prices.types import Usage as CataloguedUsage

#: Detailed counts, so that a price that ignores one of them is wrong.
DETAILED = {
    "prompt_tokens": 3001,
    "completion_tokens": 1709,
    "total_tokens": 4710,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
INPUT_NANOS, OUTPUT_NANOS = Decimal("1234.56789"), Decimal("9876.5")


def own_price(usage: dict[str, Any]) -> int:
    """What the models priced in the gateway's own settings cost, in nanos, rounded up once."""
    exact = usage["prompt_tokens"] * INPUT_NANOS + usage.get("completion_tokens", 0) * OUTPUT_NANOS
    return int(exact.to_integral_value(ROUND_CEILING))


def counts(row: dict[str, Any]) -> tuple[int, int, int]:
    return row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]


@asynccontextmanager
async def sdk(
    gateway: Gateway, key: str, *, http2: bool = False, tls: bool = True
) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, pointed at the gateway; over TLS it trusts nothing but the gateway's authority."""
    trusted = ssl.create_default_context(cafile=gateway.authority)
    http_client = httpx2.AsyncClient(verify=trusted, http1=not http2, http2=http2)
    base_url = f"{gateway.https if tls else gateway.http}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key=key, http_client=http_client, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(("tls", "http2"), [(True, False), (True, True), (False, False)])
async def test_a_stream_through_openais_sdk_is_booked_to_the_token_and_the_nano(gateway, upstream, key, tls, http2):
    model = upstream.plays(f"exact-{tls}-{http2}", says(WORDS, usage=DETAILED))

    async with sdk(gateway, key, tls=tls, http2=http2) as client:
        stream = await client.chat.completions.create(
            model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    assert stream.response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "".join(WORDS)
    assert chunks[-1].usage is not None
    row = await gateway.only_row(chunks[0].id)
    assert counts(row) == (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens, 4710)
    assert row["spend_nanos"] == own_price(DETAILED)
    assert (row["status"], row["metadata"]["estimated"], row["metadata"]["cut"]) == ("success", False, False)
    assert row["metadata"]["usage_object"]["prompt_tokens_details"]["cached_tokens"] == 1024


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_of_the_catalogue_costs_what_the_catalogue_says(gateway, upstream, key, stream):
    answered = "gpt-4o-mini-2024-07-18"
    upstream.plays("gpt-4o-mini", says(WORDS, usage=DETAILED, model=answered))

    async with sdk(gateway, key) as client:
        found: Any = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=stream)
        response_id = [chunk.id async for chunk in found].pop() if stream else found.id

    usage = CataloguedUsage(input_tokens=3001, cache_read_tokens=1024, output_tokens=1709)
    price = genai_prices.calc_price(usage, answered, provider_id="openai").total_price
    row = await gateway.only_row(response_id)
    assert row["spend_nanos"] == int((price * 10**9).to_integral_value(ROUND_CEILING))
    assert (row["model"], row["model_group"], row["custom_llm_provider"]) == (answered, "gpt-4o-mini", "openai")


async def test_a_plain_answer_comes_whole_and_is_booked(gateway, upstream, key):
    async with sdk(gateway, key) as client:
        answer = await client.chat.completions.create(model="homemade", messages=HELLO)

    assert answer.choices[0].message.content == "".join(WORDS)
    assert answer.usage is not None
    row = await gateway.only_row(answer.id)
    assert counts(row) == (19, 7, 26)
    assert row["spend_nanos"] == own_price(USAGE)
    assert row["metadata"]["user_api_key_alias"] == "everything"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_legacy_completions_api_is_served_and_booked(gateway, upstream, key, stream):
    async with sdk(gateway, key) as client:
        found: Any = await client.completions.create(model="homemade", prompt="Say hello.", stream=stream)
        response_id = [chunk.id async for chunk in found].pop() if stream else found.id

    row = await gateway.only_row(response_id)
    assert upstream.asked[-1].target == "/v1/completions"
    assert (row["call_type"], counts(row), row["spend_nanos"]) == ("atext_completion", (19, 7, 26), own_price(USAGE))


async def test_embeddings_are_served_and_booked_by_their_input(gateway, upstream, key):
    usage = {"prompt_tokens": 11, "total_tokens": 11}
    vectors = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
        "usage": usage,
    }
    upstream.plays("text-embedding-3-small", document(vectors))

    async with sdk(gateway, key) as client:
        answer = await client.embeddings.with_raw_response.create(
            model="embedder", input=["hello"], encoding_format="float"
        )

    assert answer.parse().data[0].embedding == [0.5, -0.25]
    assert upstream.asked[-1].target == "/v1/embeddings"
    row = await gateway.only_row(answer.headers["x-litellm-call-id"])
    price = genai_prices.calc_price(CataloguedUsage(input_tokens=11), "text-embedding-3-small", provider_id="openai")
    assert (row["call_type"], counts(row)) == ("aembedding", (11, 0, 11))
    assert row["spend_nanos"] == int((price.total_price * 10**9).to_integral_value(ROUND_CEILING))


async def test_a_model_without_a_price_is_booked_without_a_spend_and_never_as_free(gateway, upstream, client):
    response = await client.post(CHAT, json={"model": "unpriced", "messages": HELLO})

    row = await gateway.only_row(response.json()["id"])
    assert (row["spend"], row["spend_nanos"], row["metadata"]["priced"]) == (None, None, False)
    assert counts(row) == (19, 7, 26)


async def test_the_spend_of_a_key_is_the_sum_of_its_rows(gateway, upstream):
    key = await gateway.new_key()
    async with sdk(gateway, key, tls=False) as client:
        for _ in range(3):
            await client.chat.completions.create(model="homemade", messages=HELLO)

    rows = await gateway.rows(api_key=key)
    info = (await gateway.admin.get("/key/info", params={"key": key})).json()["info"]

    assert [row["spend_nanos"] for row in rows] == [own_price(USAGE)] * 3
    assert round(info["spend"] * 10**9) == 3 * own_price(USAGE)


async def test_the_clients_credential_never_reaches_the_provider_and_the_providers_key_does(upstream, client, key):
    await client.post(CHAT, json={"model": upstream.plays("credential", says(WORDS)), "messages": HELLO})

    (asked,) = upstream.asked_for("credential")
    assert asked.values("authorization") == [f"Bearer {PROVIDER_KEY}"]
    assert key not in str(asked.headers)
    assert key.encode() not in asked.body


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "x-litellm-api-key", "x-goog-api-key"])
async def test_a_key_may_come_in_any_header_that_sdks_use_and_in_none_of_them_goes_on(upstream, anonymous, key, header):
    model = upstream.plays(f"by-{header}", says(WORDS))

    response = await anonymous.post(CHAT, json={"model": model, "messages": HELLO}, headers={header: key})

    assert response.status_code == 200
    (asked,) = upstream.asked_for(f"by-{header}")
    assert key not in str(asked.headers)
    assert asked.values("authorization") == [f"Bearer {PROVIDER_KEY}"]


async def test_headers_of_ours_and_compression_do_not_reach_the_provider(upstream, client):
    forged = {
        "x-extproc-upstream": "elsewhere",
        "x-extproc-anything": "1",
        "x-litellm-tags": "a,b",
        "x-litellm-timeout": "5",
        "cookie": "a=b",
        "openai-organization": "org-client",
        "accept-encoding": "gzip, br",
    }
    model = upstream.plays("stripped", says(WORDS))

    response = await client.post(CHAT, json={"model": model, "messages": HELLO}, headers=forged)

    assert response.status_code == 200
    (asked,) = upstream.asked_for("stripped")
    names = {name for name, _ in asked.headers}
    assert not [name for name in names if name.startswith(("x-extproc-", "x-litellm-"))]
    assert not names & {"cookie", "openai-organization"}
    assert asked.values("accept-encoding") == ["identity"]


async def test_what_was_decided_on_is_what_is_forwarded(upstream, client):
    """Duplicate keys and escaped key names cannot show the provider another model than was checked."""
    model = upstream.plays("decided", says(WORDS))
    body = f'{{"model":"gpt-4o-mini","mod\\u0065l":"{model}","messages":[{{"role":"user","content":"hi"}}]}}'

    response = await client.post(CHAT, content=body, headers={"content-type": "application/json"})

    assert response.status_code == 200
    (asked,) = upstream.asked_for("decided")
    assert asked.body == b'{"model":"decided","messages":[{"role":"user","content":"hi"}]}'
    assert asked.values("content-length") == [str(len(asked.body))]


@pytest.mark.parametrize("wanted", [False, True])
async def test_the_usage_chunk_is_shown_to_a_client_that_asked_and_hidden_from_one_that_did_not(
    gateway, upstream, client, wanted
):
    name = f"usage-{wanted}"
    body: dict[str, Any] = {"model": upstream.plays(name, says(WORDS)), "messages": HELLO, "stream": True}
    if wanted:
        body["stream_options"] = {"include_usage": True}

    response = await client.post(CHAT, json=body)

    assert ('"usage"' in response.text) is wanted
    assert response.text.endswith("data: [DONE]\n\n")
    (asked,) = upstream.asked_for(name)
    assert asked.document["stream_options"] == {"include_usage": True}
    assert counts(await gateway.only_row(response.headers["x-litellm-call-id"])) == (19, 7, 26)


async def test_the_list_of_models_is_the_keys_own(gateway, anonymous):
    key = await gateway.new_key(models=["gpt-4o-mini", "scripted/one"])

    async with sdk(gateway, key) as client:
        listed = [model.id async for model in client.models.list()]

    assert sorted(listed) == ["gpt-4o-mini", "scripted/one"]


async def test_a_model_outside_the_keys_list_is_denied_and_nothing_reaches_the_provider(gateway, upstream):
    key = await gateway.new_key(models=["gpt-4o-mini"])
    before = len(upstream.asked)

    async with sdk(gateway, key) as client:
        with pytest.raises(openai.PermissionDeniedError) as denied:
            await client.chat.completions.create(model="homemade", messages=HELLO)

    assert denied.value.type == "key_model_access_denied"
    assert denied.value.param == "model"
    assert len(upstream.asked) == before


async def test_a_wildcard_serves_what_it_matches_and_a_keys_wildcard_allows_it(gateway, upstream):
    key = await gateway.new_key(models=["scripted/wild-*"])
    wild, tame = upstream.plays("wild-one", says(WORDS)), upstream.plays("tame", says(WORDS))

    async with sdk(gateway, key) as client:
        answer = await client.chat.completions.create(model=wild, messages=HELLO)
        with pytest.raises(openai.PermissionDeniedError):
            await client.chat.completions.create(model=tame, messages=HELLO)

    assert answer.model == "wild-one"
    assert upstream.asked_for("tame") == []


async def test_a_model_that_nobody_serves_is_a_400(client, upstream):
    before = len(upstream.asked)

    response = await client.post(CHAT, json={"model": "nobody", "messages": HELLO})

    assert response.status_code == 400
    assert "Invalid model name passed in model=nobody" in response.json()["error"]["message"]
    assert len(upstream.asked) == before


@pytest.mark.parametrize("second", [("authorization", "Bearer sk-other"), ("x-api-key", "sk-other-0123456789")])
async def test_two_credentials_are_refused_even_if_each_is_one(upstream, anonymous, key, second):
    """Envoy joins a repeated `authorization` with a comma, which no key survives."""
    before = len(upstream.asked)

    response = await anonymous.post(
        CHAT, json={"model": "homemade", "messages": HELLO}, headers=[("authorization", f"Bearer {key}"), second]
    )

    assert response.status_code == 401
    assert response.json()["error"]["type"] == "auth_error"
    assert len(upstream.asked) == before


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        (
            {"authorization": "Bearer sk-unknown-0123456789abcdef"},
            ("Authentication Error, Invalid API key provided.", "token_not_found_in_db", "key"),
        ),
        ({}, ("Authentication Error, No api key passed in.", "auth_error", None)),
    ],
)
async def test_an_unknown_caller_is_told_what_litellm_tells(anonymous, upstream, headers, error):
    before = len(upstream.asked)
    message, kind, param = error

    response = await anonymous.post(CHAT, json={"model": "homemade", "messages": HELLO}, headers=headers)

    assert response.status_code == 401
    assert response.json() == {"error": {"message": message, "type": kind, "param": param, "code": "401"}}
    assert len(upstream.asked) == before


@pytest.mark.parametrize("path", ["/key/block", "/key/delete"])
async def test_a_key_that_is_taken_away_is_refused_from_the_next_request_on(gateway, upstream, path):
    key = await gateway.new_key()
    async with sdk(gateway, key) as client:
        await client.chat.completions.create(model="homemade", messages=HELLO)
        await gateway.admin.post(path, json={"keys": [key]} if path == "/key/delete" else {"key": key})

        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="homemade", messages=HELLO)


async def test_a_response_says_what_served_it_in_litellms_headers(gateway, upstream):
    key = await gateway.new_key(rpm_limit=1000, max_budget=12.5)
    async with sdk(gateway, key) as client:
        answer = await client.chat.completions.with_raw_response.create(model="homemade", messages=HELLO)

    headers = answer.headers
    assert headers["x-litellm-model-id"] == "id-of-homemade"
    assert headers["x-litellm-model-group"] == "homemade"
    assert headers["x-litellm-model-api-base"] == f"http://127.0.0.1:{upstream.port}/v1"
    assert headers["x-litellm-key-rpm-limit"] == "1000"
    assert headers["x-litellm-key-max-budget"] == "12.5"
    assert (await gateway.only_row(headers["x-litellm-call-id"]))["request_id"] == answer.parse().id


async def test_facts_of_the_operators_account_at_the_provider_are_renamed_or_withheld(upstream, client):
    told = (("x-ratelimit-remaining-requests", "41"), ("openai-organization", "org-operator"), ("set-cookie", "a=b"))
    model = upstream.plays("account", document({"id": "x", "choices": []}, 200, *told))

    response = await client.post(CHAT, json={"model": model, "messages": HELLO})

    assert response.headers["llm_provider-x-ratelimit-remaining-requests"] == "41"
    assert not {"x-ratelimit-remaining-requests", "openai-organization", "set-cookie"} & set(response.headers)
