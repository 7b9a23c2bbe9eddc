"""Limits and budgets hold for all workers together, to the request, the token and the nano, whoever is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from gateway.running_fleet import (
    TOKEN,
    WITHIN_SECONDS,
    WORKERS,
    Fleet,
    digest,
    played,
    prompt_tokens,
    running_fleet,
    statuses,
    usage,
)
from gateway.running_gateway import CHAT, HELLO
from gateway.scripted_upstream import WORDS, Answering, Asked, Gate, ScriptedUpstream, chat_events, new_id, says
from gateway.server_processes import Nursery

from extproc.holds import Level, Measure, Span
from extproc.model import Receipt, Usage
from extproc.stores.sql import SqlStore

#: $0.50 and $0.05.
BUDGET, CALL = 500 * TOKEN, 50


@pytest.fixture(scope="module")
async def fleet(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Fleet]:
    """Budgets are waited for as long as a slow machine may need for three answers."""
    async with running_fleet(nursery, upstream, budget_wait_ms=4_000) as found:
        yield found


@pytest.fixture(scope="module")
def quick(upstream: ScriptedUpstream) -> str:
    """A model that answers at once, with 50 tokens."""
    return played(upstream, "quick", says(WORDS, usage=usage(CALL)))


async def test_every_worker_takes_part(fleet, quick):
    key = await fleet.new_key()
    async with asyncio.timeout(WITHIN_SECONDS):
        while {line["worker"] for line in fleet.lines("exchange") if line["status"] == 200} != {*range(WORKERS)}:
            assert statuses(await fleet.at_once(key, 12, model=quick)) == {200: 12}


async def test_a_key_that_is_blocked_through_any_worker_is_refused_by_all_within_a_second(fleet, quick):
    """A second is how long they may take, so a second is waited."""
    key = await fleet.new_key(key_alias="blocked")
    assert statuses(await fleet.at_once(key, 30, model=quick)) == {200: 30}

    assert (await fleet.admin.post("/key/block", json={"key": key})).status_code == 200
    await asyncio.sleep(1)

    assert statuses(await fleet.at_once(key, 60, model=quick)) == {401: 60}
    async with asyncio.timeout(WITHIN_SECONDS):
        while {line["worker"] for line in fleet.lines("exchange") if line.get("reason") == "key_blocked"} != {
            *range(WORKERS)
        }:
            await asyncio.sleep(0.02)


async def test_ten_requests_a_minute_are_ten_and_the_others_are_told_when(fleet, quick):
    key = await fleet.new_key(rpm_limit=10)

    answers = await fleet.at_once(key, 30, model=quick)

    assert statuses(answers) == {200: 10, 429: 20}
    for answer in answers:
        if answer.status_code == 429:
            assert 50 <= int(answer.headers["retry-after"]) <= 61
            assert answer.headers["rate_limit_type"] == "requests"


async def test_three_in_parallel_are_three(fleet, upstream):
    key = await fleet.new_key(max_parallel_requests=3)
    gate = Gate()
    async with fleet.client(key) as client:
        body = {"model": played(upstream, "slow", gate), "messages": HELLO, "stream": True}
        asked = [asyncio.create_task(client.post(CHAT, json=body)) for _ in range(12)]
        refused = []
        for answer in asyncio.as_completed(asked):
            refused.append(await answer)
            if len(refused) == 9:
                break
        gate.open.set()
        answers = await asyncio.gather(*asked)

    assert statuses(refused) == {429: 9}
    assert statuses(answers) == {200: 3, 429: 9}
    assert len(upstream.asked_for("slow")) == 3
    await fleet.level_becomes(Level(0, 0), key, Measure.PARALLEL, Span.GAUGE)


async def test_three_hundred_tokens_a_minute_are_ten_calls_of_thirty(fleet, upstream):
    key = await fleet.new_key(tpm_limit=300)
    output = 30 - prompt_tokens()
    model = played(upstream, "thirty", says(WORDS, usage=usage(output)))

    answers = await fleet.at_once(key, 30, model=model, max_tokens=output)

    assert statuses(answers) == {200: 10, 429: 20}
    assert sum(row["total_tokens"] for row in await fleet.rows(key)) == 300


class Rush:
    """Thirty-two callers at once of one key. Each that is refused waits as long as it is told, and until it may, and
    asks once more."""

    CALLERS = 32

    def __init__(
        self, fleet: Fleet, model: str, key: str, *, may_retry: asyncio.Event | None = None, **body: Any
    ) -> None:
        self._fleet = fleet
        self._may_retry = may_retry
        self._key = key
        self._body = {"model": model, "messages": HELLO, **body}
        self.first: list[httpx.Response] = []
        self.retries: list[httpx.Response] = []

    async def call(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(CHAT, json=self._body)
        self.first.append(answer)
        if answer.status_code == 429:
            wait = int(answer.headers["retry-after"])
            assert 1 <= wait <= 7
            await asyncio.sleep(wait)
            if self._may_retry is not None:
                await self._may_retry.wait()
            self.retries.append(await client.post(CHAT, json=self._body))

    async def go(self) -> tuple[dict[int, int], dict[int, int]]:
        """The statuses of the first requests and of the retries."""
        async with self._fleet.client(self._key) as client:
            await asyncio.gather(*(self.call(client) for _ in range(self.CALLERS)))
        return statuses(self.first), statuses(self.retries)


async def test_of_32_callers_whoever_obeys_retry_after_passes_as_far_as_the_limit_holds(fleet, upstream, quick):
    """The minute's first requests were made 55 seconds ago, as the ledger says: a full one need not be waited for."""
    output = 30 - prompt_tokens()
    thirty = played(upstream, "thirty at once", says(WORDS, usage=usage(output)))
    roomy, tight = await fleet.new_key(rpm_limit=32), await fleet.new_key(rpm_limit=22)
    tokens = await fleet.new_key(tpm_limit=32 * 30)
    store = await SqlStore.open(fleet.database)
    now = time.time_ns() // 1_000_000
    history = [(roomy, 22, 1), (tight, 12, 1), (tokens, 22, 30)]
    earlier = [past_request(key, number, now - 55_000, used) for key, count, used in history for number in range(count)]
    await store.record(earlier, now=now)
    await store.close()

    found = await asyncio.gather(
        Rush(fleet, quick, roomy).go(),
        Rush(fleet, quick, tight).go(),
        Rush(fleet, thirty, tokens, max_tokens=output).go(),
    )

    assert [*found] == [
        ({200: 10, 429: 22}, {200: 22}),
        ({200: 10, 429: 22}, {200: 12, 429: 10}),
        ({200: 10, 429: 22}, {200: 22}),
    ]


async def test_of_32_callers_in_parallel_whoever_obeys_retry_after_passes_when_places_are_free(fleet, upstream):
    key = await fleet.new_key(max_parallel_requests=22)
    gate, free = Gate(), asyncio.Event()
    rush = Rush(fleet, played(upstream, "slow at first", gate), key, may_retry=free, stream=True)
    rushing = asyncio.create_task(rush.go())
    async with asyncio.timeout(WITHIN_SECONDS):
        while statuses(rush.first).get(429) != 10:
            await asyncio.sleep(0.01)
        gate.open.set()
        while len(rush.first) < Rush.CALLERS:
            await asyncio.sleep(0.01)
    free.set()

    assert await rushing == ({200: 22, 429: 10}, {200: 10})


def past_request(key: str, number: int, moment: int, tokens: int) -> Receipt:
    return Receipt(
        event_id=f"{digest(key)}-{number}", call_id="", key_digest=digest(key), started_at=moment, ended_at=moment,
        operation="chat", path=CHAT, model_group="m", model="m", model_id="id", provider="openai", api_base="",
        http_status=200, status="success", stream=False, usage=Usage(output_tokens=tokens), spend=0,
    )  # fmt: skip


@pytest.mark.parametrize("limited", [{}, {"max_tokens": CALL}], ids=["without max_tokens", "with max_tokens"])
async def test_forty_calls_of_five_cents_spend_fifty_cents_to_the_nano(fleet, quick, limited):
    key = await fleet.new_key(max_budget=0.5)

    answers = await fleet.at_once(key, 40, model=quick, **limited)

    assert statuses(answers) == {200: 10, 422: 30}
    assert {answer.json()["error"]["type"] for answer in answers if answer.status_code == 422} == {"budget_exceeded"}
    assert await fleet.spent(key) == BUDGET
    await fleet.level_becomes(Level(BUDGET, 0), key, Measure.SPEND, Span.WINDOW)


async def test_a_provider_that_breaks_max_tokens_is_booked_in_full_and_nothing_passes_afterwards(fleet, quick):
    """Forty calls of one cent fit; that each answer costs five is the provider's doing, and is known afterwards."""
    key = await fleet.new_key(max_budget=0.5)

    answers = await fleet.at_once(key, 40, model=quick, max_tokens=10)

    admitted = statuses(answers).get(200, 0)
    assert 10 <= admitted <= 40
    assert await fleet.spent(key) == admitted * CALL * TOKEN
    assert statuses(await fleet.at_once(key, 5, model=quick, max_tokens=10)) == {422: 5}


async def test_streams_that_break_max_tokens_are_ended_within_the_budget(fleet, upstream):
    key = await fleet.new_key(max_budget=0.5)
    model = played(upstream, "babbling", says(["word "] * CALL, usage=usage(CALL), pause=0.01))

    body = {"model": model, "messages": HELLO, "max_tokens": 10, "stream": True}
    async with fleet.client(key) as client:
        await asyncio.gather(*(client.post(CHAT, json=body) for _ in range(40)), return_exceptions=True)

    assert BUDGET * 0.8 <= await fleet.spent(key) <= BUDGET
    await fleet.level_becomes(Level(await fleet.spent(key), 0), key, Measure.SPEND, Span.WINDOW)


async def test_a_stream_whose_budget_is_gone_is_told_so_and_its_provider_is_cut_off(fleet, upstream):
    key = await fleet.new_key(max_budget=0.1)
    endless = Endless()
    model = played(upstream, "endless", endless)
    received = []

    with pytest.raises(openai.APIError, match="Budget has been exceeded"):
        async with openai.AsyncOpenAI(api_key=key, base_url=f"{fleet.http}/v1", max_retries=0) as client:
            stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
            async for chunk in stream:
                received.append(chunk)  # noqa: PERF401 - those that come before the error count

    await asyncio.wait_for(endless.cut_off.wait(), WITHIN_SECONDS)
    (row,) = await fleet.rows(key)
    assert 50 <= len(received) <= 101
    assert 80 * TOKEN <= row["spend_nanos"] <= 100 * TOKEN
    await fleet.level_becomes(Level(row["spend_nanos"], 0), key, Measure.SPEND, Span.WINDOW)


class Endless:
    """A provider that goes on until nobody listens."""

    def __init__(self) -> None:
        self.cut_off = asyncio.Event()

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        events, _ = chat_events(asked.document["model"], ["word "], response_id=new_id())
        try:
            await answering.stream_head()
            await answering.chunk(events[0])
            while answering.remains():
                await answering.chunk(events[1])
                await asyncio.sleep(0.005)
        finally:
            self.cut_off.set()
