"""An import from beginning to end: what is read, in which order, and what is told of it.

Receipts come first: booking one adds to what everybody it names has spent, and the rows that follow bring the sums of
LiteLLM, which hold it already. So it does not matter how often an import is run, nor when.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from extproc.importing import receipts
from extproc.importing.notes import Notes
from extproc.importing.source import NOT_TAKEN, Source
from extproc.importing.translation import Row, Translation
from extproc.model import UnixMs
from extproc.stores.contract import Ledger
from extproc.stores.sql_imports import SqlImports, Written

#: What is told while it goes on: the kind, how many rows there are, and how many more are done.
Progress = Callable[[str, int, int], None]
Translated = Callable[[Row], Iterable[msgspec.Struct]]


class Imported(msgspec.Struct):
    """What came of an import: rows by kind, and remarks."""

    rows: dict[str, Written]
    notes: Notes


class Import:
    """One run. `since` is the oldest moment of which spend is read, `None` for no spend at all."""

    def __init__(
        self,
        source: Source,
        target: SqlImports,
        ledger: Ledger,
        *,
        now: UnixMs,
        since: datetime | None,
        progress: Progress,
        dry_run: bool = False,
    ) -> None:
        self._source = source
        self._target = target
        self._ledger = ledger
        self._now = now
        self._since = since
        self._progress = progress
        self._dry_run = dry_run
        self._translation = Translation(now)

    async def run(self) -> Imported:
        """Read everything and write it. Raises `StoreUnavailable`; what was written until then stays."""
        rows = {}
        if self._since is not None:
            rows["spend rows"] = await self._spend(self._since)
        each = self._translation
        rows["budgets"] = await self._table("budgets", "LiteLLM_BudgetTable", lambda row: [each.budget(row)])
        rows |= await self._teams()
        rows["users"] = await self._table("users", "LiteLLM_UserTable", lambda row: [each.user(row)])
        rows["customers"] = await self._table("end_users", "LiteLLM_EndUserTable", lambda row: [each.end_user(row)])
        rows["tags"] = await self._table("tags", "LiteLLM_TagTable", lambda row: [each.tag(row)])
        rows["keys"] = await self._table("keys", "LiteLLM_VerificationToken", lambda row: [each.key(row)])
        await self._remark_on_what_stays()
        return Imported(rows, each.notes)

    async def _spend(self, since: datetime) -> Written:
        written = Written()
        async for batch in self._batches("spend rows", "LiteLLM_SpendLogs", since=since):
            found = [receipts.receipt(row, self._now) for row in batch]
            if self._dry_run:
                new = await self._target.unknown_events([each.event_id for each in found])
            else:
                new = len(await self._ledger.record(found, now=self._now))
            written += Written(made=new, kept=len(found) - new)
        return written

    async def _teams(self) -> dict[str, Written]:
        """Teams and, as their rows name them, their members."""
        aliases = await self._source.model_aliases()
        own: dict[tuple[str, str], Row] = {}
        async for joined in self._source.batches("LiteLLM_TeamMembership"):
            own |= {(row["user_id"], row["team_id"]): row for row in joined}
        written = {"teams": Written(), "members": Written()}
        async for batch in self._batches("teams", "LiteLLM_TeamTable"):
            named = [{**row, "model_aliases": aliases.get(row["team_id"])} for row in batch]
            written["teams"] += await self._target.write("teams", [self._translation.team(row) for row in named])
            members = [member for row in named for member in self._translation.memberships(row, own)]
            for start in range(0, len(members), 1_000):
                written["members"] += await self._target.write("memberships", members[start : start + 1_000])
        return written

    async def _table(self, kind: str, table: str, translated: Translated) -> Written:
        written = Written()
        async for batch in self._batches(kind, table):
            written += await self._target.write(kind, [value for row in batch for value in translated(row)])
        for name in written.taken:
            self._translation.notes.add("a name is taken here by somebody else: it was left out", name)
        return written

    async def _batches(self, kind: str, table: str, **bound: Any) -> AsyncIterator[Sequence[Row]]:
        total = await self._source.count(table, **bound)
        self._progress(kind, total, 0)
        async for batch in self._source.batches(table, **bound):
            yield batch
            self._progress(kind, total, len(batch))

    async def _remark_on_what_stays(self) -> None:
        for table, text in NOT_TAKEN.items():
            if count := await self._source.count(table):
                self._translation.notes.add(f"not taken along: {text}", count=count)
