"""A reservation asks for what it needs, waits a moment, grows with its stream, and gives back what it did not use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reserving import DEPLOYMENT, EVENT, PROMPT, RATE, World, body_with, ends, reason

from extproc import reservation
from extproc.admitted import Admitted, Client
from extproc.bodies.request import Prompt
from extproc.errors import StoreUnavailable
from extproc.holds import Ask
from extproc.model import Allowance, Receipt, Usage
from extproc.policy import refusals
from extproc.policy.limits import House
from extproc.policy.outages import OnOutage
from extproc.policy.routing import Route
from extproc.providers import openai_chat
from extproc.providers.api import RequestFacts


async def test_whoever_meets_no_limit_has_no_reservation():
    world = World()
    facts = RequestFacts(model="m", stream=False)
    admitted = Admitted(
        "e", 0, Client("c", "/", "", "", ()), openai_chat, world.key, facts, Prompt((), 1), Route(DEPLOYMENT, "m"),
        lambda *_: 0,
    )  # fmt: skip

    assert reservation.of(world.rules, House(), admitted, None, ()) is None
    assert reservation.of(world.rules, House(everybody=Allowance(rpm_limit=1)), admitted, None, ()) is not None


async def test_what_a_client_allows_is_held_and_what_was_not_used_is_given_back():
    world = World(max_budget=1_000_000)
    one = world.asks(max_tokens=500)

    assert await one.admit() is None
    held = await world.level()
    await ends(one, 40)

    assert held == (0, 510 * RATE)
    assert await world.level() == (50 * RATE, 0)


async def test_a_budget_that_is_spent_is_exceeded_and_one_that_is_held_is_only_held():
    world = World(max_budget=100 * RATE)
    first, second = world.asks(max_tokens=60), world.asks(max_tokens=60)
    assert await first.admit() is None

    assert reason(await second.admit()) == "budget_held"
    await ends(first, 60)
    assert reason(await world.asks(max_tokens=60).admit()) == "budget_exceeded"


async def test_whoever_would_fit_if_others_gave_back_waits_for_them():
    world = World(max_budget=100 * RATE, wait_ms=30_000)
    first, second = world.asks(max_tokens=60), world.asks(max_tokens=60)
    await first.admit()

    waiting = asyncio.create_task(second.admit())
    await asyncio.sleep(0)
    await ends(first, 5)

    assert await waiting is None


async def test_nobody_waits_for_a_spent_budget_or_for_a_place():
    """Or a client would wait for nothing; time alone tells, so a wait of a minute would be noticed."""
    world = World(max_budget=10 * RATE, max_parallel_requests=1, wait_ms=60_000)

    async with asyncio.timeout(30):
        assert reason(await world.asks(max_tokens=60).admit()) == "budget_exceeded"
    crowded = World(max_parallel_requests=1, wait_ms=60_000)
    await crowded.asks().admit()
    async with asyncio.timeout(30):
        assert reason(await crowded.asks().admit()) == "max_parallel_requests_limited"


async def test_a_first_answer_of_unknown_length_takes_half_of_what_there_is_and_the_next_know_better():
    world = World(max_budget=300 * RATE, wait_ms=5_000)
    first = world.asks()
    assert await first.admit() is None
    assert await world.level() == (0, 155 * RATE)

    await ends(first, 40)
    second = world.asks()
    assert await second.admit() is None

    assert await world.level() == (50 * RATE, 50 * RATE)


async def test_litellms_forty_calls_without_max_tokens_spend_the_budget_to_the_nano():
    """Budget $0.50, 40 at once, each $0.05: ten are admitted and the budget is spent; the others are told so."""
    world = World(max_budget=10 * 50 * RATE, wait_ms=30_000)

    async def call() -> str:
        one = world.asks()
        if (refusal := await one.admit()) is not None:
            return refusal.reason
        await asyncio.sleep(0.01)
        await ends(one, 40)
        return "admitted"

    told = await asyncio.gather(*(call() for _ in range(40)))

    assert (told.count("admitted"), told.count("budget_exceeded")) == (10, 30)
    assert await world.level() == (500 * RATE, 0)


async def test_a_stream_holds_more_as_it_goes_and_ends_before_it_uses_what_it_does_not_hold():
    world = World(standing=True, max_budget=200 * RATE)
    one = world.asks(stream=True, max_tokens=20)
    assert await one.admit() is None
    body, refusal, tokens = body_with(0), None, 0
    while refusal is None:
        body.feed(EVENT)
        tokens += 1
        refusal = await one.follow(body)
        assert (tokens + PROMPT) * RATE <= (await world.level())[1] or refusal

    assert reason(refusal) == "budget_exceeded"
    assert 180 <= tokens <= 190
    assert (await world.level())[1] <= 200 * RATE


async def test_a_stream_goes_on_with_what_it_has_and_holds_more_when_others_give_back():
    world = World(standing=True, max_budget=200 * RATE)
    other, one = world.asks(max_tokens=130), world.asks(stream=True, max_tokens=30)
    await other.admit()
    assert await one.admit() is None

    assert await one.follow(body_with(28)) is None
    assert await world.level() == (0, 200 * RATE)
    assert await one.follow(body_with(46)) is None
    await ends(other, 0)
    assert await one.follow(body_with(47)) is None

    assert (await world.level())[1] > 60 * RATE


async def test_what_is_left_for_others_is_told_without_ones_own_part():
    world = World(rpm_limit=3, tpm_limit=1_000)
    one = world.asks(max_tokens=90)
    await one.admit()

    assert {limit.setting: left for limit, left in one.left} == {"rpm_limit": 2, "tpm_limit": 900}


async def test_limits_that_are_tried_out_are_told_and_refuse_nobody():
    world = World(rpm_limit=1, metadata={"dry_run": True})
    first, second = world.asks(), world.asks()
    await first.admit()

    assert await second.admit() is None
    assert [limit.setting for limit in second.over] == ["rpm_limit"]
    assert first.over == ()


@pytest.mark.parametrize(("dry_run", "answer"), [([], refusals.COUNTERS_UNAVAILABLE), (["rpm_limit"], None)])
async def test_without_counters_an_exchange_that_may_be_refused_is_by_default(dry_run, answer):
    world = World(rpm_limit=10, metadata={"dry_run": dry_run})
    world.counters.down = True

    assert await world.asks().admit() is answer


async def test_without_counters_this_process_counts_alone_where_the_operator_allows_it():
    world = World(rpm_limit=2, on_outage=OnOutage.ALLOW)
    world.counters.down = True
    asked = [world.asks() for _ in range(3)]

    answers = [reason(await one.admit()) for one in asked]

    assert answers == ["", "", "requests_limited"]
    assert [one.alone for one in asked] == [True, True, True]


CALLS = st.lists(
    st.tuples(st.booleans(), st.none() | st.integers(1, 120), st.integers(0, 120), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60)
@given(calls=CALLS, budget=st.integers(0, 600))
async def test_whatever_is_called_at_once_the_budget_is_never_exceeded_where_answers_can_be_bounded(calls, budget):
    """A stream can be ended, an answer with `max_tokens` keeps to it; only one that nobody bounds may be longer."""
    world = World(max_budget=budget * RATE, wait_ms=20)

    async def call(stream: bool, allowed: int | None, length: int, pause: int) -> int:
        one = world.asks(stream=stream, max_tokens=allowed)
        if await one.admit() is not None:
            return 0
        tokens = 0
        body = body_with(0)
        for _ in range(length if allowed is None else min(length, allowed)):
            if not stream and allowed is None:
                break
            await asyncio.sleep(0.001 * pause if tokens % 16 == 0 else 0)
            body.feed(EVENT)
            if stream and await one.follow(body):
                break
            tokens += 1
        await ends(one, tokens)
        return (tokens + PROMPT) * RATE

    spent = sum(await asyncio.gather(*(call(*each) for each in calls)))

    assert spent <= budget * RATE
    assert await world.level() == (spent, 0) if spent else True


def test_a_draft_is_enough_to_book_an_orphan():
    """What is kept beside the holds is a whole receipt, marked as an estimate."""
    import msgspec

    world = World(max_budget=1_000_000)

    draft = msgspec.msgpack.decode(world.asks()._draft(), type=Receipt)

    assert (draft.event_id, draft.key_digest, draft.estimated, draft.cut) == ("e1", "d", True, True)
    assert draft.usage == Usage(input_tokens=PROMPT)


@pytest.mark.parametrize(
    ("allowed", "stream", "held"), [(700, False, 700), (700, True, 512), (None, True, 512), (None, False, 16_384)]
)
async def test_what_cannot_be_stopped_holds_all_that_its_client_allows_or_a_model_may_do(allowed, stream, held):
    world = World(max_budget=100_000_000)
    await world.asks(stream=stream, max_tokens=allowed).admit()

    assert await world.level() == (0, (held + PROMPT) * RATE)


async def test_a_fast_provider_is_asked_for_early_and_stopped_early():
    """What it generates until it hears of the end must be held as well."""
    world = World(max_budget=200 * RATE, wait_ms=300, standing=True)
    one = world.asks(stream=True, max_tokens=100)
    await one.admit()
    world.passes(reservation.PACE_MS)

    await one.follow(body_with(90))

    assert one._stop > reservation.STOP_TOKENS + 5
    assert one._margin > one._stop + 50


async def test_a_caller_who_hangs_up_before_the_answer_holds_nothing():
    world = World(max_budget=1_000_000)
    first = world.asks(max_tokens=10)
    await first.admit()
    await ends(first, 0)
    heard, reserve = asyncio.Event(), world.counters.reserve

    async def hears_and_does_not_answer(ask: Ask, now: int | None = None) -> Any:
        await reserve(ask, now)
        heard.set()
        await asyncio.Event().wait()

    world.counters.reserve = hears_and_does_not_answer  # type: ignore[method-assign]
    hanging_up = asyncio.create_task(world.asks(max_tokens=500).admit())
    await heard.wait()
    assert (await world.level())[1] == 510 * RATE

    hanging_up.cancel()
    await asyncio.wait({hanging_up})
    await world.reservations.renew()

    assert await world.level() == (PROMPT * RATE, 0)


async def test_whoever_is_refused_because_the_store_did_not_answer_holds_nothing_though_it_has_heard():
    world = World(max_budget=1_000_000)
    first = world.asks(max_tokens=10)
    await first.admit()
    await ends(first, 0)
    reserve = world.counters.reserve

    async def hears_and_fails(ask: Ask, now: int | None = None) -> Any:
        await reserve(ask, now)
        raise StoreUnavailable("counters", "no answer")

    world.counters.reserve = hears_and_fails  # type: ignore[method-assign]
    assert await world.asks(max_tokens=500).admit() is refusals.COUNTERS_UNAVAILABLE
    await world.reservations.renew()

    assert await world.level() == (PROMPT * RATE, 0)


async def test_what_was_generated_but_not_seen_is_counted_within_what_is_held():
    world = World(max_budget=1_000 * RATE)
    one = world.asks(stream=True, max_tokens=50)
    await one.admit()

    assert one.unseen(40) >= 1
    assert one.unseen(49) == 1
    assert one.unseen(50) == 0
