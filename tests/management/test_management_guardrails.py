"""`/guardrails/…`: tried on a text, by anybody who has a key."""

from __future__ import annotations

import httpx
import pytest
from management.asking import error, get, post
from management.conftest import Gateway

from extproc import guardrails
from extproc.guardrails import Configured
from extproc.redaction import Action, Policy

EMAIL, CARD = "ann@company.com", "4111 1111 1111 1111"
BOTH = {"EMAIL_ADDRESS": Action.MASK, "CREDIT_CARD": Action.MASK}
CONFIGURED = guardrails.compiled(
    [
        Configured("pii", Policy(request=BOTH, restore=False), Action.BLOCK, default_on=True),
        Configured("both", Policy(request=BOTH, response=BOTH), Action.BLOCK),
        Configured("strict", Policy(request={"CREDIT_CARD": Action.BLOCK}), Action.BLOCK),
        Configured("trying", Policy(request=BOTH, dry_run=True), Action.BLOCK),
        Configured("short", Policy(request=BOTH, longest_text=1_000), Action.BLOCK),
    ]
)


@pytest.fixture
async def caller(gateway: Gateway):
    """A key that may do nothing special."""
    gateway.with_parts(guardrails=lambda: CONFIGURED)
    made = await gateway.generate()
    async with gateway.caller(made["key"]) as client:
        yield client


async def apply(client: httpx.AsyncClient, name: str, text: str, **more: object) -> str:
    answer = await post(client, "/guardrails/apply_guardrail", guardrail_name=name, text=text, **more)
    assert answer.keys() == {"response_text"}
    return str(answer["response_text"])


async def test_a_guardrail_shows_what_it_does_to_a_text(caller):
    assert await apply(caller, "pii", f"{EMAIL} {CARD}", language="en") == "<EMAIL_ADDRESS_1> <CREDIT_CARD_1>"
    assert await apply(caller, "trying", EMAIL) == EMAIL
    assert await apply(caller, "pii", "x" * 500_000 + f" {EMAIL}") == "x" * 500_000 + " <EMAIL_ADDRESS_1>"


@pytest.mark.parametrize("name", ["pii", "both"])
async def test_entities_narrow_what_is_masked(caller, name):
    text = f"{EMAIL} {CARD} {EMAIL}"

    assert await apply(caller, name, text, entities=["CREDIT_CARD"]) == f"{EMAIL} <CREDIT_CARD_1> {EMAIL}"
    assert await apply(caller, name, text, entities=[]) == "<EMAIL_ADDRESS_1> <CREDIT_CARD_1> <EMAIL_ADDRESS_1>"


@pytest.mark.parametrize(
    ("name", "text", "status", "told"),
    [
        ("gone", "x", 404, "gone"),
        ("strict", CARD, 400, "Blocked entity detected: CREDIT_CARD by Guardrail: strict"),
        ("short", "x" * 1_001, 400, "a text is too long"),
    ],
)
async def test_what_it_refuses_it_refuses_here_too(caller, name, text, status, told):
    response = await caller.post("/guardrails/apply_guardrail", json={"guardrail_name": name, "text": text})

    assert told in error(response, status)["message"]
    assert CARD not in response.text


async def test_guardrails_are_listed_as_litellm_does(caller):
    listed = (await get(caller, "/guardrails/list"))["guardrails"]

    assert [each["guardrail_name"] for each in listed] == ["pii", "both", "strict", "trying", "short"]
    assert [each["litellm_params"]["mode"] for each in listed[:4]] == [
        ["pre_call"], ["pre_call", "post_call"], ["pre_call"], ["logging_only"],
    ]  # fmt: skip
    assert [each["litellm_params"]["default_on"] for each in listed[:2]] == [True, False]


async def test_without_guardrails_none_is_listed_and_none_can_be_tried(gateway, admin):
    assert await get(admin, "/guardrails/list") == {"guardrails": []}
    error(await admin.post("/guardrails/apply_guardrail", json={"guardrail_name": "pii", "text": "x"}), 404)


async def test_without_a_key_nothing_is_told(gateway):
    async with gateway.caller(None) as nobody:
        error(await nobody.get("/guardrails/list"), 401)
