"""What tests of redacted event streams share: a redaction, events, and what a client makes of them."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import msgspec
from hypothesis import strategies as st

from extproc.bodies.redacted import RedactedStreamBody
from extproc.bodies.redaction import Compiled, Redaction
from extproc.providers import openai_chat
from extproc.redaction import Action, Direction, OnFailure, Policy

ENTITIES = ("EMAIL_ADDRESS", "CREDIT_CARD", "IP_ADDRESS")
SECRET = ["ann@company.com", "4111 1111 1111 1111", "10.11.12.13", "<EMAIL_ADDRESS_1>", "<email_address_1>", "<", "a@"]
WORDS = ["hello", " world", "\n", "日本", "é", '"', "\\", "{", "1", ".", "<EMAIL"]
texts = st.lists(st.sampled_from(SECRET + WORDS), max_size=12).map("".join)


@functools.cache
def compiled(
    *, masks: bool, restores: bool, on_failure: OnFailure = OnFailure.REFUSE, dry_run: bool = False
) -> Compiled:
    policy = Policy(
        request=dict.fromkeys(ENTITIES, Action.MASK),
        response=dict.fromkeys(ENTITIES, Action.MASK) if masks else {},
        restore=restores,
        dry_run=dry_run,
    )
    request, response = policy.compile(Direction.REQUEST), policy.compile(Direction.RESPONSE)
    return Compiled("pii", request, response, restores, Action.BLOCK, on_failure)


def redaction(**settings) -> Redaction:
    """One whose request had an address in it."""
    made = Redaction([compiled(**settings)], b"key")
    document = {"messages": _raw([{"role": "user", "content": "I am ann@company.com"}])}
    made.request(openai_chat, document)
    return made


def _raw(value):
    return msgspec.Raw(json.dumps(value).encode())


def expected(text: str, *, escaped: bool = False, **settings) -> str:
    """What a whole text becomes."""
    made = redaction(**settings)
    whole: Any = {"choices": [{"message": {"content": text}}]}
    if escaped:
        call = {"function": {"name": "f", "arguments": text}}
        whole = {"choices": [{"message": {"content": None, "tool_calls": [call]}}]}
    answer = json.loads(made.answer(openai_chat, json.dumps(whole).encode()))
    message = answer["choices"][0]["message"]
    return message["tool_calls"][0]["function"]["arguments"] if escaped else message["content"]


def unnumbered(text: str) -> str:
    """Texts of several channels get their numbers in the order in which they come, which no whole text knows."""
    return re.sub(r"(<[A-Z_]+_)\d+>", r"\1N>", text)


def chunk(index=0, finish=None, **delta) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode() + b"\n\n"


def cut(text: str, places: list[int]) -> list[str]:
    at = sorted({place % (len(text) + 1) for place in places})
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


def passed(body: RedactedStreamBody, stream: bytes, places: list[int]) -> list[dict[str, Any]]:
    at = sorted({place % (len(stream) + 1) for place in places})
    chunks = [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)]
    out = b"".join([body.feed(piece) for piece in chunks if piece]) + body.flush()
    events = [event.removeprefix(b"data: ") for event in out.split(b"\n\n") if event]
    assert events[-1] == b"[DONE]" or b"[DONE]" not in events
    return [json.loads(event) for event in events if event != b"[DONE]"]


def joined(events, index, *path) -> str:
    """The text of a channel, as a client puts it together."""
    found = []
    for event in events:
        for choice in event["choices"]:
            at = choice.get("delta") or {}
            if choice["index"] != index:
                continue
            if path[0] == "tool":
                calls = [call for call in at.get("tool_calls") or () if call["index"] == path[1]]
                found += [(call.get("function") or {}).get("arguments") or "" for call in calls]
            else:
                found.append(at.get(path[0]) or "")
    return "".join(found)


places = st.lists(st.integers(0, 10_000), max_size=8)
arguments = st.dictionaries(texts, texts, max_size=3).map(lambda value: json.dumps(value, ensure_ascii=False))
