"""Whether the counters know what the ledger knows: every limit of everybody, compared while the gateway serves.

The ledger trails: what is settled is counted at once and booked a moment later. So a counter is read *between* two
readings of the ledger and agrees when it lies between them; where it does not, all is read again a few times before it
is called drift. A rolling window forgets in steps and by another clock than ours, so the ledger is asked for a little
less than it and for a little more; a request counts when it begins and is booked when it ends, so of requests a counter
may know more. What is held is in no ledger, and only shown. A counter that nobody has asked for is not known, and is
read from the ledger when somebody does: there is nothing to compare.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

import msgspec

from extproc.holds import Level, Limit, Measure, Span
from extproc.model import Budget, UnixMs
from extproc.policy import inventory
from extproc.policy.limits import House, Subject
from extproc.stores.contract import Entities, KeyAdmin, KeyFilter, Page, Rows
from extproc.stores.counters import CounterStore

PAGE = 500
#: Counters that are asked for at a time, and questions to the ledger at the same time.
BATCH, AT_ONCE = 100, 4
ATTEMPTS = 8
PAUSE_SECONDS = 0.5
#: How far clocks may differ, and a step.
SLACK_MS = 2_000


class Truth(Protocol):
    """See `Ledger`."""

    async def settled(self, limit: Limit, now: UnixMs) -> Sequence[tuple[UnixMs, int]]: ...


class Counter(msgspec.Struct, frozen=True):
    """A counter, and for whom and by which settings it limits."""

    limit: Limit
    who: str
    settings: tuple[str, ...]


class Compared(msgspec.Struct, frozen=True):
    """What was found: `level` is `None` for a counter that is not in use; `low` and `high` is what the ledger says."""

    counter: Counter
    level: Level | None
    low: int = 0
    high: int = 0

    @property
    def agrees(self) -> bool:
        if self.level is None:
            return True
        ahead = self.counter.limit.measure is Measure.REQUESTS
        return self.low <= self.level.settled and (ahead or self.level.settled <= self.high)

    @property
    def difference(self) -> int:
        """What the counter has above the ledger; below zero what it lacks."""
        if self.level is None or self.agrees:
            return 0
        return self.level.settled - (self.high if self.level.settled > self.high else self.low)


async def everybody(keys: KeyAdmin, entities: Entities, house: House) -> AsyncIterator[Subject]:
    """Everyone who may have limits."""
    budgets: dict[str | None, Budget] = {row.id: row async for row in _rows(entities.budgets)}
    async for key in _keys(keys):
        yield inventory.of_key(key, budgets.get(key.budget_id))
    teams = [team async for team in _rows(entities.teams)]
    for team in teams:
        yield inventory.of_team(team)
    for start in range(0, len(teams), PAGE):
        for member in await entities.members.of_teams([team.id for team in teams[start : start + PAGE]]):
            yield inventory.of_member(member)
    async for user in _rows(entities.users):
        yield inventory.of_user(user)
    async for end_user in _rows(entities.end_users):
        yield inventory.of_end_user(end_user, budgets.get(end_user.budget_id))
    async for tag in _rows(entities.tags):
        yield inventory.of_tag(tag, budgets.get(tag.budget_id))
    for subject in inventory.of_house(house):
        yield subject


def counters_of(house: House, subject: Subject, now: UnixMs) -> list[Counter]:
    """The counters of a subject that the ledger knows something of."""
    found: dict[str, Counter] = {}
    for limit in inventory.limits_of(house, subject, now):
        if limit.span is not Span.GAUGE:
            known = found.get(limit.counter)
            settings = (*known.settings, limit.setting) if known else (limit.setting,)
            found[limit.counter] = Counter(limit, subject.who, settings)
    return list(found.values())


async def compare(
    counted: Sequence[Counter],
    counters: CounterStore,
    truth: Truth,
    now: Callable[[], UnixMs],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Compared]:
    """Each of these. `progress` is told how many more are done. Raises `StoreUnavailable`."""
    done: list[Compared] = []
    for start in range(0, len(counted), BATCH):
        batch = counted[start : start + BATCH]
        levels = await counters.levels([counter.limit for counter in batch])
        unused = [Compared(counter, None) for counter, level in zip(batch, levels, strict=True) if level is None]
        used = [counter for counter, level in zip(batch, levels, strict=True) if level is not None]
        done += [*unused, *await _compared(used, counters, truth, now)]
        progress(len(batch))
    return done


async def _compared(
    counted: Sequence[Counter], counters: CounterStore, truth: Truth, now: Callable[[], UnixMs]
) -> list[Compared]:
    """Read before, count, read after; again for those that do not lie between."""
    done: list[Compared] = []
    pending = counted
    before = await _read(pending, truth, now())
    for attempt in range(ATTEMPTS):
        if not pending:
            break
        levels = await counters.levels([counter.limit for counter in pending])
        if attempt:
            await asyncio.sleep(PAUSE_SECONDS)
        after = await _read(pending, truth, now())
        found = [
            Compared(counter, level, low, high)
            for counter, level, (low, _), (_, high) in zip(pending, levels, before, after, strict=True)
        ]
        last = attempt == ATTEMPTS - 1
        done += [each for each in found if each.agrees or last]
        again = [place for place, each in enumerate(found) if not each.agrees]
        pending, before = [pending[place] for place in again], [after[place] for place in again]
    return done


async def _read(counted: Sequence[Counter], truth: Truth, now: UnixMs) -> list[tuple[int, int]]:
    """What the ledger says of each: at least and at most."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def total(limit: Limit, moment: UnixMs) -> int:
        async with turn:
            return sum(amount for _, amount in await truth.settled(limit, moment))

    async def bounds(limit: Limit) -> tuple[int, int]:
        if limit.span is Span.WINDOW:
            whole = await total(limit, now)
            return whole, whole
        return await total(limit, now + SLACK_MS), await total(limit, now - SLACK_MS)

    return await asyncio.gather(*(bounds(counter.limit) for counter in counted))


async def _rows(rows: Rows[Any]) -> AsyncIterator[Any]:
    number, found = 1, None
    while found is None or len(found.rows) == PAGE:
        page: Page[Any] = await rows.list({}, page=number, size=PAGE)
        for row in page.rows:
            yield row
        number, found = number + 1, page


async def _keys(keys: KeyAdmin) -> AsyncIterator[Any]:
    number, found = 1, PAGE
    while found == PAGE:
        page = await keys.list(KeyFilter(), page=number, size=PAGE, sort_by="created_at", descending=False)
        for key in page.keys:
            yield key
        number, found = number + 1, len(page.keys)
