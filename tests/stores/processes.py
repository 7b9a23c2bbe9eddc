"""One process's reservations, over counters and a ledger that others may share, small and real."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from typing import Any

import msgspec

from extproc.errors import StoreUnavailable
from extproc.holds import Amounts, Ask, Level, Limit, Measure, Scope, Span
from extproc.model import Receipt, Usage
from extproc.policy import limits
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.reservations import Reservations

KEY = Scope("api_key", "d")
BUDGET = Limit(KEY, Measure.SPEND, Span.WINDOW, 1_000, setting="max_budget")
PLACES = Limit(KEY, Measure.PARALLEL, Span.GAUGE, 2, setting="max_parallel_requests")


def receipt(event_id: str, spend: int = 100) -> Receipt:
    return Receipt(
        event_id=event_id, call_id="c", key_digest="d", started_at=1, ended_at=2, operation="acompletion", path="/",
        model_group="m", model="m", model_id="i", provider="openai", api_base="", http_status=200, status="success",
        stream=True, usage=Usage(input_tokens=10), spend=spend,
    )  # fmt: skip


def ask(event_id: str, nanos: int = 100, tokens: int = 30, *met: Limit) -> Ask:
    return Ask(event_id, met or (BUDGET,), Amounts(tokens, nanos), msgspec.msgpack.encode(receipt(event_id)))


class Ledger:
    """A small real ledger of one key's spend, and a sink for receipts that books them when told to."""

    accepting = True

    def __init__(self) -> None:
        self.rows: dict[str, Receipt] = {}
        self.handed_in: list[Receipt] = []
        self.reads = 0
        self.down = False
        self.while_read: Any = None

    async def settled(self, limit: Limit, now: int, without: Collection[str]) -> Sequence[tuple[int, int]]:
        if self.down:
            raise StoreUnavailable("database", "gone")
        self.reads += 1
        total = sum(row.spend or 0 for name, row in self.rows.items() if name not in without)
        await asyncio.sleep(0)
        if self.while_read is not None:
            changing, self.while_read = self.while_read, None
            await changing()
        return ((now, total),)

    def put(self, one: Receipt) -> Awaitable[None]:
        self.handed_in.append(one)
        return asyncio.sleep(0)

    def record(self, *receipts: Receipt) -> frozenset[str]:
        new = frozenset(each.event_id for each in receipts if each.event_id not in self.rows)
        self.rows |= {each.event_id: each for each in receipts if each.event_id in new}
        return new


class Counters(MemoryCounters):
    """Counters that can be out of reach."""

    down = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in {"reserve", "settle", "booked", "renew", "extend", "orphans", "levels"}:
            return found

        async def asked(*arguments: Any) -> Any:
            if self.down:
                raise StoreUnavailable("counters", "gone")
            return await found(*arguments)

        return asked


class Process:
    """One process's reservations over counters and a ledger that others may share. `clock` is the moment of all."""

    moment = 1_000_000

    def __init__(self, shared: Process | None = None) -> None:
        self.ledger: Ledger = shared.ledger if shared else Ledger()
        self.counters: Counters = shared.counters if shared else Counters(lambda: Process.moment)
        self.it = Reservations(
            self.counters, self.ledger, now=lambda: Process.moment, own_clock=False,
            local=lambda: MemoryCounters(lambda: Process.moment), scopes_of=limits.scopes,
        )  # fmt: skip

    async def level(self) -> Level | None:
        (found,) = await self.counters.levels([BUDGET], Process.moment)
        return found

    async def finish(self, event_id: str, spend: int = 100) -> None:
        """The exchange is over: settled, recorded, and told."""
        await self.it.settle(event_id, Amounts(10, spend))
        await self.book(event_id, spend)

    async def book(self, event_id: str, spend: int = 100) -> None:
        one = receipt(event_id, spend)
        await self.it.booked([one], self.ledger.record(one))
