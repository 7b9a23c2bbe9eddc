"""A user's budget and the keys of a team: counted together, told apart, and not read from the ledger each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from empty_sqlite import opened_sqlite
from stores.samples import NOW, receipt

from extproc.holds import Amounts, Ask, Full, Granted, Level, Limit
from extproc.model import Deployment, Key, Team, Upstream, User
from extproc.policy import limits
from extproc.policy.limits import House
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.reservations import Reservations
from extproc.stores.sql import SqlStore

DEPLOYMENT = Deployment("id", "gpt-4o", "openai", "gpt-4o", Upstream("u", "https", "h", 443, "/v1"), "https://h/v1")
USER = User(id="u", max_budget=1_000, budget_duration="1d")
OWN = Key(digest="own", name="sk-...ours", user_id="u", user=USER)
OF_TEAM = Key(digest="team's", name="sk-...team", user_id="u", user=USER, team_id="t", team=Team(id="t"))


class Counted:
    """Reservations over a real ledger, which says how often it was read."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.reads = 0
        self.counters = MemoryCounters(lambda: NOW)
        self.it = Reservations(
            self.counters, self, now=lambda: NOW, own_clock=False, local=lambda: self.counters,
            scopes_of=limits.scopes,
        )  # fmt: skip

    async def settled(self, limit: Limit, now: int, without: Collection[str]) -> Sequence[tuple[int, int]]:
        self.reads += 1
        return await self.store.settled(limit, now, without)

    async def reserve(self, key: Key, event_id: str, nanos: int) -> Granted | Full:
        return await self.it.reserve(Ask(event_id, met(key), Amounts(1, nanos)))

    async def spend(self, key: Key, event_id: str, nanos: int) -> None:
        assert isinstance(await self.reserve(key, event_id, nanos), Granted)
        await self.it.settle(event_id, Amounts(7, nanos))
        owner: dict[str, Any] = {"key_digest": key.digest, "user_id": key.user_id, "team_id": key.team_id}
        one = receipt(event_id=event_id, spend=nanos, started_at=NOW, **owner)
        await self.it.booked([one], await self.store.record([one], now=NOW))


def met(key: Key) -> tuple[Limit, ...]:
    house = House()
    return limits.of(house, limits.subjects(house, key, DEPLOYMENT, None, ()), "gpt-4o", NOW)


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[Counted]:
    store = await opened_sqlite(tmp_path)
    yield Counted(store)
    await store.close()


async def test_what_is_spent_with_a_teams_key_leaves_the_users_counter_known(counted):
    await counted.spend(OWN, "first", 100)
    for number in range(5):
        await counted.spend(OF_TEAM, f"of the team {number}", 50)
        await counted.spend(OWN, f"own {number}", 10)

    assert counted.reads == 1
    (level,) = await counted.counters.levels(met(OWN))
    assert level == Level(400, 0)


async def test_a_teams_key_goes_on_where_the_users_budget_is_gone_and_their_own_does_not(counted):
    await counted.spend(OWN, "all of it", 1_000)

    assert isinstance(await counted.reserve(OF_TEAM, "team", 500), Granted)
    assert isinstance(await counted.reserve(OWN, "own", 1), Full)
