"""A worker purges old rows of the ledger by itself, and says so."""

from __future__ import annotations

import asyncio
import time

from cli.test_serve import WITHIN_SECONDS, serving
from stores.samples import receipt

from extproc.stores.contract import SpendFilter
from extproc.stores.sql import SqlStore

DAY = 86_400_000


async def test_a_worker_purges_what_is_older_than_the_configuration_says(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "config.yaml").write_text(
        "general_settings: {log_retention_days: 30}\nlitellm_settings: {require_auth_for_metrics_endpoint: false}\n"
    )
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/data/extproc.db")
    now = time.time_ns() // 1_000_000
    moments = {f"e{days}": now - days * DAY for days in (29, 31, 400)}
    await store.record([receipt(event_id=name, started_at=at, ended_at=at) for name, at in moments.items()], now=now)

    async with serving(tmp_path, "--config", "config.yaml") as server:
        await server.until_serving()
        async with asyncio.timeout(WITHIN_SECONDS):
            while "extproc_ledger_purged_rows_total 2.0" not in (told := (await server.ask("/metrics")).text):
                await asyncio.sleep(0.02)
            while '"ledger_purged"' not in server.wrote("err"):
                await asyncio.sleep(0.02)

    assert [row.receipt.event_id for row in await store.rows(SpendFilter(), limit=9)] == ["e29"]
    await store.close()
    assert "extproc_ledger_purged_at_seconds 1" in told
    assert server.wrote("err").count('"ledger_purged"') == 1
