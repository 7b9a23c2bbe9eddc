"""What reports ask of the ledger's sums by day, in the words of the domain.

Days are UTC and written `YYYY-MM-DD`; money is nanos. Sums outlive the rows that they were made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from extproc.activity import Activity
from extproc.model import Nanos, UnixMs
from extproc.stores.contract import Ledger, LedgerRow, SpendFilter


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """To whom something must belong: this key, this user, or one of these teams."""

    digest: str
    user_id: str | None = None
    team_ids: tuple[str, ...] = ()


class SumFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sums: of the days from `first` to `last`, both counted; where each named column has one of the values.

    `whose` of `None` is everybody's. A filter or a group of `tag` adds up per tag.
    """

    first: str | None = None
    last: str | None = None
    among: Mapping[str, tuple[str, ...]] = {}
    whose: Whose | None = None


class SpendSum(msgspec.Struct, frozen=True, kw_only=True):
    """What was added up for one combination of `by`, in the order asked for; days as `YYYY-MM-DD`."""

    by: tuple[str | None, ...]
    successful_requests: int = 0
    failed_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    spend: Nanos = 0


class LogFilter(SpendFilter, frozen=True, kw_only=True):
    """Which rows of the ledger. `minimum` and `maximum` are nanos; `whose` of `None` is everybody's."""

    team_id: str | None = None
    end_user: str | None = None
    model_group: str | None = None
    model_id: str | None = None
    key_alias: str | None = None
    status: str | None = None
    minimum: Nanos | None = None
    maximum: Nanos | None = None
    whose: Whose | None = None


class Spending(Ledger, Protocol):
    """A ledger that also answers reports."""

    async def activities(self, *, hours: int, now: UnixMs) -> list[Activity]:
        """The keys that were used in the last hours, the dearest first, at most 500, and what is usual for each."""
        ...

    async def sums(
        self, by: Sequence[str], wanted: SumFilter, *, limit: int, offset: int = 0, dearest_first: bool = False
    ) -> tuple[SpendSum, ...]:
        """Sums by these columns (`day`, `key_digest`, `user_id`, …), ordered by them, or the dearest first."""
        ...

    async def log_page(
        self, wanted: LogFilter, *, page: int, size: int, sort_by: str, descending: bool
    ) -> tuple[LedgerRow, ...]:
        """One page of rows."""
        ...

    async def log_count(self, wanted: LogFilter, *, most: int) -> int:
        """How many rows there are, counted no further than `most`."""
        ...
