"""Guardrails that ask somebody else, a Presidio server over real HTTP, beside our own engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from inspection.presidio_server import Presidio, finds, presidio

from extproc import guardrails
from extproc.bodies import redacted
from extproc.bodies.redacted import WithheldBody
from extproc.bodies.redaction import Redaction
from extproc.errors import Blocked, ConfigError, RedactionFailed
from extproc.guardrails import Configured, Consulted
from extproc.inspection import Inspectors
from extproc.policy.refusals import Refusal
from extproc.providers import openai_chat
from extproc.redaction import Action, OnFailure, Policy

MASK = {"PERSON": Action.MASK}
EMAIL = {"EMAIL_ADDRESS": Action.MASK}
JSON = {b"content-type": b"application/json"}


@pytest.fixture
async def server() -> AsyncIterator[Presidio]:
    async with presidio() as found:
        yield found


@pytest.fixture
async def inspectors() -> AsyncIterator[Inspectors]:
    made = Inspectors()
    yield made
    await made.close()


@pytest.fixture
def redaction(server, inspectors):
    """A redaction by a guardrail that asks the server."""

    def make(policy: Policy | None = None, **consulted: Any) -> Redaction:
        told: dict[str, Any] = {"request": MASK, "deadline_ms": 500}
        asked = Consulted(**{**told, **consulted})
        policy = policy or Policy(request=EMAIL, guards=True)
        configured = Configured("pii", policy, Action.BLOCK, analyzer=server.base, consulted=asked)
        found = guardrails.compiled([configured], inspectors.of).find("pii")
        assert found is not None
        return found

    return make


async def ask(redaction: Redaction, content: Any, **message: Any) -> tuple[Any, Refusal | None]:
    document = {"messages": msgspec.Raw(json.dumps([{"role": "user", "content": content, **message}]).encode())}
    refusal = await guardrails.redact(redaction, openai_chat, document, 5_000)
    return json.loads(bytes(document["messages"]))[0], refusal


async def answer(redaction: Redaction, told: Any, *, status: int = 200, kind: bytes = b"application/json") -> Any:
    """What goes on of an answer that comes in two pieces."""
    body = redacted.body(
        openai_chat, redaction, {b"content-type": kind}, failed=status >= 300, hide_usage=False, limit=1 << 20
    )
    raw = told if isinstance(told, bytes) else json.dumps(told).encode()
    first = await guardrails.take(redaction, body, raw[:9], 5_000, last=False)
    rest = await guardrails.take(redaction, body, raw[9:], 5_000, last=True)
    return (first or b"") + (rest or b"")


def choice(content: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}


async def test_the_server_sees_what_the_engine_left_and_its_findings_are_masked(redaction, server):
    made = redaction()

    message, refusal = await ask(made, "Ann Lee <ann@company.com>")

    assert refusal is None
    assert message["content"] == "<PERSON_1> <<EMAIL_ADDRESS_1>>"
    assert [question["text"] for question in server.questions if "Ann" in question["text"]] == [
        "Ann Lee <<EMAIL_ADDRESS_1>>"
    ]
    assert made.found == {("request", "EMAIL_ADDRESS", "mask"): 1, ("request", "PERSON", "mask"): 1}


async def test_a_request_is_walked_where_nobody_waits_for_it(redaction):
    walked = []

    async def aside(work: Callable[[], Any]) -> Any:
        walked.append(work())
        return walked[-1]

    document = {"messages": msgspec.Raw(b'[{"role":"user","content":"Ann Lee"}]')}
    await redaction().inspect_request(openai_chat, document, aside)

    # Once to hear what there is to ask, once to put in what was found.
    assert [bytes(each["messages"]) for each in walked] == [
        b'[{"role":"user","content":"Ann Lee"}]', b'[{"role":"user","content":"<PERSON_1>"}]',
    ]  # fmt: skip


async def test_the_arguments_of_a_tool_call_stay_json(redaction):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"to": "Ann Lee", "n": 1.0}'}}

    message, _ = await ask(redaction(), "x", tool_calls=[call])

    assert message["tool_calls"][0]["function"]["arguments"] == '{"to": "<PERSON_1>", "n": 1.0}'


async def test_names_of_the_request_are_put_back_into_the_answer(redaction):
    made = redaction()
    await ask(made, "ask Ann Lee")

    assert json.loads(await answer(made, choice("I asked <PERSON_1>."))) == choice("I asked Ann Lee.")


async def test_a_placeholder_that_the_client_wrote_itself_comes_back_as_it_was(redaction):
    made = redaction(Policy(guards=True))

    message, _ = await ask(made, "<PERSON_1> is not Ann Lee")

    assert message["content"] == "<LITERAL_1> is not <PERSON_1>"
    assert json.loads(await answer(made, choice("<LITERAL_1>, <PERSON_1>"))) == choice("<PERSON_1>, Ann Lee")


async def test_names_in_an_answer_are_masked_and_stay_so(redaction):
    made = redaction(Policy(response=EMAIL), request={}, response=MASK)
    await ask(made, "who?")

    told = json.loads(await answer(made, choice("It was Bob, bob@company.com")))

    assert told == choice("It was <PERSON_1>, <EMAIL_ADDRESS_1>")
    assert made.found["response", "PERSON", "mask"] == 1


@pytest.mark.parametrize(
    ("kind", "raw"), [(b"application/json", b'{"error": {"message": "no Bob"}}'), (b"text/plain", b"no Bob")]
)
async def test_what_a_provider_says_of_a_failure_is_looked_into_too(redaction, kind, raw):
    made = redaction(request={}, response=MASK)

    assert await answer(made, raw, status=500, kind=kind) == raw.replace(b": ", b":").replace(b"Bob", b"<PERSON_1>")


async def test_a_blocked_name_refuses_the_request_and_withholds_the_answer(redaction):
    made = redaction(request={"PERSON": Action.BLOCK}, response={"PERSON": Action.BLOCK})

    _, refusal = await ask(made, "Bob")
    with pytest.raises(Blocked, match="PERSON"):
        await answer(made, choice("Bob"))

    assert (refusal.status, refusal.reason) == (400, "blocked_entity")
    assert refusal.found == {("request", "PERSON", "block"): 1}
    assert "PERSON by Guardrail: pii." in refusal.message


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda _: None, "analyzer_timeout"),
        (lambda _: b"nonsense", "analyzer_error"),
        (lambda _: b'[{"start": 0, "end": 999, "entity_type": "PERSON", "score": 1}]', "analyzer_error"),
    ],
)
async def test_without_an_answer_of_the_server_nothing_passes(redaction, server, broken, reason):
    made = redaction(response=MASK)
    server.answer = broken

    _, refusal = await ask(made, "Bob")
    with pytest.raises(RedactionFailed, match=reason):
        await answer(made, choice("Bob"))

    assert (refusal.status, refusal.reason) == (500, f"redaction_{reason}")


async def test_where_failures_may_pass_the_engine_has_still_done_its_part(redaction, server):
    policy = Policy(request=EMAIL, response=EMAIL, on_failure=OnFailure.ALLOW)
    made = redaction(policy, response=MASK)
    server.answer = lambda _: b"nonsense"

    message, refusal = await ask(made, "Bob, bob@company.com")
    told = json.loads(await answer(made, choice("Bob, eve@company.com, <EMAIL_ADDRESS_1>")))

    assert refusal is None
    assert message["content"] == "Bob, <EMAIL_ADDRESS_1>"
    assert told == choice("Bob, <EMAIL_ADDRESS_2>, bob@company.com")
    assert made.unsearched == "analyzer_error"


async def test_a_dry_run_counts_and_neither_changes_nor_refuses(redaction, server):
    made = redaction(Policy(request=EMAIL, dry_run=True), response=MASK)

    message, refusal = await ask(made, "Bob")
    assert (message["content"], refusal, made.refuses_streams) == ("Bob", None, False)
    assert made.found == {("request", "PERSON", "mask"): 1}

    server.answer = lambda _: b"nonsense"
    assert (await ask(made, "Bob"))[1] is None


async def test_answers_that_must_be_asked_about_may_not_come_as_streams_unless_that_is_said(redaction):
    strict, lenient = redaction(response=MASK), redaction(response=MASK, streams_pass=True)
    kind = {b"content-type": b"text/event-stream"}

    def body(made: Redaction):
        return redacted.body(openai_chat, made, kind, failed=False, hide_usage=False, limit=1 << 20)

    assert strict.refuses_streams
    assert isinstance(body(strict), WithheldBody)
    assert not lenient.refuses_streams
    assert isinstance(body(lenient), redacted.RedactedStreamBody)
    assert not redaction().refuses_streams


async def test_images_are_blocked_where_only_others_are_asked(redaction):
    _, refusal = await ask(redaction(Policy()), [{"type": "image_url", "image_url": {"url": "x"}}])

    assert (refusal.reason, refusal.status) == ("blocked_entity", 400)


async def test_a_finding_of_another_kind_than_asked_for_is_left_alone(redaction, server):
    server.answer = finds("Bob", entity="NRP")

    assert (await ask(redaction(), "Bob"))[0]["content"] == "Bob"


async def test_the_model_of_this_process_is_asked_where_no_server_is(inspectors):
    configured = Configured("names", Policy(guards=True), Action.BLOCK, consulted=Consulted(MASK, deadline_ms=20_000))
    made = guardrails.compiled([configured], inspectors.of).find("names")
    assert made is not None

    message, refusal = await ask(made, "My name is Maria Gonzalez.")

    assert (message["content"], refusal) == ("My name is <PERSON_1>.", None)


def test_a_guardrail_that_must_ask_and_has_nobody_is_a_mistake():
    with pytest.raises(ConfigError, match="nobody is here to be asked"):
        guardrails.compiled([Configured("pii", Policy(), Action.BLOCK, consulted=Consulted(MASK))])


async def test_an_answer_that_is_no_json_is_withheld_before_anybody_is_asked(redaction, server):
    made = redaction(response=MASK)
    await ask(made, "x")
    server.questions.clear()

    with pytest.raises(RedactionFailed, match="not_json"):
        await answer(made, b"{ Ann Lee")

    assert server.questions == []


async def test_an_answer_that_cannot_be_read_passes_unasked_where_failures_may_pass(redaction):
    made = redaction(Policy(request=EMAIL, guards=True, on_failure=OnFailure.ALLOW), response=MASK)
    await ask(made, "x")

    assert await answer(made, b"{ Ann Lee") == b"{ Ann Lee"
    assert made.failed == "not_json"


async def test_a_single_text_that_somebody_tries_is_asked_about_too(redaction):
    assert await guardrails.apply(redaction(), "Ann Lee <ann@company.com>", 5_000) == "<PERSON_1> <<EMAIL_ADDRESS_1>>"
