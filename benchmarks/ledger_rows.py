"""A ledger of many rows in a real PostgreSQL: what each question of the management API takes, what booking takes, and
how long it takes to erase a person.

Rows are made by the server itself (`generate_series`), in batches; indexes other than the primary key are made after
them, which takes a fraction of the time. Each question is asked three times; the slowest counts. An erasure is one
`DELETE /user/delete` with all that it does, beside a trail of changes that name others.

    python -m benchmarks.ledger_rows --rows 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from management.conftest import AUDIT_KEY, Gateway
from running_postgres import fresh_database, server
from stores.samples import receipt

from extproc.management import persons
from extproc.stores.spending import LogFilter, SumFilter
from extproc.stores.sql import SqlStore

_DAY = 86_400_000
#: Thirty days up to here.
_END = 1_763_900_000_000
_BATCH = 100_000
_RUNS = 3
_INSERT = """
INSERT INTO ledger SELECT
    'event-' || lpad(n::text, 12, '0'), {begin} + n * {step}, 'call-' || n, 'resp-' || n, 'key-' || n % 1000, NULL,
    {user}, 'team-' || n % 50, NULL, 'end-' || n % 5000, {begin} + n * {step}, NULL,
    {begin} + n * {step} + 900, 'acompletion', '/v1/chat/completions', 'model-' || n % 20, 'model-' || n % 20, 'id',
    'openai', 'https://api.openai.com/v1', 200, CASE n % 50 WHEN 0 THEN 'failure' ELSE 'success' END,
    false, false, false, 1000 + n % 7, 100, 50, 0, 0, 0, 0, 0, '', 'python', '[]', '{{}}'
FROM generate_series({first}::bigint, {last}::bigint) AS n
"""
_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'ledger' AND indexname NOT LIKE 'pk_%'"
#: The days of those rows; the ids need only be distinct here.
_DAILY = """
INSERT INTO daily_spend SELECT md5(row(day, key_digest, user_id, team_id, end_user, model_group)::text), day,
    key_digest, user_id, team_id, NULL, end_user, model_group, model_group, 'openai', ok, failed, 100 * (ok + failed),
    50 * (ok + failed), 0, 0, spend
FROM (
    SELECT started_at / 86400000 AS day, key_digest, user_id, team_id, end_user, model_group,
        count(*) FILTER (WHERE status = 'success') AS ok, count(*) FILTER (WHERE status <> 'success') AS failed,
        sum(spend) AS spend
    FROM ledger GROUP BY 1, 2, 3, 4, 5, 6
) AS summed
"""


#: Changes by others and of others.
_TRAIL = """
INSERT INTO audit SELECT n, 'entry-' || n, {begin}, 'admin', 'd-admin', '198.51.100.1', 'updated',
    'LiteLLM_VerificationToken', md5(n::text), '{{"rpm_limit":1}}', '{{"key_alias":"key-' || n || '","rpm_limit":2}}',
    '', 'k', '{{}}', ''
FROM generate_series(1, {entries}) AS n
"""
_ENTRIES = 100_000
#: Of whom one in 500 is not: an ordinary user, and one who used a fiftieth of it all.
_ORDINARY = 1_600


async def _fill(database: str, rows: int) -> None:
    step = max(1, 30 * _DAY // rows)
    found = await server().execute(_INDEXES, database)
    for name, _ in found:
        await server().execute(f"DROP INDEX {name}", database)
    for first in range(1, rows + 1, _BATCH):
        last = min(first + _BATCH - 1, rows)
        await server().execute(_rows(step, first, last, "'user-' || n % 500"), database)
        print(f"\r{last:>12,} of {rows:,} rows", end="", flush=True)
    print()
    ordinary = rows + _ORDINARY
    await server().execute(_rows(step, rows + 1, ordinary, "'ordinary'"), database)
    await server().execute(_rows(step, ordinary + 1, ordinary + _heavy(rows), "'heavy'"), database)
    await server().execute(_TRAIL.format(begin=_END, entries=_ENTRIES), database)
    await server().execute(f"UPDATE audit_head SET seq = {_ENTRIES}", database)
    for name, made in found:
        print(f"{name}", flush=True)
        await server().execute(made, database)
    await server().execute(_DAILY, database)
    await server().execute("ANALYZE", database)


def _heavy(rows: int) -> int:
    return max(_ORDINARY, rows // 50)


def _rows(step: int, first: int, last: int, user: str) -> str:
    return _INSERT.format(begin=_END - 30 * _DAY, step=step, first=first, last=last, user=user)


def _questions(store: SqlStore, rows: int) -> dict[str, Callable[[], Awaitable[object]]]:
    since = _END - 7 * _DAY
    month = SumFilter(first="2025-10-20", last="2025-11-25")

    def page(number: int = 1, **wanted: object) -> Callable[[], Awaitable[object]]:
        chosen = LogFilter(**wanted)  # type: ignore[arg-type]
        return lambda: store.log_page(chosen, page=number, size=100, sort_by="started_at", descending=True)

    return {
        "newest page": page(),
        "deepest page that is shown": page(1_000),
        "count, as far as it goes": lambda: store.log_count(LogFilter(), most=100_000),
        "a key's page, a week": page(key_digest="key-7", since=since, before=_END),
        "a user's page": page(user_id="user-7"),
        "a request id": page(request_id=f"resp-{rows // 2}"),
        "a model's page": page(model_group="model-7"),
        "an end user's page": page(end_user="end-7"),
        "report of 30 days by team": lambda: store.sums(("day", "team_id", "model"), month, limit=50_000),
        "activity of 30 days, one user": lambda: store.sums(
            ("day", "user_id", "model", "model_group", "provider", "key_digest"),
            SumFilter(first=month.first, last=month.last, among={"user_id": ("user-7",)}),
            limit=50_000,
        ),
        "sum of everything": lambda: store.sums((), SumFilter(), limit=1),
        "dearest keys of 30 days": lambda: store.sums(("key_digest",), month, limit=100, dearest_first=True),
    }


async def _slowest(ask: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    times = []
    for _ in range(_RUNS):
        begun = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - begun) * 1_000)
    return max(times)


async def _booked_per_second(store: SqlStore) -> float:
    """Rows per second of `record()`, in batches of 100 of fifty keys."""
    batches = [[receipt(key_digest=f"key-{n % 50}", started_at=_END) for n in range(100)] for _ in range(20)]
    begun = time.perf_counter()
    for batch in batches:
        await store.record(batch, now=_END)
    return 2_000 / (time.perf_counter() - begun)


async def _erased(store: SqlStore, name: str) -> tuple[float, int]:
    """Seconds of one `DELETE /user/delete` of a user with one key, and how many rows of the ledger it changed."""
    gateway = Gateway(store)
    gateway.app.state.erasures = persons.Erasures(seconds=24 * 3_600)
    async with gateway.caller() as admin:
        made = await admin.post("/user/new", json={"user_id": name, "user_email": f"{name}@people.example"})
        made.raise_for_status()
        begun = time.perf_counter()
        answer = await admin.request("DELETE", "/user/delete", json={"user_id": name})
    answer.raise_for_status()
    return time.perf_counter() - begun, answer.json()["removed"]["ledger"]


async def _measure(rows: int) -> None:
    async with fresh_database() as url:
        store = await SqlStore.open(url, audit_key=AUDIT_KEY)
        try:
            print(f"booking into an empty ledger: {await _booked_per_second(store):,.0f} rows/s")
            await _fill(url.rpartition("/")[2], rows)
            print(f"booking into {rows:,} rows: {await _booked_per_second(store):,.0f} rows/s")
            for name, ask in _questions(store, rows).items():
                print(f"{name:<32} {await _slowest(ask):>10,.1f} ms", flush=True)
            for name in ("ordinary", "heavy"):
                seconds, changed = await _erased(store, name)
                print(f"erasing a user of {changed:>9,} rows {seconds * 1_000:>12,.1f} ms", flush=True)
        finally:
            await store.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=10_000_000)
    asyncio.run(_measure(parser.parse_args().rows))


if __name__ == "__main__":
    main()
