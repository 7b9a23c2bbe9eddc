"""Anthropic's Messages API on real Envoy, with Anthropic's own client: served, booked, refused, redacted."""

from __future__ import annotations

import asyncio
import json
from decimal import ROUND_CEILING, Decimal
from typing import Any

import anthropic
import genai_prices
import httpx2
import pytest
from gateway.redacting import EMAIL, MASKED, OTHER
from gateway.running_gateway import CHAT, HELLO, bearer
from gateway.scripted_upstream import WORDS
from gateway.server_processes import PROVIDER_KEY
from gateway.speaking_anthropic import MESSAGES, USAGE, Endless, anthropic_client, says, text
from genai_prices.types import Usage as CataloguedUsage

ASKED: Any = {"max_tokens": 100, "messages": HELLO}
SAID = "".join(WORDS)
WITHIN_SECONDS = 20
INPUT_NANOS, OUTPUT_NANOS = Decimal("1234.56789"), Decimal("9876.5")


def plays(upstream, name: str, script) -> str:
    upstream.plays(name, script)
    return f"claude/{name}"


def price(input_tokens: int, output_tokens: int) -> int:
    return int((input_tokens * INPUT_NANOS + output_tokens * OUTPUT_NANOS).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_message_is_served_and_booked_to_the_token_and_the_nano(gateway, upstream, key, streamed):
    model = plays(upstream, f"message-{streamed}", says(text(SAID)))

    async with anthropic_client(gateway, key) as sdk:
        if streamed:
            async with sdk.messages.stream(model=model, **ASKED) as stream:
                answer: Any = await stream.get_final_message()
        else:
            answer = await sdk.messages.create(model=model, **ASKED)

    assert answer.content[0].text == SAID
    assert answer.usage.output_tokens == USAGE["output_tokens"]
    row = await gateway.only_row(answer.id)
    assert (row["prompt_tokens"], row["completion_tokens"], row["spend_nanos"]) == (23, 9, price(23, 9))
    assert (row["call_type"], row["custom_llm_provider"]) == ("anthropic_messages", "anthropic")
    assert (row["status"], row["metadata"]["estimated"], row["metadata"]["cut"]) == ("success", False, False)
    assert upstream.asked[-1].target == MESSAGES


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_claude_model_costs_what_the_catalogue_says_its_cache_included(gateway, upstream, key, streamed):
    model: Any = "claude-sonnet-5-5"
    plays(upstream, model, says(text(SAID)))

    async with anthropic_client(gateway, key) as sdk:
        if streamed:
            async with sdk.messages.stream(model=model, **ASKED) as stream:
                answer = await stream.get_final_message()
        else:
            answer = await sdk.messages.create(model=model, **ASKED)

    usage = CataloguedUsage(input_tokens=23, cache_write_tokens=5, cache_read_tokens=7, output_tokens=9)
    exact = genai_prices.calc_price(usage, model, provider_id="anthropic").total_price
    row = await gateway.only_row(answer.id)
    assert row["spend_nanos"] == int((exact * 10**9).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_tools_call_comes_as_it_was_made(gateway, upstream, key, streamed):
    call = {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {"to": "you", "lines": ["a", "b"]}}
    model = plays(upstream, f"tool-{streamed}", says(text("I will."), call))
    tool: Any = {"name": "send", "input_schema": {"type": "object"}}

    async with anthropic_client(gateway, key) as sdk:
        if streamed:
            async with sdk.messages.stream(model=model, tools=[tool], **ASKED) as stream:
                answer: Any = await stream.get_final_message()
        else:
            answer = await sdk.messages.create(model=model, tools=[tool], **ASKED)

    assert (answer.content[1].name, answer.content[1].input) == ("send", call["input"])
    assert upstream.asked[-1].document["tools"] == [tool]


async def test_the_provider_gets_its_own_key_and_version_and_the_clients_beta(gateway, upstream, key):
    model = plays(upstream, "headers", says(text(SAID)))
    body = {"model": model, **ASKED}

    async with anthropic_client(gateway, key) as sdk:
        own = {"anthropic-version": "2024-01-01", "anthropic-workspace-id": "another"}
        await sdk.beta.messages.create(model=model, betas=["files-api-2025-04-14"], extra_headers=own, **ASKED)
    async with httpx2.AsyncClient(base_url=gateway.http, headers=bearer(key), timeout=30) as plain:
        answer = await plain.post("/anthropic/v1/messages", json=body)

    by_sdk, by_hand = upstream.asked_for("headers")
    for asked in (by_sdk, by_hand):
        assert (asked.target, asked.values("x-api-key")) == (MESSAGES, [PROVIDER_KEY])
        assert key not in str(asked.headers)
        assert not asked.values("authorization")
    assert (by_sdk.values("anthropic-version"), by_hand.values("anthropic-version")) == (["2024-01-01"], ["2023-06-01"])
    assert not by_sdk.values("anthropic-workspace-id")
    assert by_sdk.values("anthropic-beta") == ["files-api-2025-04-14"]
    assert "anthropic-organization-id" not in answer.headers
    assert answer.headers["llm_provider-anthropic-ratelimit-requests-remaining"] == "41"


async def test_a_client_that_hangs_up_pays_for_its_input_and_what_was_seen(gateway, upstream, key):
    endless = Endless()
    model = plays(upstream, "hung-up", endless)

    async with anthropic_client(gateway, key) as sdk:
        stream = await sdk.messages.create(model=model, stream=True, **ASKED)
        heard = 0
        async for each in stream:
            heard += each.type == "content_block_delta"
            if heard == 20:
                await stream.close()
                break

    await asyncio.wait_for(endless.cut_off.wait(), WITHIN_SECONDS)
    row = next(row for row in await gateway.rows() if row["model_group"] == model)
    assert row["prompt_tokens"] == 23
    assert row["completion_tokens"] >= 20
    assert row["spend_nanos"] == price(23, row["completion_tokens"])
    assert (row["metadata"]["estimated"], row["metadata"]["cut"]) == (True, True)


async def test_a_stream_whose_budget_is_gone_is_told_so_and_its_provider_is_cut_off(gateway, upstream):
    key = await gateway.new_key(max_budget=0.004)
    endless = Endless()
    model = plays(upstream, "budget", endless)
    heard = []

    async with anthropic_client(gateway, key) as sdk:
        with pytest.raises(anthropic.APIStatusError, match="Budget has been exceeded") as told:
            async for each in await sdk.messages.create(model=model, stream=True, max_tokens=10, messages=HELLO):
                heard.append(each)  # noqa: PERF401 - those that come before the error count

    assert (told.value.type, told.value.body["error"]["type"]) == ("billing_error", "billing_error")  # type: ignore[index]
    await asyncio.wait_for(endless.cut_off.wait(), WITHIN_SECONDS)
    row = next(row for row in await gateway.rows() if row["model_group"] == model)
    assert len(heard) > 10
    assert 0.6 * 4_000_000 <= row["spend_nanos"] <= 4_000_000
    assert row["spend_nanos"] == price(23, row["completion_tokens"])


async def refused(gateway, key: str, **body: Any) -> anthropic.APIStatusError:
    """What Anthropic's client raises."""
    async with anthropic_client(gateway, key) as sdk:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await sdk.messages.create(**(ASKED | {"model": "claude/refused"} | body))
    return caught.value


async def test_a_refusal_is_one_that_anthropics_clients_know(gateway, upstream, key):
    plays(upstream, "refused", says(text(SAID)))
    before = len(upstream.asked)

    unknown = await refused(gateway, "sk-unknown-0123456789abcdef")
    forbidden = await refused(gateway, await gateway.new_key(models=["gpt-4o-mini"]))
    nobody = await refused(gateway, key, model="nobody")
    wrong = await refused(gateway, key, messages=[])
    mute = await refused(gateway, key, model="homemade")
    spent = await gateway.new_key(rpm_limit=1)
    async with anthropic_client(gateway, spent) as sdk:
        await sdk.messages.create(model="claude/refused", **ASKED)
    limited = await refused(gateway, spent)

    assert [(type(each), each.type) for each in (unknown, forbidden, nobody, wrong, mute, limited)] == [
        (anthropic.AuthenticationError, "authentication_error"),
        (anthropic.PermissionDeniedError, "permission_error"),
        (anthropic.BadRequestError, "invalid_request_error"),
        (anthropic.BadRequestError, "invalid_request_error"),
        (anthropic.BadRequestError, "invalid_request_error"),
        (anthropic.RateLimitError, "rate_limit_error"),
    ]
    assert "does not speak the API of this path" in mute.message
    assert len(upstream.asked) == before + 1


async def test_a_claude_model_on_openais_path_is_refused_in_openais_shape(client, upstream):
    model = plays(upstream, "translated", says(text(SAID)))

    response = await client.post(CHAT, json={"model": model, "messages": HELLO})

    assert response.status_code == 400
    assert response.json()["error"]["message"].endswith(
        "does not speak the API of this path, and nothing is translated."
    )
    assert upstream.asked_for("translated") == []


#: Where a text may stand in a request: the body's further fields, and how to find the text in what the provider saw.
CALLED: Any = {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {"to": EMAIL}}
REQUESTS: dict[str, tuple[dict[str, Any], Any]] = {
    "content": ({"messages": [{"role": "user", "content": EMAIL}]}, lambda seen: seen["messages"][0]["content"]),
    "system": ({"system": EMAIL, "messages": HELLO}, lambda seen: seen["system"]),
    "system blocks": ({"system": [text(EMAIL)], "messages": HELLO}, lambda seen: seen["system"][0]["text"]),
    "thinking": (
        {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": EMAIL, "signature": "s"}]}]},
        lambda seen: seen["messages"][0]["content"][0]["thinking"],
    ),
    "tool input": (
        {"messages": [{"role": "assistant", "content": [CALLED]}]},
        lambda seen: seen["messages"][0]["content"][0]["input"]["to"],
    ),
    "tool result": (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": EMAIL}]}]},
        lambda seen: seen["messages"][0]["content"][0]["content"],
    ),
    "tool schema": (
        {"messages": HELLO, "tools": [{"name": "f", "input_schema": {"description": EMAIL}}]},
        lambda seen: seen["tools"][0]["input_schema"]["description"],
    ),
    "user id": ({"messages": HELLO, "metadata": {"user_id": EMAIL}}, lambda seen: seen["metadata"]["user_id"]),
}


@pytest.mark.parametrize("channel", REQUESTS)
async def test_no_text_of_a_request_leaves_unmasked(redacting, upstream, guarded, channel):
    body, found = REQUESTS[channel]
    seen: list[Any] = []
    model = plays(upstream, f"message-leaving-{channel}", says(text("ok"), seen=seen))

    async with anthropic_client(redacting, guarded["masking"]) as sdk:
        await sdk.messages.create(model=model, max_tokens=10, **body)

    assert found(seen[0]) == MASKED
    assert EMAIL not in json.dumps(seen[0])


#: Blocks of an answer by what its text is, given that text; and where a client finds it.
ANSWERS: dict[str, tuple[Any, Any]] = {
    "text": (text, lambda block: block.text),
    "thinking": (
        lambda said: {"type": "thinking", "thinking": said, "signature": "sig"},
        lambda block: block.thinking,
    ),
    "tool input": (
        lambda said: {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {"to": said}},
        lambda block: block.input["to"],
    ),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("channel", ANSWERS)
@pytest.mark.parametrize(
    ("guardrail", "said", "heard"),
    [
        ("restoring", f"Dear {MASKED} and {OTHER}!", f"Dear {EMAIL} and {OTHER}!"),
        ("masking", f"write to {OTHER}", "write to <EMAIL_ADDRESS_2>"),
    ],
)
async def test_answers_are_masked_and_placeholders_put_back(
    redacting, upstream, guarded, channel, guardrail, said, heard, streamed
):
    block, found = ANSWERS[channel]
    model = plays(upstream, f"answered-{channel}-{guardrail}-{streamed}", says(block(said), text("and that is all")))
    asked: Any = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": f"I am {EMAIL}"}]}

    async with anthropic_client(redacting, guarded[guardrail]) as sdk:
        if streamed:
            async with sdk.messages.stream(**asked) as stream:
                answer: Any = await stream.get_final_message()
        else:
            answer = await sdk.messages.create(**asked)

    assert found(answer.content[0]) == heard
    assert answer.content[1].text == "and that is all"
    assert answer.usage.output_tokens == USAGE["output_tokens"]
    assert (await redacting.only_row(answer.id))["spend_nanos"] == price(23, 9)


async def test_a_blocked_answer_ends_its_stream_with_anthropics_error(redacting, upstream, guarded):
    model = plays(upstream, "blocked-answer", says(text("pay with 4111 1111 1111 1111 now")))

    async with anthropic_client(redacting, guarded["blocking-answers"]) as sdk:
        with pytest.raises(anthropic.APIStatusError, match="CREDIT_CARD") as told:
            async with sdk.messages.stream(model=model, **ASKED) as stream:
                await stream.get_final_message()

    assert told.value.type == "invalid_request_error"
