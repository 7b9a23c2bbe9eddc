"""What is asked of a counter store: small, atomic questions in the words of `extproc.holds`.

Counters are a cache of the ledger. A counter's settled part may be unknown (*unseeded*): a new store, a lost Redis.
Then `reserve` reserves nothing and says so; whoever asked reads the ledger and *seeds* the counter. Seeding is
optimistic: `begin_seed` leaves a token on the counter, the ledger is read, and `finish_seed` counts only if the token
is still there; whatever could make the sum that was read wrong takes the token (and the settled part) away. What a
settled exchange has used stays *held* on an unseeded counter until it is booked, so that nothing is ever missing from
settled + held. A request that counts at once is held likewise when its counter is unseeded, until a rolling window
cannot see it any more. A gauge has no settled part and is never unseeded.

An exchange is *open* (it holds), then *settled* (it has used), then *booked* (the ledger has it). Each step happens
once, whatever is repeated or comes late, and a later step does what an earlier one did not. Settling comes before the
receipt is handed to the ledger, or not at all. Until it is booked an exchange has a lease; one without a living lease
is an orphan, and is handed to exactly one caller of `orphans` at a time.

A booking proves what a counter knows, or ends it. The settled part stands where the exchange was counted on it, since
it was last seeded, with the amounts that the ledger has. Otherwise nobody can tell whether the sum that was read had
this exchange, and the counter becomes unseeded. Every booking takes tokens away.

All methods take `now` (milliseconds) or `None` for the store's own clock, and may raise `StoreUnavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from extproc.holds import Amounts, Answer, Ask, Booking, Full, Granted, Level, Limit, Orphan, Scope
from extproc.model import UnixMs

#: How long an exchange lives without being heard of.
LEASE_MS = 30_000
#: How long an exchange may be settled without being booked.
BOOKING_MS = 120_000
#: How long a booked exchange is remembered, so that a repeated step changes nothing.
REMEMBER_MS = 3_600_000


class CounterStore(Protocol):
    """Counters with limits, shared by all who use the same store."""

    async def reserve(self, ask: Ask, now: UnixMs | None = None) -> Answer:
        """Reserve against all limits or none. Repeating an `event_id` that is known grants and changes nothing.

        A request counts at once (`REQUESTS` is settled here); tokens, spend and places in parallel are held. Limits are
        checked in their order; unseeded counters are told before full ones, also those of limits that are not enforced.
        Limits on one counter (`Limit.counter`) are each checked, and the counter is counted on once.
        """
        ...

    async def extend(self, event_id: str, by: Amounts, now: UnixMs | None = None) -> Granted | Full:
        """Hold more, on all limits or none, and renew the lease, also where there is no room.

        Positions and levels are those of the exchange's limits. Limits of which nothing more is asked are not checked.
        An exchange that is not open is granted, without levels: nothing is held for it, so nothing limits it any more.
        An unseeded counter limits nothing either: it is seeded by the next `reserve`.
        """
        ...

    async def settle(self, event_id: str, used: Amounts, now: UnixMs | None = None) -> None:
        """The exchange is over: give back what it held, count what it used. Unknown or settled exchanges: nothing."""
        ...

    async def booked(self, bookings: Sequence[Booking], now: UnixMs | None = None) -> None:
        """The ledger has these. An open exchange is settled first.

        Counters of its scopes on which it was not counted become unseeded (all of them where it is unknown here), but
        not those of which it has used nothing. So do those on which it was counted with other amounts than `used`, or
        where `used` need not be what the ledger has (it is not `new` there).
        """
        ...

    async def renew(self, asks: Sequence[Ask], now: UnixMs | None = None) -> None:
        """These exchanges are alive and hold at least these amounts. One that is unknown (a lost store) is opened
        again, without asking whether there is room, and without counting its request again."""
        ...

    async def begin_seed(self, limits: Sequence[Limit], token: str) -> None:
        """Leave a token, which nobody has used before, on the counters of these limits, in place of any other."""
        ...

    async def finish_seed(
        self, limit: Limit, token: str, settled: Sequence[tuple[UnixMs, int]], now: UnixMs | None = None
    ) -> bool:
        """Set the settled part: moments and amounts (`WINDOW`: one pair will do). False where the token is gone.

        What a counter knew until then is replaced. A `WINDOW` counts the exchanges that were reserved in it, whenever
        they end.
        """
        ...

    async def unseed(self, scope: Scope) -> None:
        """The ledger has changed under the counters of this scope: forget what they know of it, tokens included."""
        ...

    async def orphans(self, limit: int, now: UnixMs | None = None) -> Sequence[Orphan]:
        """Claim at most `limit` exchanges whose lease ran out. A claim is a new lease: nobody else is handed them
        meanwhile."""
        ...

    async def levels(self, limits: Sequence[Limit], now: UnixMs | None = None) -> Sequence[Level | None]:
        """How full the counters are; `None` for one that is unseeded."""
        ...
