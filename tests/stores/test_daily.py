"""The sums by day are those of the ledger, whatever is booked and however often."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from stores.samples import NOW, fresh, receipt
from stores.test_migrations import LEDGER, at_step

from extproc.model import Receipt, Usage
from extproc.stores.spending import SumFilter
from extproc.stores.sql import SqlStore
from extproc.stores.tables import ledger
from extproc.stores.tables_spend import daily_spend

_DAY = 86_400_000
_amounts = st.integers(0, 10**12)
_traces = st.lists(
    st.lists(
        st.builds(
            lambda number, day, user, status, spend, tokens, tags: {
                "event_id": f"e{number}", "started_at": NOW + day * _DAY, "user_id": user, "status": status,
                "spend": spend, "usage": Usage(input_tokens=tokens, output_tokens=1), "tags": tuple(tags),
            },
            st.integers(0, 8), st.integers(-2, 2), st.sampled_from([None, "u", "\u00fc"]),
            st.sampled_from(["success", "failure"]), st.none() | _amounts, _amounts,
            st.lists(st.sampled_from("ab"), max_size=3),
        ),
        max_size=6,
    ),
    max_size=4,
)  # fmt: skip


def _expected(booked: list[Receipt]) -> Counter[tuple[Any, ...]]:
    total: Counter[tuple[Any, ...]] = Counter()
    for one in booked:
        day = one.started_at // _DAY
        total[day, one.user_id, "spend"] += one.spend or 0
        total[day, one.user_id, "tokens"] += one.usage.input_tokens
        total[day, one.user_id, one.status] += 1
        for tag in set(one.tags):
            total[(tag,)] += one.spend or 0
    return +total


async def _found(store: SqlStore, digest: str) -> Counter[tuple[Any, ...]]:
    wanted = SumFilter(among={"key_digest": (digest,)})
    total: Counter[tuple[Any, ...]] = Counter()
    for one in await store.sums(("day", "user_id"), wanted, limit=100):
        day = _day_number(one.by[0])
        total[day, one.by[1], "spend"] += one.spend
        total[day, one.by[1], "tokens"] += one.input_tokens
        total[day, one.by[1], "success"] += one.successful_requests
        total[day, one.by[1], "failure"] += one.failed_requests
    for one in await store.sums(("tag",), wanted, limit=100):
        total[(one.by[0],)] += one.spend
    return +total


def _day_number(written: str | None) -> int:
    assert written is not None
    return (date.fromisoformat(written) - date(1970, 1, 1)).days


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=_traces)
async def test_days_add_up_to_the_ledger_whatever_is_booked_and_booked_again(store, batches):
    digest = fresh("digest")
    first: dict[str, Receipt] = {}
    for batch in batches:
        receipts = [receipt(**{**one, "event_id": digest + one["event_id"], "key_digest": digest}) for one in batch]
        await store.record(receipts, now=NOW)
        for one in receipts:
            first.setdefault(one.event_id, one)

    assert await _found(store, digest) == _expected([*first.values()])


async def test_a_sum_that_no_column_holds_stops_at_the_largest(store):
    for _ in range(2):
        await store.record([receipt(spend=2**53 - 1) for _ in range(600)], now=NOW)

    [one] = await store.sums((), SumFilter(), limit=1)
    assert (one.spend, one.successful_requests) == (2**63 - 1, 1_200)


async def test_the_days_of_rows_that_were_booked_before_are_filled(bare_url):
    async with at_step(bare_url, "0004") as connection:
        for event, moment in (("a", NOW), ("b", NOW + 1), ("c", NOW + _DAY)):
            statement = LEDGER.format(event=event, moment=moment, tags='["x"]')
            await connection.execute(text(statement.replace(":", "\\:")))
            await connection.execute(
                text(f"INSERT INTO ledger_tags VALUES ('x', {moment}, '{event}', {moment}, 7, 13)")
            )
    store = await SqlStore.open(bare_url)
    before = await store.sums(("day", "tag"), SumFilter(), limit=5)
    assert [(one.spend, one.successful_requests, one.input_tokens) for one in before] == [(14, 2, 20), (7, 1, 10)]

    like = {
        "key_digest": "d", "user_id": "u", "team_id": "t", "end_user": "e", "model_group": "g", "model": "m",
        "provider": "openai", "started_at": NOW,
    }  # fmt: skip
    await store.record([receipt(**like)], now=NOW)
    async with store.database.reading() as connection:
        rows = await connection.scalar(select(func.count()).select_from(daily_spend))
        booked = await connection.scalar(select(func.sum(ledger.c.spend)))
    assert rows == 2, "a new receipt is added to the row that the migration made"
    assert sum(one.spend for one in await store.sums(("day",), SumFilter(), limit=5)) == booked
    await store.close()
