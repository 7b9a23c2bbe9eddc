"""What 32 limits cost an exchange in the processor, step by step, with counters in memory; for `--micro`.

The limits are those of `limited.py`, made without the management API. Steps take turns within one exchange, so each is
timed by the clock around it, and the best of several runs is told.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from benchmarks.limited import PLACES, REQUESTS, TOKENS
from extproc import reservation
from extproc.admitted import Admitted, Client
from extproc.bodies.request import Prompt
from extproc.holds import Limit
from extproc.model import Allowance, Deployment, EndUser, Key, Membership, Tag, Team, UnixMs, Upstream, Usage, User
from extproc.policy import hygiene, limits
from extproc.policy.expectation import Expectations
from extproc.policy.limits import House
from extproc.policy.routing import Route
from extproc.providers import openai_chat
from extproc.providers.api import RequestFacts
from extproc.reservation import Rules
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.reservations import Reservations

EXCHANGES, REPEAT = 500, 5
_NANOS = 10**15
_LIMITS: dict[str, Any] = {
    "rpm_limit": REQUESTS,
    "tpm_limit": TOKENS,
    "max_parallel_requests": PLACES,
    "max_budget": _NANOS,
    "budget_duration": "30d",
}
_DEPLOYMENT = Deployment("id", "m", "openai", "m", Upstream("u", "https", "h", 443, "/v1"), "https://h/v1")
_KEY = Key(
    digest="d" * 64, name="sk-...last", user_id="u", team_id="t", model_max_budget={"m": (_NANOS, "30d")},
    team=Team(id="t", **_LIMITS), user=User(id="u", **_LIMITS),
    membership=Membership(user_id="u", team_id="t", **_LIMITS), **_LIMITS,
)  # fmt: skip
_HOUSE = House(
    everybody=Allowance(**_LIMITS),
    deployments={"m": Allowance(rpm_limit=REQUESTS, tpm_limit=TOKENS)},
    per_deployment=Allowance(max_parallel_requests=PLACES),
    apply_user_budget_to_team_keys=True,
)
_END_USER, _TAGS = EndUser(id="e", **_LIMITS), (Tag(name="t", **_LIMITS),)
_USED = Usage(input_tokens=214, output_tokens=100)


class Exchanges:
    """Exchanges one after the other, over counters that know that nothing was spent."""

    def __init__(self) -> None:
        counters = MemoryCounters(_now)
        self._counted = Reservations(
            counters, self, now=_now, own_clock=False, local=lambda: counters, scopes_of=limits.scopes
        )
        self._rules = Rules(self._counted, Expectations(), _now)
        self._numbers = itertools.count()
        met = self._rules.meetings.of(_HOUSE, _KEY, "m", _DEPLOYMENT, _END_USER, _TAGS, _now())
        self.limits = len(met.limits)
        for limit in met.limits:
            _driven(counters.begin_seed(limit, "token"))
            _driven(counters.finish_seed(limit, "token", ()))

    async def settled(self, limit: Limit, now: UnixMs, without: Collection[str]) -> Sequence[tuple[UnixMs, int]]:
        raise AssertionError(f"{limit} was known at {now} without {without}")

    def one(self) -> dict[str, int]:
        """Nanoseconds of each step."""
        admitted = self._admitted()
        clock = _Laps()
        held = clock.lap("find", lambda: reservation.of(self._rules, _HOUSE, admitted, _END_USER, _TAGS))
        assert held is not None
        assert clock.lap("reserve", lambda: _driven(held.admit())) is None
        clock.lap("headers for the client", lambda: hygiene.limit_headers(held.left, alone=False))
        clock.lap("settle", lambda: _driven(held.settle(_USED, admitted.cost(_USED))))
        receipt = admitted.receipt(None, _USED, admitted.cost(_USED), ended_at=_now(), http_status=200)
        clock.lap("book", lambda: _driven(self._counted.booked([receipt], frozenset({receipt.event_id}))))
        return clock.laps

    def _admitted(self) -> Admitted:
        return Admitted(
            f"{next(self._numbers):036}", _now(), Client("c", "/", "", "", ("t",)), openai_chat, _KEY,
            RequestFacts(model="m", stream=False, max_output_tokens=256, end_user="e"), Prompt((), 214),
            Route(_DEPLOYMENT, "m"), lambda _deployment, _model, _answered, usage, _now: usage.total_tokens * 2_500,
        )  # fmt: skip


def rows() -> dict[str, float]:
    """Microseconds of each step."""
    exchanges = Exchanges()
    best: dict[str, float] = {}
    for _ in range(REPEAT):
        sums: dict[str, int] = {}
        for _ in range(EXCHANGES):
            for name, spent in exchanges.one().items():
                sums[name] = sums.get(name, 0) + spent
        for name, spent in sums.items():
            best[name] = min(best.get(name, spent), spent)
    return {f"{exchanges.limits} limits: {name}": spent / EXCHANGES / 1_000 for name, spent in best.items()}


class _Laps:
    def __init__(self) -> None:
        self.laps: dict[str, int] = {}

    def lap(self, name: str, step: Callable[[], Any]) -> Any:
        began = time.perf_counter_ns()
        found = step()
        self.laps[name] = time.perf_counter_ns() - began
        return found


def _driven(question: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never really waits, without a loop around it."""
    try:
        question.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a counter waited for something")


def _now() -> UnixMs:
    return time.time_ns() // 1_000_000
