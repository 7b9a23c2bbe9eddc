"""Old rows of the ledger go, a few at a time; what limits, budgets and reports know of them stays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, text
from stores.samples import NOW, key, receipt

from extproc.holds import Limit, Measure, Scope, Span
from extproc.model import Allowance
from extproc.policy import windows
from extproc.stores.contents import SealedContent
from extproc.stores.spending import LogFilter, SumFilter
from extproc.stores.sql import SqlStore
from extproc.stores.sql_retention import Retention, purge, purge_until_cancelled
from extproc.stores.tables import ledger_tags

DAY = 86_400_000


def retention(**changes: Any) -> Retention:
    plain: dict[str, Any] = {
        "keep_ms": 30 * DAY, "interval_ms": DAY, "everybody": Allowance(), "most_ms": windows.most_ms,
        "now": lambda: NOW, "report": lambda _rows, _at: None, "batch": 3, "pause_seconds": 0,
    }  # fmt: skip
    return Retention(**{**plain, **changes})


async def book(store: SqlStore, *days: float, **fields: Any) -> None:
    """A receipt so many days old each, its id the number of the days."""
    moments = {day: NOW - int(day * DAY) for day in days}
    await store.record(
        [receipt(event_id=f"e{day}", started_at=at, ended_at=at, **fields) for day, at in moments.items()], now=NOW
    )


async def kept(store: SqlStore) -> list[str]:
    found = await store.log_page(LogFilter(), page=1, size=100, sort_by="started_at", descending=True)
    return [row.receipt.event_id for row in found]


async def test_what_is_older_goes_and_what_is_younger_stays(store):
    await book(store, 1, 29, 31, 40, 50, 60, 70, 80, 90, tags=("x",))
    told: list[tuple[int, int]] = []

    await store.contents.keep([SealedContent(event_id, NOW, "x") for event_id in ("e1", "e31", "e90")])
    assert await purge(store.database, retention(report=lambda rows, at: told.append((rows, at)))) == 7
    assert list(await store.contents.sealed_of(["e1", "e31", "e90"])) == ["e1"]
    assert await kept(store) == ["e1", "e29"]
    assert told == [(7, NOW)]
    async with store.database.reading() as connection:
        tagged = select(ledger_tags.c.event_id).order_by(ledger_tags.c.event_id)
        assert [*(await connection.execute(tagged)).scalars()] == ["e1", "e29"]


async def test_a_row_is_as_old_as_its_end(store):
    await store.record([receipt(event_id="long", started_at=NOW - 31 * DAY, ended_at=NOW - 29 * DAY)], now=NOW)

    assert await purge(store.database, retention()) == 0
    assert await kept(store) == ["long"]


async def test_spend_and_sums_by_day_outlive_the_rows(store):
    made = await store.create(key())
    await book(store, 1, 40, 50, key_digest=made.digest, tags=("x",))

    assert await purge(store.database, retention()) == 2

    for by in ((), ("tag",)):
        [found] = await store.sums(by, SumFilter(), limit=9)
        assert (found.spend, found.successful_requests) == (21, 3)
    assert (await store.find(made.digest)).spend == 21


@pytest.mark.parametrize(
    "scope",
    [
        Scope("global", ""), Scope("model", "gpt-4o"), Scope("api_key", "digest"), Scope("tag", "x"),
        Scope("model_per_key", "digest:gpt-4o"), Scope("team_member", "u:t"), Scope("model_per_team", "t:gpt-4o"),
    ],
    ids=lambda scope: scope.kind,
)  # fmt: skip
async def test_an_endless_budget_counts_what_was_purged(store, scope):
    await book(store, 1, 40, 50, user_id="u", team_id="t", tags=("x",))
    endless = Limit(scope, Measure.SPEND, Span.WINDOW, 1)

    await purge(store.database, retention())

    assert [*await store.settled(endless, NOW)] == [(NOW, 21)]
    assert [*await store.settled(endless, NOW, {"e1", "unknown"})] == [(NOW, 14)]


@pytest.mark.parametrize(
    "budget",
    [
        {"budget_duration": "90d"},
        {"budget_duration": "3mo"},
        {"model_max_budget": {"m": (5, None), "n": (5, "90d")}},
        {"budget_limits": (("1d", 5), ("90d", 9))},
    ],
    ids=["days", "months", "of a model", "one of several"],
)
async def test_no_row_goes_that_an_open_window_counts(store, budget):
    await store.create(key(max_budget=9, **budget))
    await book(store, 40, 90, 93, 101)

    assert await purge(store.database, retention()) == 1
    assert await kept(store) == ["e40", "e90", "e93"]


async def test_the_window_of_all_requests_together_counts_too(store):
    await book(store, 40)

    assert await purge(store.database, retention(everybody=Allowance(budget_duration="60d"))) == 0
    assert await purge(store.database, retention(everybody=Allowance(budget_limits=(("60d", 1),)))) == 0
    assert await purge(store.database, retention()) == 1


async def test_the_last_two_days_stay_however_short_the_time(store):
    await book(store, 1.9, 2.1)

    assert await purge(store.database, retention(keep_ms=1_000)) == 1
    assert await kept(store) == ["e1.9"]


async def test_two_who_purge_at_once_purge_each_row_once(store):
    await book(store, *range(40, 70))
    other = await SqlStore.open(await _url(store))
    told: list[int] = []
    watched = retention(report=lambda rows, _: told.append(rows))
    try:
        purged = await asyncio.gather(*(purge(each.database, watched) for each in (store, other)))
        rest = await purge(store.database, watched)
    finally:
        await other.close()

    assert sum(purged) + rest == 30
    assert await kept(store) == []


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
async def test_whoever_has_the_lock_purges_alone(store):
    """SQLite has one writer, and one process."""
    await book(store, 40)
    told: list[int] = []
    async with store.database.writing() as holding:
        await holding.execute(text("SELECT pg_advisory_xact_lock(7240583120)"))
        assert await purge(store.database, retention(report=lambda rows, _: told.append(rows))) == 0

    assert await kept(store) == ["e40"]
    assert told == []


async def test_purging_begins_at_once_and_again_after_the_interval(store):
    await book(store, 40)
    runs: asyncio.Queue[int] = asyncio.Queue()
    watched = retention(interval_ms=1, report=lambda rows, _: runs.put_nowait(rows))
    work = asyncio.create_task(purge_until_cancelled(store.database, watched))
    try:
        assert await asyncio.wait_for(runs.get(), 20) == 1
        await book(store, 41)
        while not await asyncio.wait_for(runs.get(), 20):
            pass
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    assert await kept(store) == []


async def _url(store: SqlStore) -> str:
    async with store.database.reading() as connection:
        return connection.engine.url.render_as_string(hide_password=False)
