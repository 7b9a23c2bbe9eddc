"""What an exchange writes down of a request, the consent that it may need, and what of it is stored."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet
from exchange_world import World, forwarded, refusal, request_body, request_headers, response_headers

from extproc import guardrails
from extproc.events import ResponseBody
from extproc.guardrails import Configured
from extproc.model import SecretRef, User
from extproc.payload_keys import PayloadKey, PayloadKeys
from extproc.policy.consent import Demand
from extproc.policy.minimal import Kept
from extproc.redaction import Action, Policy

EVERYTHING = guardrails.of_everything()
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


async def test_what_came_encrypted_is_on_no_receipt_in_the_clear():
    secret = Fernet.generate_key()
    token = Fernet(secret).encrypt(b"for my eyes only").decode()
    world = World()
    world.more = {"payload_keys": PayloadKeys([PayloadKey(SecretRef("env", "K"))], lambda _: secret.decode())}

    receipt = await receipt_of(world, metadata={"note": token}, messages=[{"role": "user", "content": token}])

    assert receipt.metadata == {"note": token}


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


class Keeping:
    """Takes what was said, as `Contents` does."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def put(self, receipt, content):
        content.end()
        self.told.append(
            {"event_id": receipt.event_id, "at": receipt.ended_at, **json.loads(content.told(EVERYTHING()))}
        )


def keeping(**more: object) -> tuple[World, Keeping]:
    world, kept = World(), Keeping()
    world.more = {"contents": kept, **more}
    return world, kept


ANSWER = {"id": "c", "choices": [{"message": {"role": "assistant", "content": "I am bob@company.com"}}]}


async def test_what_was_said_is_kept_once_under_the_id_of_its_receipt():
    world, kept = keeping()
    exchange = await forwarded(world)
    await exchange.receive(response_headers())
    world.moment = 2_000
    await exchange.receive(ResponseBody(json.dumps(ANSWER).encode(), end_of_stream=False))
    await exchange.receive(ResponseBody(b"", end_of_stream=True))
    exchange.close()

    [told] = kept.told
    assert (told["event_id"], told["at"]) == (world.sink.receipts[0].event_id, 2_000)
    assert told["request"]["model"] == "gpt-4o-real"
    assert told["request"]["messages"] == [{"role": "user", "content": "hello"}]
    assert told["response"]["choices"][0]["message"]["content"] == "I am <EMAIL_ADDRESS_1>"


async def test_of_a_stream_that_is_cut_what_came_is_kept():
    world, kept = keeping()
    exchange = await forwarded(world, stream=True)
    await exchange.receive(response_headers(200, b"text/event-stream"))
    event = {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}
    await exchange.receive(ResponseBody(b"data: " + json.dumps(event).encode() + b"\n\n", end_of_stream=False))
    exchange.close()

    assert kept.told[0]["response"]["choices"][0]["message"]["content"] == "Hel"


async def test_of_a_request_that_the_provider_refuses_the_request_is_kept():
    world, kept = keeping()
    exchange = await forwarded(world)
    await exchange.receive(response_headers(429))
    exchange.close()

    assert kept.told[0]["request"]["messages"]
    assert kept.told[0]["response"] == {}


async def test_the_provider_s_side_is_kept_where_a_guardrail_puts_values_back():
    policy = Policy(request={"EMAIL_ADDRESS": Action.MASK}, restore=True)
    made = guardrails.compiled([Configured("pii", policy, Action.BLOCK, default_on=True)])
    world, kept = keeping(guardrails=made)
    exchange = await forwarded(world, messages=[{"role": "user", "content": "I am ann@company.com"}])
    await exchange.receive(response_headers())
    answer = {"choices": [{"message": {"content": "Dear <EMAIL_ADDRESS_1>"}}]}
    reply: Any = await exchange.receive(ResponseBody(json.dumps(answer).encode(), end_of_stream=True))
    exchange.close()

    assert b"Dear ann@company.com" in reply.body
    assert kept.told[0]["request"]["messages"][0]["content"] == "I am <EMAIL_ADDRESS_1>"
    assert kept.told[0]["response"]["choices"][0]["message"]["content"] == "Dear <EMAIL_ADDRESS_1>"


@pytest.mark.parametrize(
    ("fields", "more", "is_kept"),
    [
        ({}, {}, True),
        ({"no-log": True}, {}, False),
        ({"no-log": False}, {}, True),
        ({"no-log": True}, {"heed_no_log": False}, True),
        ({"metadata": {"user_consent": "storage:true"}}, {}, True),
        ({"metadata": {"user_consent": "analytics:true"}}, {}, False),
        ({"metadata": {"user_consent": "analytics:true"}, "no-log": True}, {"heed_no_log": False}, False),
    ],
)
async def test_nothing_is_kept_of_who_asks_not_to_be_or_did_not_agree(fields, more, is_kept):
    world, kept = keeping(**more)
    exchange = await forwarded(world, **fields)
    exchange.close()

    assert bool(kept.told) is is_kept
    assert len(world.sink.receipts) == 1


async def test_the_consent_of_the_keys_user_counts_where_the_request_tells_of_none():
    world, kept = keeping()
    for digest, key in world.keys.rows.items():
        world.keys.rows[digest] = msgspec.structs.replace(key, user=User(id="u", metadata={"user_consent": "a:true"}))
    (await forwarded(world)).close()

    assert kept.told == []


async def test_what_came_encrypted_is_not_kept():
    secret = Fernet.generate_key()
    payload_keys = PayloadKeys([PayloadKey(SecretRef("env", "K"))], lambda _: secret.decode())
    world, kept = keeping(payload_keys=payload_keys)
    sealed = Fernet(secret).encrypt(b"a secret").decode()
    (await forwarded(world, messages=[{"role": "user", "content": sealed}])).close()
    (await forwarded(world)).close()

    assert len(kept.told) == 1
