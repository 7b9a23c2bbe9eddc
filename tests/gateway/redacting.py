"""What the tests of redaction on real Envoy share: guardrails, a client, and a provider that says what it is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import openai
from gateway.running_gateway import Gateway
from gateway.scripted_upstream import USAGE, Answering, Asked

from extproc.guardrails import Configured
from extproc.redaction import Action, OnFailure, Policy

EMAIL, CARD, OTHER = "ann@company.com", "4111 1111 1111 1111", "bob@elsewhere.org"
MASKED, MASKED_CARD = "<EMAIL_ADDRESS_1>", "<CREDIT_CARD_1>"
ALL = {"EMAIL_ADDRESS": Action.MASK, "CREDIT_CARD": Action.MASK}
GUARDRAILS = (
    Configured("restoring", Policy(request=ALL), Action.BLOCK),
    Configured("masking", Policy(request=ALL, response=ALL, restore=False), Action.BLOCK),
    Configured("blocking", Policy(request={"CREDIT_CARD": Action.BLOCK}), Action.BLOCK),
    Configured("blocking-answers", Policy(response={"CREDIT_CARD": Action.BLOCK}), Action.BLOCK),
    Configured("trying", Policy(request=ALL, response=ALL, dry_run=True), Action.BLOCK),
    Configured("lenient", Policy(request=ALL, response=ALL, on_failure=OnFailure.ALLOW, restore=False), Action.ALLOW),
    Configured("short", Policy(request=ALL, longest_text=1_000), Action.BLOCK),
)


def sdk(gateway: Gateway, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{gateway.http}/v1", api_key=key, http_client=httpx2.AsyncClient(timeout=30), max_retries=0
    )


def answers(message: dict[str, Any], *, seen: list[Any] | None = None, **more: Any):
    """A script that answers with a message whose texts may be made of what was asked."""

    async def script(asked: Asked, answering: Answering) -> None:
        if seen is not None:
            seen.append(asked.document)
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", **more}
        body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        encoded = json.dumps(body | {"usage": USAGE}).encode()
        await answering.head(200, ("content-length", str(len(encoded))))
        await answering.raw(encoded)

    return script


def streams(*deltas: dict[str, Any], cut: int = 7, seen: list[Any] | None = None, pause: float = 0.0):
    """A script that streams deltas, its bytes cut anywhere; with a `pause` each piece is a packet of its own."""

    async def script(asked: Asked, answering: Answering) -> None:
        if seen is not None:
            seen.append(asked.document)
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        head: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        events = [head | {"choices": [choice]} for choice in choices] + [head | {"choices": [], "usage": USAGE}]
        data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
        await answering.stream_head()
        for start in range(0, len(data), 11 * cut):
            await answering.chunk(data[start : start + 11 * cut])
            await asyncio.sleep(pause)
        await answering.end()

    return script


def pieces(text: str, size: int = 3) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def call(arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}


ARGUMENTS = json.dumps({"to": EMAIL, "note": 'say "hi"'})
