"""What is asked of a counter store: small, atomic questions in the words of `extproc.holds`.

Counters are a cache of the ledger. A counter's settled part may be unknown (*unseeded*): a new store, a lost Redis.
Then `reserve` reserves nothing and says so; whoever asked reads the ledger and *seeds* the counter. A gauge has no
settled part and is never unseeded.

An exchange is *open* (it holds), then *settled* (it has used), then *booked* (the ledger has it). Each step happens
once, whatever is repeated or comes late, and a later step does what an earlier one did not. Until it is booked it has a
lease; one without a living lease is an orphan, and is handed to exactly one caller of `orphans` at a time.

The ledger may have an exchange a while before the store hears of it, so a sum that was read could count it twice, or
not at all. Therefore an exchange belongs to the store until it is booked *here*, and to the ledger from then on.
`begin_seed` tells which exchanges of a counter are not booked, the sum is read without them, and `finish_seed` adds
what was booked meanwhile. What a settled exchange has used stays *held* on a counter that does not have it in its
settled part, until it is booked; so does a request that counted at once, while a rolling window can see it. Nothing is
ever missing from settled + held.

That needs the store to know of the exchange. Where it does not, or what it counted is not what the ledger has, nobody
can tell what a sum that was read has of it: then counters become unseeded, and a sum that is being read is not taken
(its token is gone).

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
#: How long the ledger may be read for a counter before somebody else begins.
SEEDING_MS = 2_000
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
        again, without asking whether there is room. Its request is not counted again before it is booked, and then
        as if it had begun now."""
        ...

    async def begin_seed(self, limit: Limit, token: str, now: UnixMs | None = None) -> frozenset[str] | None:
        """Leave a token, which nobody has used before, on the counter of this limit, and read the ledger then.

        Returns the exchanges that the sum must leave out, wherever it finds them. `None` where nobody is to read: the
        counter is seeded, or somebody else began less than `SEEDING_MS` ago.
        """
        ...

    async def finish_seed(
        self, limit: Limit, token: str, settled: Sequence[tuple[UnixMs, int]], now: UnixMs | None = None
    ) -> bool:
        """What was read: moments and amounts (`WINDOW`: one pair will do). False where the token is gone.

        A `WINDOW` counts the exchanges that were reserved in it, whenever they end. An amount may be below zero, where
        somebody has set a spend in which an exchange was that is left out.
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
