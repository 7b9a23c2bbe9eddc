"""Counters that know what the ledger knows agree, whatever is under way; one that does not is called by its name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from empty_sqlite import opened_sqlite
from running_redis import running_redis
from stores.samples import key, receipt

from extproc import verification
from extproc.holds import Amounts, Ask, Level
from extproc.model import Allowance, Budget, EndUser, Key, Membership, Receipt, Tag, Team, User
from extproc.policy import inventory, limits
from extproc.policy.limits import House
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.counters_redis import RedisCounters
from extproc.stores.reservations import Reservations
from extproc.stores.sql import SqlStore

HOUSE = House(everybody=Allowance(tpm_limit=1_000_000))


def now() -> int:
    return time.time_ns() // 1_000_000


class World:
    """A ledger, counters in Redis, and one process that uses both."""

    def __init__(self, store: SqlStore, counters: RedisCounters) -> None:
        self.store = store
        self.counters = counters
        self.reservations = Reservations(
            counters, store, now=now, own_clock=True, local=lambda: MemoryCounters(now), scopes_of=limits.scopes
        )

    async def reserve(self, one: Receipt, who: Key) -> None:
        """An exchange of this key is under way."""
        met = [limit for subject in (inventory.of_key(who, None), *inventory.of_house(HOUSE)) for limit in
               inventory.limits_of(HOUSE, subject, now())]  # fmt: skip
        await self.reservations.reserve(Ask(one.event_id, tuple(met), Amounts(one.usage.total_tokens, one.spend or 0)))

    async def settle(self, one: Receipt) -> None:
        await self.reservations.settle(one.event_id, Amounts(one.usage.total_tokens, one.spend or 0))

    async def book(self, one: Receipt) -> None:
        await self.reservations.booked([one], await self.store.record([one], now=now()))

    async def verify(self) -> list[verification.Compared]:
        counted = [
            counter
            async for subject in verification.everybody(self.store, self.store, HOUSE)
            for counter in verification.counters_of(HOUSE, subject, now())
        ]
        return await verification.compare(counted, self.counters, self.store, now)

    async def drift(self) -> dict[tuple[str, ...], int]:
        return {each.counter.settings: each.difference for each in await self.verify() if not each.agrees}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(verification, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(verification, "ATTEMPTS", 3)


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    with running_redis() as redis:
        store = await opened_sqlite(tmp_path)
        counters = RedisCounters(redis.url, deadline_ms=10_000)
        yield World(store, counters)
        await counters.close()
        await store.close()


async def made(world: World, **fields) -> Key:
    return await world.store.create(key(**fields))


def exchange(who: Key, **fields) -> Receipt:
    return receipt(key_digest=who.digest, started_at=now(), ended_at=now(), **fields)


async def test_whatever_was_booked_agrees_and_what_is_held_stands_beside(world):
    who = await made(world, max_budget=1_000, rpm_limit=100, tpm_limit=1_000)
    for _ in range(3):
        one = exchange(who)
        await world.reserve(one, who)
        await world.settle(one)
        await world.book(one)
    await world.reserve(exchange(who, spend=50), who)

    found = {each.counter.settings: each for each in await world.verify()}

    assert all(each.agrees for each in found.values())
    assert found["max_budget",].level == Level(21, 50)
    assert found["tpm_limit",].level == Level(21, 7)
    assert (found["rpm_limit",].level, found["rpm_limit",].high) == (Level(4, 0), 3)


async def test_a_counter_that_nobody_asked_for_is_not_in_use(world):
    await made(world, max_budget=1_000)
    await world.store.record([receipt(spend=9)], now=now())

    assert [each.level for each in await world.verify()] == [None, None]


@pytest.mark.parametrize(("unheard", "difference"), [("the ledger", 7), ("the counters", -7)])
async def test_what_only_one_of_them_knows_is_drift(world, unheard, difference):
    who = await made(world, max_budget=1_000)
    first, second = exchange(who), exchange(who)
    for one in (first, second):
        await world.reserve(one, who)
        await world.settle(one)
    await world.book(first)
    if unheard == "the counters":
        third = exchange(who)
        await world.book(second)
        await world.store.record([third], now=now())

    assert await world.drift() == {("max_budget",): difference, ("tpm_limit",): difference}


async def test_what_is_booked_while_it_looks_is_no_drift(world):
    who = await made(world, max_budget=1_000)
    one = exchange(who)
    await world.reserve(one, who)
    await world.settle(one)

    verifying = asyncio.create_task(world.drift())
    await asyncio.sleep(0.02)
    await world.book(one)

    assert await verifying == {}


async def test_everybody_who_may_have_limits_is_looked_at(world, monkeypatch):
    """In pages of one, so that every page is turned."""
    monkeypatch.setattr(verification, "PAGE", 1)
    store = world.store
    for number in range(3):
        await made(world, rpm_limit=number + 1, budget_id="b")
    await store.budgets.create(Budget(id="b", max_budget=5))
    await store.teams.create(Team(id="t", max_budget=5))
    await store.members.add([Membership(user_id="u", team_id="t", max_budget=5)])
    await store.users.create(User(id="u", max_budget=5))
    await store.end_users.create(EndUser(id="e", budget_id="b"))
    await store.tags.create(Tag(name="w", tpd_limit=5))

    found = [
        (counter.limit.scope.kind, *counter.settings)
        async for subject in verification.everybody(store, store, HOUSE)
        for counter in verification.counters_of(HOUSE, subject, now())
    ]

    assert sorted(found) == sorted([
        *[("api_key", "max_budget"), ("api_key", "rpm_limit")] * 3, ("team", "max_budget"),
        ("team_member", "max_budget"), ("user", "max_budget"), ("end_user", "max_budget"), ("tag", "tpd_limit"),
        ("global", "tpm_limit"),
    ])  # fmt: skip
