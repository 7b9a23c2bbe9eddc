"""One process that reserves for one key, for tests: real reservations over counters in memory and an empty ledger."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from extproc import reservation
from extproc.admitted import Admitted, Client
from extproc.bodies.request import Prompt
from extproc.bodies.response import EventStreamBody
from extproc.errors import StoreUnavailable
from extproc.holds import Ask, Limit
from extproc.model import Deployment, Key, Upstream, Usage
from extproc.policy import limits
from extproc.policy.expectation import Expectations
from extproc.policy.limits import House
from extproc.policy.outages import OnOutage
from extproc.policy.refusals import Refusal
from extproc.policy.routing import Route
from extproc.providers import openai_chat
from extproc.providers.api import RequestFacts
from extproc.reservation import Reservation, Rules
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.reservations import Reservations

DEPLOYMENT = Deployment("id", "m", "openai", "m", Upstream("u", "https", "h", 443, "/v1"), "")
#: Nanos of a token, whichever it is; a prompt of ten tokens.
RATE, PROMPT = 1_000, 10
EVENT = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'


def now() -> int:
    return time.time_ns() // 1_000_000


class EmptyLedger:
    """Nothing was ever spent."""

    async def settled(self, limit: Limit, now: int, without: Collection[str]) -> Sequence[tuple[int, int]]:
        return ()


class Counters(MemoryCounters):
    """Counters that can be out of reach."""

    down = False

    async def reserve(self, ask: Ask, now: int | None = None) -> Any:
        if self.down:
            raise StoreUnavailable("counters", "gone")
        return await super().reserve(ask, now)


class World:
    """One process with a key's limits; `on_outage` and `wait_ms` as an operator sets them.

    With a `standing` clock a stream has no pace but by `passes`, so that none comes of how slow the machine is.
    """

    def __init__(
        self, *, wait_ms: int = 0, on_outage: OnOutage = OnOutage.REFUSE, standing: bool = False, **allowance: Any
    ) -> None:
        self.moment = now()
        clock = (lambda: self.moment) if standing else now
        self.key = Key(digest="d", name="sk-...last", **allowance)
        self.counters = Counters(now)
        self.reservations = Reservations(
            self.counters, EmptyLedger(), now=now, own_clock=False, local=lambda: MemoryCounters(now),
            scopes_of=limits.scopes,
        )  # fmt: skip
        self.rules = Rules(self.reservations, Expectations(), clock, on_outage, wait_ms)
        self._now = clock
        self._number = 0

    def passes(self, milliseconds: int) -> None:
        """Time, on a standing clock."""
        self.moment += milliseconds

    def asks(self, *, stream: bool = False, max_tokens: int | None = None) -> Reservation:
        self._number += 1
        facts = RequestFacts(model="m", stream=stream, max_output_tokens=max_tokens)
        admitted = Admitted(
            f"e{self._number}", self._now(), Client("c", "/", "", "", ()), openai_chat, self.key, facts,
            Prompt((), PROMPT), Route(DEPLOYMENT, "m"), lambda _d, _m, _a, usage, _t: usage.total_tokens * RATE,
        )  # fmt: skip
        made = reservation.of(self.rules, House(), admitted, None, ())
        assert made is not None
        return made

    async def level(self) -> tuple[int, int]:
        """Settled and held nanos of the key's budget."""
        who = limits.subjects(House(), self.key, DEPLOYMENT, None, ())
        budget = next(limit for limit in limits.of(House(), who, "m", now()) if limit.setting == "max_budget")
        (level,) = await self.counters.levels([budget])
        assert level is not None
        return level.settled, level.held


async def ends(one: Reservation, output_tokens: int) -> None:
    """The exchange is over with so many output tokens."""
    usage = Usage(input_tokens=PROMPT, output_tokens=output_tokens)
    one.learn(usage)
    await one.settle(usage, usage.total_tokens * RATE)


def reason(refusal: Refusal | None) -> str:
    return refusal.reason if refusal else ""


def body_with(events: int) -> EventStreamBody:
    body = EventStreamBody(openai_chat, hide_usage=False)
    for _ in range(events):
        body.feed(EVENT)
    return body
