"""Redaction on real Envoy, with OpenAI's own client: what leaves, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from gateway.redacting import ARGUMENTS, CARD, EMAIL, MASKED, MASKED_CARD, OTHER, answers, call, pieces, sdk, streams
from gateway.running_gateway import CHAT, Gateway, bearer
from gateway.scripted_upstream import USAGE

#: Where a text may stand in a request: the body's further fields, and how to find the text in what the provider saw.
REQUESTS: dict[str, tuple[dict[str, Any], Any]] = {
    "content": ({"messages": [{"role": "user", "content": EMAIL}]}, lambda seen: seen["messages"][0]["content"]),
    "content parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": EMAIL}]}]},
        lambda seen: seen["messages"][0]["content"][0]["text"],
    ),
    "system": (
        {"messages": [{"role": "system", "content": EMAIL}, {"role": "user", "content": "x"}]},
        lambda seen: seen["messages"][0]["content"],
    ),
    "tool call arguments": (
        {"messages": [{"role": "assistant", "tool_calls": [call(ARGUMENTS)]}]},
        lambda seen: json.loads(seen["messages"][0]["tool_calls"][0]["function"]["arguments"])["to"],
    ),
    "escaped in tool call arguments": (
        {"messages": [{"role": "assistant", "tool_calls": [call(ARGUMENTS.replace("@", "\\u0040"))]}]},
        lambda seen: json.loads(seen["messages"][0]["tool_calls"][0]["function"]["arguments"])["to"],
    ),
    "tool result": (
        {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": EMAIL}]},
        lambda seen: seen["messages"][0]["content"],
    ),
    "tool description": (
        {
            "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function", "function": {"name": "f", "description": EMAIL}}],
        },
        lambda seen: seen["tools"][0]["function"]["description"],
    ),
    "tool parameters": (
        {
            "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"description": EMAIL}}}],
        },
        lambda seen: seen["tools"][0]["function"]["parameters"]["description"],
    ),
    "reasoning": (
        {"messages": [{"role": "assistant", "content": "x", "reasoning_content": EMAIL}]},
        lambda seen: seen["messages"][0]["reasoning_content"],
    ),
    "a field nobody knows": (
        {"messages": [{"role": "user", "content": "x"}], "novelty": {"deep": [EMAIL]}},
        lambda seen: seen["novelty"]["deep"][0],
    ),
}


@pytest.mark.parametrize("channel", REQUESTS)
async def test_no_text_of_a_request_leaves_unmasked(redacting, upstream, guarded, channel):
    body, found = REQUESTS[channel]
    seen: list[Any] = []
    model = upstream.plays(f"leaving-{channel}", answers({"content": "ok"}, seen=seen))

    async with httpx.AsyncClient(base_url=redacting.http, headers=bearer(guarded["masking"]), timeout=30) as client:
        response = await client.post(CHAT, json={"model": model, **body})

    assert response.status_code == 200, response.text
    assert found(seen[0]) == MASKED
    assert EMAIL not in json.dumps(seen[0])
    assert response.headers["x-extproc-redactions"] == "EMAIL_ADDRESS=1"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
async def test_prompts_and_inputs_are_masked_too(redacting, upstream, guarded, path):
    seen: list[Any] = []
    model = upstream.plays(f"prompt-{path}", answers({"content": "ok"}, seen=seen))
    field = "prompt" if path == "/v1/completions" else "input"

    async with httpx.AsyncClient(base_url=redacting.http, headers=bearer(guarded["masking"]), timeout=30) as client:
        for text in (EMAIL, [EMAIL]):
            await client.post(path, json={"model": model, field: text})
        tokens = await client.post(path, json={"model": model, field: [15339, 1917]})

    assert [each[field] for each in seen] == [MASKED, [MASKED]]
    assert tokens.status_code == 400
    assert tokens.json()["error"]["message"].endswith("it has content of a kind that cannot be searched.")


#: An answer's texts, as a message and as deltas; what the client puts together from either.
ANSWERED = f"Dear {MASKED}, <email_address_1> and {OTHER}; {MASKED_CARD}"
RESTORED = f"Dear {EMAIL}, {EMAIL} and {OTHER}; {MASKED_CARD}"
ANSWER_ARGUMENTS = json.dumps({"to": MASKED, "note": "<EMAIL_ADDRESS_1>!"})


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("channel", ["content", "refusal", "reasoning_content", "tool arguments"])
async def test_placeholders_in_answers_become_the_callers_own_values(redacting, upstream, guarded, channel, streamed):
    text = ANSWER_ARGUMENTS if channel == "tool arguments" else ANSWERED
    if channel == "tool arguments":
        message: dict[str, Any] = {"content": None, "tool_calls": [call(text)]}
        deltas: list[dict[str, Any]] = [{"tool_calls": [{"index": 0, **call("")}]}] + [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces(text)
        ]
    else:
        message = {"content": None, channel: text}
        deltas = [{channel: piece} for piece in pieces(text)]
    script = streams(*deltas) if streamed else answers(message)
    model = upstream.plays(f"restored-{channel}-{streamed}", script)

    found = await said(redacting, guarded["restoring"], model, channel, streamed=streamed)

    if channel == "tool arguments":
        assert json.loads(found) == {"to": EMAIL, "note": f"{EMAIL}!"}
    else:
        assert found == RESTORED


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("channel", ["content", "refusal", "reasoning_content", "tool arguments"])
async def test_values_in_answers_are_masked(redacting, upstream, guarded, channel, streamed):
    text = json.dumps({"to": OTHER}) if channel == "tool arguments" else f"write to {OTHER}, now"
    if channel == "tool arguments":
        message: dict[str, Any] = {"content": None, "tool_calls": [call(text)]}
        deltas: list[dict[str, Any]] = [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces(text)
        ]
    else:
        message = {"content": None, channel: text}
        deltas = [{channel: piece} for piece in pieces(text)]
    model = upstream.plays(f"masked-{channel}-{streamed}", streams(*deltas) if streamed else answers(message))

    found = await said(redacting, guarded["masking"], model, channel, streamed=streamed)

    assert OTHER not in found
    assert "<EMAIL_ADDRESS_2>" in found


async def said(gateway: Gateway, key: str, model: str, channel: str, *, streamed: bool) -> str:
    """What OpenAI's client hears on a channel, having sent the address itself."""
    messages: Any = [{"role": "user", "content": f"I am {EMAIL}"}]
    async with sdk(gateway, key) as client:
        if not streamed:
            whole: Any = (await client.chat.completions.create(model=model, messages=messages)).choices[0].message
            return whole.tool_calls[0].function.arguments if channel == "tool arguments" else getattr(whole, channel)
        heard = []
        stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
        async for chunk in stream:
            for choice in chunk.choices:
                if channel == "tool arguments":
                    heard += [one.function.arguments or "" for one in choice.delta.tool_calls or () if one.function]
                else:
                    heard.append(getattr(choice.delta, channel, None) or "")
        return "".join(heard)


async def test_a_redacted_stream_is_booked_as_any_other(redacting, upstream, guarded):
    model = upstream.plays("booked", streams(*({"content": piece} for piece in pieces(f"I am {OTHER} and more"))))

    await said(redacting, guarded["masking"], model, "content", streamed=True)
    row = next(row for row in await redacting.rows() if row["model_group"] == model)

    assert (row["prompt_tokens"], row["completion_tokens"]) == (USAGE["prompt_tokens"], USAGE["completion_tokens"])
    assert EMAIL not in redacting.log()


async def test_a_value_never_reaches_another_exchange(redacting, upstream, guarded):
    model = upstream.plays("another", answers({"content": f"{MASKED} {MASKED_CARD}"}))

    async with sdk(redacting, guarded["restoring"]) as client:
        for text, expected in (
            (EMAIL, f"{EMAIL} {MASKED_CARD}"),
            ("nothing", f"{MASKED} {MASKED_CARD}"),
            (CARD, f"{MASKED} {CARD}"),
        ):
            answer = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])
            assert answer.choices[0].message.content == expected
