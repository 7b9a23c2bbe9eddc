"""Which guardrails hold for an exchange, and how a request goes through them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet

from extproc import guardrails
from extproc.bodies.payload_encryption import Sealing
from extproc.bodies.redacted import RedactedPlainBody, RedactedStreamBody
from extproc.bodies.redaction import Redaction
from extproc.errors import ConfigError, MalformedBody, RedactionFailed
from extproc.guardrails import Configured, Guardrails, Selectors
from extproc.model import Key, Team
from extproc.policy.refusals import Refusal
from extproc.providers import openai_chat
from extproc.redaction import Action, OnFailure, Policy

EMAIL = "ann@company.com"
MASKS = Policy(request={"EMAIL_ADDRESS": Action.MASK})
PATH = "/v1/chat/completions"


def key(**fields: Any) -> Key:
    return Key(digest="d", name="sk-...", **fields)


def configured(name: str, policy: Policy = MASKS, **more: Any) -> Configured:
    return Configured(name, policy, Action.BLOCK, **more)


def names(found: Redaction | Refusal | None) -> tuple[str, ...]:
    assert not isinstance(found, Refusal), found
    return found.names if found else ()


@pytest.fixture(scope="module")
def everything() -> Guardrails:
    on: Any = {"default_on": True}
    return guardrails.compiled(
        [
            configured("asked"),
            configured("always", **on),
            configured("gpt", selectors=Selectors(models=("gpt-*",)), **on),
            configured("team", selectors=Selectors(teams=("t", "engineering")), **on),
            configured("key", selectors=Selectors(keys=("front-*",)), **on),
            configured("chat", selectors=Selectors(paths=("/v1/chat/*",)), **on),
            configured("both", selectors=Selectors(models=("gpt-*",), teams=("t",)), **on),
        ]
    )


@pytest.mark.parametrize(
    ("who", "model", "path", "asked", "expected"),
    [
        (key(), "m", "/x", [], {"always"}),
        (key(), "gpt-4o", "/x", [], {"always", "gpt"}),
        (key(team_id="t"), "m", "/x", [], {"always", "team"}),
        (key(team_id="t"), "gpt-4o", "/x", [], {"always", "gpt", "team", "both"}),
        (key(team_id="u", team=Team(id="u", alias="engineering")), "m", "/x", [], {"always", "team"}),
        (key(alias="front-end"), "m", "/x", [], {"always", "key"}),
        (key(), "m", PATH, [], {"always", "chat"}),
        (key(), "m", "/x", ["asked"], {"always", "asked"}),
        (key(fields={"guardrails": ["asked"]}), "m", "/x", [], {"always", "asked"}),
        (key(team=Team(id="u", fields={"guardrails": ["asked", 7]})), "m", "/x", [], {"always", "asked"}),
        (key(fields={"guardrails": "asked"}), "m", "/x", [], {"always"}),
    ],
)
def test_a_guardrail_holds_where_it_is_on_or_asked_for(everything, who, model, path, asked, expected):
    assert set(names(everything.choose(who, model, path, asked))) == expected


def test_a_guardrail_that_nobody_configured_is_refused_and_never_ignored(everything):
    refusal = everything.choose(key(fields={"guardrails": ["gone"]}), "m", "/x", [])

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.reason, refusal.message) == (400, "unknown_guardrail", "Guardrail not found: gone")


def test_without_guardrails_nothing_holds():
    assert Guardrails(()).choose(key(), "m", PATH, []) is None
    assert Guardrails(()).find("x") is None


def test_one_guardrail_can_be_tried_alone(everything):
    assert everything.find("gpt").names == ("gpt",)
    assert "asked" in everything.names


def test_hashes_are_those_of_the_deployment():
    policy = Policy(request={"EMAIL_ADDRESS": Action.HASH})
    found = guardrails.compiled([configured("hash", policy)])

    hashed = []
    for secret in ("a", "a", "b"):
        document = {"messages": msgspec.Raw(json.dumps([{"role": "user", "content": EMAIL}]).encode())}
        found.with_secret(secret).find("hash").request(openai_chat, document)
        hashed.append(bytes(document["messages"]))

    assert hashed[0] == hashed[1] != hashed[2]


def test_a_policy_that_cannot_be_compiled_names_its_guardrail():
    with pytest.raises(ConfigError, match="guardrail odd: no recognizer finds 'NOBODY'"):
        guardrails.compiled([configured("odd", Policy(request={"NOBODY": Action.MASK}))])


@pytest.mark.parametrize(("raw", "expected"), [(None, []), (b"null", []), (b"[]", []), (b'["a", "b"]', ["a", "b"])])
def test_a_request_asks_by_a_list_of_names(raw, expected):
    assert guardrails.asked({"guardrails": msgspec.Raw(raw)} if raw else {}) == expected


def test_anything_else_is_a_malformed_request():
    with pytest.raises(MalformedBody, match="expected a list of names"):
        guardrails.asked({"guardrails": msgspec.Raw(b'"pii"')})


def only(policy: Policy) -> Redaction:
    found = guardrails.compiled([configured("pii", policy)]).find("pii")
    assert found is not None
    return found


def document(content: Any) -> dict[str, msgspec.Raw]:
    return {"messages": msgspec.Raw(json.dumps([{"role": "user", "content": content}]).encode())}


async def redact(content: Any, policy: Policy = MASKS, deadline_ms: int = 10_000) -> tuple[Any, Refusal | None]:
    found = document(content)
    redaction = only(policy)
    refusal = await guardrails.redact(redaction, openai_chat, found, deadline_ms)
    return json.loads(bytes(found["messages"]))[0]["content"], refusal


async def test_a_request_is_rewritten_small_or_large():
    large = "word " * 40_000

    assert await redact(EMAIL) == ("<EMAIL_ADDRESS_1>", None)
    assert await redact(large + EMAIL) == (large + "<EMAIL_ADDRESS_1>", None)


async def test_a_blocked_entity_is_a_refusal_that_tells_what_was_found():
    _, refusal = await redact(EMAIL, Policy(request={"EMAIL_ADDRESS": Action.BLOCK}))

    assert (refusal.status, refusal.reason) == (400, "blocked_entity")
    assert refusal.found == {("request", "EMAIL_ADDRESS", "block"): 1}
    assert "EMAIL_ADDRESS by Guardrail: pii." in refusal.message


async def test_a_failure_is_a_refusal_or_passes_as_the_policy_says():
    unknown = [{"type": "hologram"}]
    _, refused = await redact(unknown)
    passed, none = await redact(unknown, Policy(request={"EMAIL_ADDRESS": Action.MASK}, on_failure=OnFailure.ALLOW))

    assert (refused.status, refused.reason) == (400, "redaction_unknown_shape")
    assert (passed, none) == (unknown, None)


async def test_a_search_that_takes_too_long_ends_and_is_a_refusal():
    began = time.monotonic()
    _, refusal = await redact("a@b.org " * 400_000, deadline_ms=1)

    assert (refusal.status, refusal.reason) == (500, "redaction_timeout")
    # The whole text would take many times as long.
    assert time.monotonic() - began < 10


async def test_an_answer_is_searched_small_or_large_and_ends_at_its_deadline():
    policy = Policy(response={"EMAIL_ADDRESS": Action.MASK})
    for text, deadline_ms in ((EMAIL, 1), ("word " * 40_000 + EMAIL, 10_000), ("a@b.org " * 400_000, 1)):
        redaction = only(policy)
        body = RedactedPlainBody(openai_chat, redaction, 1 << 24)
        answer = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        if deadline_ms == 1 and text != EMAIL:
            with pytest.raises(RedactionFailed, match="timeout"):
                await guardrails.take(redaction, body, answer, deadline_ms, last=True)
            continue
        passed = await guardrails.take(redaction, body, answer, deadline_ms, last=True) or b""
        assert json.loads(passed)["choices"][0]["message"]["content"] == text.replace(EMAIL, "<EMAIL_ADDRESS_1>")


@pytest.mark.parametrize("events", [["a@b.org " * 100_000], ["a@b.org "] * 100_000], ids=["one delta", "many"])
async def test_a_stream_s_chunk_ends_at_its_deadline(events):
    redaction = only(Policy(response={"EMAIL_ADDRESS": Action.MASK}))
    body = RedactedStreamBody(openai_chat, redaction, hide_usage=False)
    deltas = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in events]
    chunk = b"".join(b"data: " + json.dumps(delta).encode() + b"\n\n" for delta in deltas)

    with pytest.raises(RedactionFailed, match="timeout"):
        await guardrails.take(redaction, body, chunk, 1, last=False)


async def test_many_short_texts_are_searched_beside_others_and_end_at_their_deadline():
    redaction = only(MASKS)
    document = {"messages": msgspec.Raw(b"[]"), "stop": msgspec.Raw(json.dumps(["a"] * 20_000).encode())}
    searched = asyncio.create_task(guardrails.redact(redaction, openai_chat, document, 1))

    # Who waits gets a turn while the search goes on.
    await asyncio.sleep(0)
    assert not searched.done()
    refusal = await searched
    assert refusal is not None
    assert refusal.reason == "redaction_timeout"


async def test_others_have_their_turns_while_megabytes_of_small_values_are_searched():
    messages = [{"role": "user", "content": "a"}] * 100_000
    document = {"messages": msgspec.Raw(json.dumps([*messages, {"role": "user", "content": EMAIL}]).encode())}
    searched = asyncio.create_task(guardrails.redact(only(MASKS), openai_chat, document, 60_000))
    turns = 0

    while not searched.done():
        await asyncio.sleep(0)
        turns += 1

    assert await searched is None
    assert bytes(document["messages"]).endswith(b'{"role":"user","content":"<EMAIL_ADDRESS_1>"}]')
    # A thread lets go of the interpreter every few milliseconds, but never in the middle of a call.
    assert turns > 50


async def test_the_deadline_of_a_request_is_none_of_its_answer():
    def late() -> None:
        raise RedactionFailed("timeout")

    redaction = only(Policy(response={"EMAIL_ADDRESS": Action.MASK}))
    redaction.checkpoint = late
    answer = b'{"choices": [{"message": {"content": "hello"}}]}'

    assert (
        await guardrails.take(redaction, RedactedPlainBody(openai_chat, redaction, 1000), answer, 1, last=True)
        == answer
    )


async def test_many_tokens_are_opened_beside_others_and_end_at_their_deadline():
    cipher = Fernet(Fernet.generate_key())
    token = cipher.encrypt(EMAIL.encode()).decode()
    small, large = document([{"type": "text", "text": token}]), document([{"type": "text", "text": token}] * 20_000)

    await guardrails.unseal(Sealing(cipher), openai_chat, small, 10_000)
    with pytest.raises(RedactionFailed, match="timeout"):
        await guardrails.unseal(Sealing(cipher), openai_chat, large, 1)

    assert json.loads(bytes(small["messages"]))[0]["content"][0]["text"] == EMAIL
