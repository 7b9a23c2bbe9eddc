"""The simulated provider's messages, asked by Anthropic's own SDK."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import pytest

from extproc import simulator

MODEL: Any = "claude-sonnet-5-5"
HELLO: Any = [{"role": "user", "content": "Hello, who are you?"}]
TOOL: Any = {
    "name": "send",
    "input_schema": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
}


@pytest.fixture
def sdk() -> anthropic.AsyncAnthropic:
    app = simulator.create_app(simulator.Pace(0, 0))
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))
    return anthropic.AsyncAnthropic(api_key="unused", base_url="http://provider", http_client=http, max_retries=0)


async def test_a_message_says_that_it_is_simulated_and_its_usage_adds_up(sdk):
    message = await sdk.messages.create(model=MODEL, max_tokens=1000, messages=HELLO, system="Be kind.")
    text = message.content[0].text

    assert message.id.startswith("msg_")
    assert "simulated" in text
    assert "Hello, who are you?" in text
    assert (message.role, message.stop_reason) == ("assistant", "end_turn")
    assert message.usage.output_tokens == len(simulator.tokenize(text))
    given = len(simulator.tokenize("Be kind.")) + len(simulator.tokenize(HELLO[0]["content"]))
    assert message.usage.input_tokens == given + 6


async def test_a_stream_has_the_text_and_usage_of_the_plain_answer(sdk):
    plain = await sdk.messages.create(model=MODEL, max_tokens=1000, messages=HELLO)
    async with sdk.messages.stream(model=MODEL, max_tokens=1000, messages=HELLO) as stream:
        streamed = await stream.get_final_message()

    assert streamed.content[0].text == plain.content[0].text
    assert streamed.usage.output_tokens == plain.usage.output_tokens
    assert streamed.usage.input_tokens == plain.usage.input_tokens


async def test_an_answer_is_no_longer_than_allowed(sdk):
    message = await sdk.messages.create(model=MODEL, max_tokens=3, messages=HELLO)

    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 3)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "send"}])
async def test_a_tool_that_must_be_called_is_called(sdk, choice):
    asked: Any = {"model": MODEL, "max_tokens": 100, "messages": HELLO, "tools": [TOOL], "tool_choice": choice}
    plain = await sdk.messages.create(**asked)
    async with sdk.messages.stream(**asked) as stream:
        streamed = await stream.get_final_message()

    for message in (plain, streamed):
        (block,) = message.content
        assert (block.type, block.name, block.input) == ("tool_use", "send", {"to": HELLO[0]["content"]})
        assert message.stop_reason == "tool_use"


async def test_a_tool_that_may_be_called_is_not(sdk):
    message = await sdk.messages.create(model=MODEL, max_tokens=100, messages=HELLO, tools=[TOOL])

    assert message.content[0].type == "text"


async def test_what_is_refused_is_refused_in_anthropics_shape(sdk):
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await sdk.messages.create(model="claude-0", max_tokens=3, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens") as missing:
        await sdk.messages.create(model=MODEL, max_tokens=3, messages=HELLO, extra_body={"max_tokens": None})

    assert (unknown.value.type, missing.value.type) == ("not_found_error", "invalid_request_error")
