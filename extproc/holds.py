"""What is counted against which limit, and the answers of whoever counts: the vocabulary of limits and budgets.

Policy says which limits an exchange meets; a counter store keeps the counters. Every limit, whatever its kind, is one
comparison: *settled + held + asked ≤ limit*. *Settled* is what was used in the limit's window, *held* is what exchanges
in flight have reserved and may still use, *asked* is what the one at the door wants to reserve, at least one: nothing
fits into what is used up, not even an exchange that costs nothing. An exchange reserves against all of its limits or
none; a stream extends what it holds; at its end it settles, which turns what it held into what it used.

Kinds differ in how the settled part forgets (`Span`), and in which of an exchange's amounts they count (`Measure`).

Time is handed in as `UnixMs`. A store with a clock of its own takes `None` for "now, by your clock".
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

from extproc.model import Nanos, UnixMs

#: The length of a rolling window; "per minute" in rpm and tpm.
ROLLING_MS = 60_000
#: A rolling window forgets in steps of this length, each as a whole and never early: room returns up to one step late.
STEP_MS = 100


class Measure(StrEnum):
    """Which amount of an exchange a limit counts. The values are LiteLLM's `Limit type` words, and `spend`."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    PARALLEL = "max_parallel_requests"
    SPEND = "spend"


class Span(StrEnum):
    """How the settled part of a counter forgets.

    `ROLLING`: what is older than `ROLLING_MS`. `WINDOW`: nothing; the window's start is part of the counter's name, so
    that a new window is a new counter. `GAUGE`: there is no settled part, only what is in flight counts.
    """

    ROLLING = "rolling"
    WINDOW = "window"
    GAUGE = "gauge"


class Scope(msgspec.Struct, frozen=True, gc=False):
    """Whose limit it is. `kind` is LiteLLM's descriptor (`api_key`, `team`, `user`, `team_member`, `end_user`, `model`,
    `model_per_key`, `model_per_team`, `tag`, `global`), `id` what it is called in the ledger's columns."""

    kind: str
    id: str


class Limit(msgspec.Struct, frozen=True, gc=False):
    """One limit that an exchange meets. `maximum` is requests, tokens, exchanges or nanos; 0 admits nothing. A shared
    store counts up to 2**53 - 1, and takes a maximum above that for that.

    `since` and `until` bound a `WINDOW` (milliseconds; `until` is `None` where it never ends). `enforced` is false for
    a limit that only counts and reports (dry run, soft budgets).
    """

    scope: Scope
    measure: Measure
    span: Span
    maximum: int
    since: UnixMs = 0
    until: UnixMs | None = None
    enforced: bool = True
    #: The limit's setting, for messages: `max_budget`, `rpm_limit`, …
    setting: str = ""

    @property
    def counter(self) -> str:
        """The counter's name: equal for all limits that count the same thing, whatever their maximum.

        The id stands at the end, for a client may choose what is in it (`end_user`).
        """
        scope = self.scope
        span = f"{self.since}-{self.until or ''}" if self.span is Span.WINDOW else self.span
        # Joined, not formatted: this is done for each limit of each exchange, and enumerations format slowly.
        return ":".join((self.measure, span, scope.kind, scope.id))


class Amounts(msgspec.Struct, frozen=True, gc=False):
    """What an exchange reserves, extends by, or has used. A request and a place in parallel are always one."""

    tokens: int = 0
    nanos: Nanos = 0


class Ask(msgspec.Struct, frozen=True):
    """One reservation. `draft` is kept beside the holds: what is needed to book the exchange if its worker dies."""

    event_id: str
    limits: tuple[Limit, ...]
    amounts: Amounts
    draft: bytes = b""


class Level(msgspec.Struct, frozen=True, gc=False):
    """How full a counter was when it was asked, what was asked not included."""

    settled: int
    held: int


class Granted(msgspec.Struct, frozen=True):
    """Reserved against every limit. `levels` are in the order of the limits. `over` are the positions of limits that
    are not enforced and were exceeded."""

    levels: tuple[Level, ...]
    over: tuple[int, ...] = ()


class Full(msgspec.Struct, frozen=True):
    """Nothing was reserved. `position` is the first enforced limit that had no room; `asked` is what did not fit, at
    least one.

    `frees_at` is the first moment at which what was asked would fit if nobody else used anything and what is held
    stayed: for a rolling window when enough of it is forgotten, for a window its end. `None` where waiting for time
    does not help: too much was asked for the limit, or beside what is held, or only holds are in the way
    (`level.settled + asked ≤ maximum`), which may be given back at any moment.
    """

    position: int
    level: Level
    asked: int
    frees_at: UnixMs | None

    def only_held(self, maximum: int) -> bool:
        """Whether it would fit if every exchange in flight gave back what it holds."""
        return self.level.settled + self.asked <= maximum


class Unseeded(msgspec.Struct, frozen=True):
    """Nothing was reserved: the store does not know what was settled on the limits at these positions."""

    positions: tuple[int, ...]


Answer: TypeAlias = Granted | Full | Unseeded


class Booking(msgspec.Struct, frozen=True, gc=False):
    """A receipt is in the ledger. `new`: this booking put it there, so `used` is what the ledger has. `scopes`: all
    that it counts for."""

    event_id: str
    used: Amounts
    scopes: tuple[Scope, ...]
    new: bool


class Orphan(msgspec.Struct, frozen=True):
    """An exchange whose lease ran out: its worker is gone, or could not book it. `held` is what it had reserved, or
    has settled (`settled`)."""

    event_id: str
    draft: bytes
    held: Amounts
    settled: bool
