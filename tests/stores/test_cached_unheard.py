"""What a cache believes while nobody hears of changes: a second, and longer only of a store that does not answer."""

from __future__ import annotations

import asyncio

import pytest
from stores.test_cached import Clock, Keys, key

from extproc.errors import StoreUnavailable
from extproc.model import EndUser, Tag
from extproc.stores.cached import DEAF_MS, CachedKeys

TTL = 60_000


class Away(Keys):
    """A store that may be away."""

    away = False

    async def find(self, digest):
        self.check()
        return await super().find(digest)

    async def find_end_user(self, end_user):
        self.check()
        return await super().find_end_user(end_user)

    async def find_tags(self, names):
        self.check()
        return await super().find_tags(names)

    def check(self):
        if self.away:
            raise StoreUnavailable("keys", "away")


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.inner = Away("a")
        self.inner.end_users["e"] = EndUser(id="e")
        self.inner.tags["t"] = Tag(name="t")
        self.hears = True
        self.cached = CachedKeys(self.inner, ttl_ms=TTL, size=3, now=self.clock)
        self.cached.trust(lambda: self.hears)

    async def ask(self):
        found = await self.cached.find("a"), await self.cached.find("nobody")
        return *found, await self.cached.find_end_user("e"), await self.cached.find_tags(["t"])

    def change(self):
        self.inner.rows["a"] = key("a", blocked=True)
        self.inner.rows["nobody"] = key("nobody")
        self.inner.end_users["e"] = EndUser(id="e", blocked=True)
        self.inner.tags["t"] = Tag(name="t", spend=1)


BEFORE = (key("a"), None, EndUser(id="e"), (Tag(name="t"),))
AFTER = (key("a", blocked=True), key("nobody"), EndUser(id="e", blocked=True), (Tag(name="t", spend=1),))


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(("hears", "age", "seen"), [
    (True, TTL - 1, BEFORE), (False, DEAF_MS - 1, BEFORE), (False, DEAF_MS, AFTER), (True, TTL, AFTER),
])  # fmt: skip
async def test_an_answer_is_believed_for_a_second_only_while_nobody_hears(world, hears, age, seen):
    await world.ask()
    world.change()
    world.hears, world.clock.now = hears, age

    assert await world.ask() == seen


async def test_what_was_asked_a_moment_ago_is_not_asked_again_though_nobody_hears(world):
    world.hears = False
    await world.ask()
    world.clock.now = DEAF_MS - 1
    await world.ask()

    assert world.inner.asked == 2


async def test_while_the_store_is_away_too_an_answer_serves_until_its_time_is_over(world):
    await world.ask()
    world.hears, world.inner.away = False, True
    world.clock.now = TTL - 1
    assert await world.ask() == BEFORE

    world.clock.now = TTL
    for question in (
        world.cached.find("a"),
        world.cached.find("nobody"),
        world.cached.find_end_user("e"),
        world.cached.find_tags(["t"]),
    ):
        with pytest.raises(StoreUnavailable):
            await question


async def test_nobody_waits_for_a_store_that_was_away_a_moment_ago_and_its_return_is_noticed(world):
    await world.ask()
    world.hears, world.inner.away, world.clock.now = False, True, DEAF_MS
    assert await world.cached.find("a") == key("a")
    world.inner.away = False
    world.inner.gate.clear()
    world.change()

    assert await world.cached.find("a") == key("a")  # at once, though the store has not answered yet

    world.inner.gate.set()
    while world.cached._asking:
        await next(iter(world.cached._asking.values()))
    assert (await world.cached.find("a")).blocked is True


async def test_the_time_of_an_answer_begins_with_its_question(world):
    world.hears = False
    world.inner.gate.clear()
    asked = asyncio.create_task(world.cached.find("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    world.clock.now = DEAF_MS
    world.inner.gate.set()
    await asked
    world.change()

    assert (await world.cached.find("a")).blocked is True
