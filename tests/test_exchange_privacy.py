"""What an exchange writes down of a request, and the consent that it may need."""

from __future__ import annotations

import pytest
from exchange_world import World, forwarded, refusal, request_body, request_headers

from extproc import guardrails
from extproc.guardrails import Configured
from extproc.policy.consent import Demand
from extproc.policy.minimal import Kept
from extproc.redaction import Action, Policy

CONSENT = {"user_consent": "analytics:true,storage:true", "consent_date": "2024-01-01"}


async def receipt_of(world: World, *headers, **fields):
    exchange = world.exchange()
    await exchange.receive(request_headers(*headers))
    await exchange.receive(request_body(**fields))
    exchange.close()
    return world.sink.receipts[0]


async def test_the_receipt_has_what_the_request_tells_of_a_consent():
    assert (await receipt_of(World(), metadata=CONSENT)).metadata == CONSENT


async def test_both_names_of_the_metadata_are_read():
    receipt = await receipt_of(World(), metadata={"a": 1}, litellm_metadata={"b": 2})

    assert receipt.metadata == {"a": 1, "b": 2}


async def test_what_is_not_wanted_is_on_no_receipt():
    world = World()
    world.more = {"kept": Kept(requester_ip=False, user_agent=False, metadata_fields=frozenset({"consent_date"}))}

    receipt = await receipt_of(world, (b"user-agent", b"curl/8"), metadata=CONSENT)

    assert (receipt.requester_ip, receipt.user_agent) == ("", "")
    assert receipt.metadata == {"consent_date": "2024-01-01"}


async def test_what_a_guardrail_masks_in_metadata_is_masked_on_the_receipt():
    policy = Policy(request={"EMAIL_ADDRESS": Action.MASK})
    world = World()
    world.more = {"guardrails": guardrails.compiled([Configured("pii", policy, Action.BLOCK, default_on=True)])}

    receipt = await receipt_of(world, metadata={"asked_by": "ann@example.com"})

    assert receipt.metadata == {"asked_by": "<EMAIL_ADDRESS_1>"}


@pytest.mark.parametrize("fields", [{}, {"metadata": {"user_consent": "storage:false"}}])
async def test_a_request_without_the_consent_that_is_demanded_is_refused(fields):
    world = World()
    world.more = {"consent": Demand(("storage",))}
    exchange = world.exchange()
    await exchange.receive(request_headers())

    status, error = refusal(await exchange.receive(request_body(**fields)))

    assert (status, error["type"], error["param"]) == (403, "consent_required", "metadata.user_consent")
    exchange.close()
    assert world.sink.receipts == []


async def test_a_request_with_that_consent_is_forwarded():
    world = World()
    world.more = {"consent": Demand(("storage",))}

    await forwarded(world, metadata=CONSENT)
