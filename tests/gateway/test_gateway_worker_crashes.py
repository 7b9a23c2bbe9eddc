"""A worker that is killed takes its own open streams with it, and nothing else: not one request, not one nano."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from gateway.receiving import BROKEN, Receiving
from gateway.running_fleet import WITHIN_SECONDS, WORKERS, Fleet, played, running_fleet, usage
from gateway.running_gateway import CHAT, HELLO
from gateway.scripted_upstream import WORDS, Gate, ScriptedUpstream, says
from gateway.server_processes import Nursery

from extproc.holds import Level, Measure, Span
from extproc.stores.counters import BOOKING_MS

STREAMS = 12


@pytest.fixture(scope="module")
async def fleet(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Fleet]:
    """A worker that is not heard of for three seconds is taken for dead."""
    async with running_fleet(nursery, upstream, counter_lease_ms=3_000) as found:
        yield found


async def open_streams(fleet: Fleet) -> list[int]:
    """How many exchanges each worker has in flight, as soon as all streams are."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while True:
            gauges = [await fleet.gauges(worker) for worker in range(WORKERS)]
            found = [int(gauge["extproc_exchanges_in_flight"]) for gauge in gauges]
            if sum(found) == STREAMS:
                return found
            await asyncio.sleep(0.02)


async def test_only_its_own_streams_are_cut_and_each_is_booked_once_by_what_it_held(fleet, upstream):
    key = await fleet.new_key(max_parallel_requests=100, max_budget=1_000, tpm_limit=10_000_000)
    gate = Gate()
    held, quick = played(upstream, "held", gate), played(upstream, "quick", says(WORDS, usage=usage(50)))
    async with fleet.client(key) as client:
        streams = [Receiving(client, held) for _ in range(STREAMS)]
        counts = await open_streams(fleet)
        victim = counts.index(max(counts))
        load = Load(client, quick)
        await load.until(40)
        await fleet.kill(victim)
        killed_at = load.begun
        await load.until(killed_at + 100)
        await load.end()
        await until_cut(streams, counts[victim])
        gate.open.set()
        await asyncio.gather(*(stream.task for stream in streams))

    assert sum(stream.complete for stream in streams) == STREAMS - counts[victim]
    assert {load.statuses[number] for number in range(killed_at, load.begun)} == {200}
    answered = [*load.statuses.values()].count(200) + STREAMS - counts[victim]
    await fleet.start(victim)
    await fleet.level_becomes(Level(0, 0), key, Measure.PARALLEL, Span.GAUGE)
    # An answer that was counted, but not yet on disk when the worker was killed, is booked when its time is over.
    await fleet.reconciles(key, quick, BOOKING_MS / 1_000 + WITHIN_SECONDS)
    rows = await fleet.rows(key)
    cut = {row["event_id"] for row in rows if row["metadata"]["cut"]}
    assert len({row["event_id"] for row in rows}) == len(rows)
    async with asyncio.timeout(WITHIN_SECONDS):
        while {line["event_id"] for line in fleet.lines("orphan_booked")} != cut:
            await asyncio.sleep(0.05)
    assert counts[victim] <= len(cut) <= counts[victim] + Load.AT_ONCE
    assert answered <= len(rows) - len(cut) <= answered + Load.AT_ONCE
    assert {row["metadata"]["estimated"] for row in rows if row["metadata"]["cut"]} == {True}


class Load:
    """Quick requests, so many at a time and one after the other. `statuses` are by their number; 0 is a cut answer."""

    AT_ONCE = 8

    def __init__(self, client: httpx.AsyncClient, model: str) -> None:
        self.begun = 0
        self.statuses: dict[int, int] = {}
        self._client = client
        self._body = {"model": model, "messages": HELLO}
        self._ending = False
        self._tasks = [asyncio.create_task(self._go_on()) for _ in range(self.AT_ONCE)]

    async def until(self, begun: int) -> None:
        async with asyncio.timeout(WITHIN_SECONDS):
            while self.begun < begun:
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)

    async def _go_on(self) -> None:
        while not self._ending:
            number, self.begun = self.begun, self.begun + 1
            self.statuses[number] = 0
            with contextlib.suppress(*BROKEN):
                self.statuses[number] = (await self._client.post(CHAT, json=self._body)).status_code


async def until_cut(streams: list[Receiving], count: int) -> None:
    """So many streams have broken off."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while sum(stream.task.done() for stream in streams) < count:
            await asyncio.sleep(0.02)
