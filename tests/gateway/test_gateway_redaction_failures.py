"""Redaction on real Envoy: what is blocked, and what cannot be searched and therefore does not pass."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from gateway.redacting import CARD, EMAIL, MASKED, OTHER, answers, pieces, sdk, streams
from gateway.running_gateway import CHAT, bearer
from gateway.scripted_upstream import USAGE, Answering, Asked, ScriptedUpstream


async def test_a_blocked_entity_in_a_request_is_refused_before_the_provider_hears_of_it(redacting, upstream, guarded):
    seen: list[Any] = []
    model = upstream.plays("refused", answers({"content": "ok"}, seen=seen))

    async with sdk(redacting, guarded["blocking"]) as client:
        with pytest.raises(openai.BadRequestError, match="Blocked entity detected: CREDIT_CARD by Guardrail: blocking"):
            await client.chat.completions.create(model=model, messages=[{"role": "user", "content": CARD}])

    assert seen == []


async def test_a_blocked_entity_in_an_answer_is_a_refusal(redacting, upstream, guarded):
    model = upstream.plays("blocked-answer", answers({"content": f"take {CARD}"}))

    async with sdk(redacting, guarded["blocking-answers"]) as client:
        with pytest.raises(openai.BadRequestError, match="Blocked entity detected: CREDIT_CARD"):
            await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])
    row = next(row for row in await redacting.rows() if row["model_group"] == model)

    assert row["completion_tokens"] == USAGE["completion_tokens"]


async def test_a_blocked_entity_in_a_stream_ends_it_with_the_providers_error(redacting, upstream, guarded):
    model = upstream.plays(
        "blocked-stream", streams(*({"content": piece} for piece in pieces(f"take {CARD} and go on")))
    )
    heard = ""

    async with sdk(redacting, guarded["blocking-answers"]) as client:
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(openai.APIError, match="Blocked entity detected: CREDIT_CARD"):
            async for chunk in stream:
                heard += chunk.choices[0].delta.content or ""

    assert heard == "take "


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("short", {"messages": [{"role": "user", "content": "a" * 1001}]}, "redaction_text_too_long"),
        ("masking", {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "redaction_unknown_shape"),
        (
            "masking",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
            "blocked_entity",
        ),
        ("masking", {"messages": [{"role": "user", "content": "x"}], "guardrails": ["nobody"]}, "unknown_guardrail"),
        ("masking", {"messages": [{"role": "user", "content": "x"}], "guardrails": "masking"}, "malformed_body"),
    ],
)
async def test_a_request_that_cannot_be_searched_is_refused(redacting, upstream, guarded, name, body, reason):
    seen: list[Any] = []
    model = upstream.plays("unsearched", answers({"content": "ok"}, seen=seen))

    async with httpx.AsyncClient(base_url=redacting.http, headers=bearer(guarded[name]), timeout=30) as client:
        response = await client.post(CHAT, json={"model": model, **body})

    assert response.status_code == 400
    assert await redacting.logged(f'"reason":"{reason}"')
    assert seen == []


async def raw_answer(asked: Asked, answering: Answering) -> None:
    """An answer that is no JSON, whatever its type says."""
    await answering.head(200, ("content-length", "9"))
    await answering.raw(b"{ broken!")


async def strange_type(asked: Asked, answering: Answering) -> None:
    await answering.head(200, ("content-length", "15"), kind="text/plain")
    await answering.raw(EMAIL.encode())


async def compressed(asked: Asked, answering: Answering) -> None:
    await answering.head(200, ("content-length", "4"), ("content-encoding", "gzip"))
    await answering.raw(b"\x1f\x8b\x08\x00")


@pytest.mark.parametrize("script", [raw_answer, strange_type, compressed])
async def test_an_answer_that_cannot_be_searched_does_not_pass(redacting, upstream, guarded, script):
    model = upstream.plays(f"unreadable-{script.__name__}", script)

    async with httpx.AsyncClient(base_url=redacting.http, headers=bearer(guarded["masking"]), timeout=30) as client:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        response = await client.post(CHAT, json=body)

    assert response.status_code == 502
    assert response.json()["error"]["type"] == "provider_answer_refused"


async def test_a_stream_that_cannot_be_searched_ends_with_an_error(redacting, upstream, guarded):
    async def script(asked: Asked, answering: Answering) -> None:
        await answering.stream_head()
        await answering.chunk(b'data: {"choices": [{"index": 0, "delta": {"content": "well, "}}]}\n\ndata: {broken\n\n')
        await answering.end()

    model = upstream.plays("broken-stream", script)
    async with sdk(redacting, guarded["masking"]) as client:
        messages: Any = [{"role": "user", "content": "x"}]
        stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
        with pytest.raises(openai.APIError, match="cannot be checked by the guardrail"):
            async for _ in stream:
                pass


async def test_a_policy_that_lets_failures_pass_says_so_in_header_log_and_metric(redacting, upstream, guarded):
    seen: list[Any] = []
    model = upstream.plays("lenient", answers({"content": "ok"}, seen=seen))
    body = {"model": model, "messages": [{"role": "user", "content": [{"type": "hologram", "of": "ann"}]}]}

    async with httpx.AsyncClient(base_url=redacting.http, headers=bearer(guarded["lenient"]), timeout=30) as client:
        response = await client.post(CHAT, json=body)

    assert response.status_code == 200
    assert response.headers["x-extproc-redaction-failed"] == "unknown_shape"
    assert seen[0]["messages"] == body["messages"]
    assert await redacting.logged('"unsearched":"unknown_shape"')
    assert await redacting.gauge('extproc_unsearched_total{reason="unknown_shape"}') >= 1


async def test_an_error_of_the_providers_is_searched_and_restored_too(redacting, upstream, guarded):
    async def script(asked: Asked, answering: Answering) -> None:
        said = {"error": {"message": f"{asked.document['messages'][0]['content']} or {OTHER}?", "type": "x"}}
        encoded = json.dumps(said).encode()
        await answering.head(400, ("content-length", str(len(encoded))))
        await answering.raw(encoded)

    model = upstream.plays("an-error", script)
    body = {"model": model, "messages": [{"role": "user", "content": EMAIL}]}
    told = {}
    for name in ("restoring", "masking"):
        async with httpx.AsyncClient(base_url=redacting.http, headers=bearer(guarded[name]), timeout=30) as client:
            response = await client.post(CHAT, json=body)
        assert response.status_code == 400
        told[name] = response.json()["error"]["message"]

    assert told == {"restoring": f"{EMAIL} or {OTHER}?", "masking": f"{MASKED} or <EMAIL_ADDRESS_2>?"}


async def test_a_dry_run_changes_nothing_and_counts(redacting, upstream, guarded):
    seen: list[Any] = []
    model = upstream.plays("trying", answers({"content": f"dear {EMAIL}"}, seen=seen))

    async with sdk(redacting, guarded["trying"]) as client:
        messages: Any = [{"role": "user", "content": EMAIL}]
        answer = await client.chat.completions.create(model=model, messages=messages)

    assert answer.choices[0].message.content == f"dear {EMAIL}"
    assert seen[0]["messages"] == messages
    await redacting.settled()
    sample = 'extproc_redactions_total{action="mask",direction="request",entity="EMAIL_ADDRESS"}'
    assert await redacting.gauge(sample) >= 1


async def test_a_large_answer_is_held_and_passes_whole(redacting, upstream, guarded):
    text = "word " * 500_000 + EMAIL
    model = upstream.plays("large", answers({"content": text}))

    async with sdk(redacting, guarded["masking"]) as client:
        answer = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])

    assert answer.choices[0].message.content == text.removesuffix(EMAIL) + MASKED


async def test_a_large_request_is_masked_whole(redacting, upstream: ScriptedUpstream, guarded):
    seen: list[Any] = []
    model = upstream.plays("large-request", answers({"content": "ok"}, seen=seen))
    text = "word " * 400_000 + EMAIL

    async with sdk(redacting, guarded["masking"]) as client:
        await client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])

    assert seen[0]["messages"][0]["content"] == text.removesuffix(EMAIL) + MASKED
