"""A counter store that does not answer is not asked for a while, and its edges are told once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from extproc.errors import StoreUnavailable
from extproc.stores.guarded_counters import LONGEST_PAUSE_MS, PAUSE_MS, Guard, GuardedCounters


class Store:
    """Answers, fails, or hangs."""

    def __init__(self) -> None:
        self.asked = 0
        self.mood = "answers"

    async def settle(self, event_id: str) -> str:
        self.asked += 1
        if self.mood == "fails":
            raise StoreUnavailable("counters", "gone")
        if self.mood == "hangs":
            await asyncio.Event().wait()
        return event_id


class World:
    def __init__(self) -> None:
        self.moment = 1_000
        self.edges: list[bool] = []
        self.store = Store()
        self.guard = Guard(deadline_ms=20, now=lambda: self.moment, report=lambda _, up: self.edges.append(up))
        self.counters: Any = GuardedCounters(self.store, self.guard)

    async def asks(self) -> bool:
        try:
            await self.counters.settle("e")
        except StoreUnavailable:
            return False
        return True


async def test_an_answer_passes_through():
    assert await World().counters.settle("e") == "e"


async def test_a_store_that_hangs_is_unavailable_after_the_deadline():
    world = World()
    world.store.mood = "hangs"

    with pytest.raises(StoreUnavailable, match="no answer within"):
        await world.counters.settle("e")


async def test_after_a_failure_nobody_asks_for_a_while_and_then_one_does():
    world = World()
    world.store.mood = "fails"
    await world.asks()
    assert [await world.asks() for _ in range(10)] == [False] * 10
    assert world.store.asked == 1

    world.moment += PAUSE_MS
    world.store.mood = "hangs"
    answers = await asyncio.gather(*(world.asks() for _ in range(10)))

    assert answers == [False] * 10
    assert world.store.asked == 2


async def test_the_pause_grows_up_to_a_bound():
    world = World()
    world.store.mood = "fails"
    for _ in range(30):
        await world.asks()
        world.moment += LONGEST_PAUSE_MS

    assert world.store.asked == 30


async def test_edges_are_told_once(caplog):
    world = World()
    caplog.set_level(logging.INFO)
    for mood in ("answers", "fails", "fails", "hangs", "answers", "answers"):
        world.store.mood = mood
        world.moment += LONGEST_PAUSE_MS * 2
        await world.asks()

    assert world.edges == [True, False, True]
    assert [record.message for record in caplog.records] == ["store_down", "store_up"]
    assert world.guard.up
