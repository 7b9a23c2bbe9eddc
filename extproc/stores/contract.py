"""What the upper floors ask of a store, in the words of the domain.

Every method may raise `StoreUnavailable`; none raises a driver's own exception. Time is an argument. The data path sees
`KeyStore` and `ReceiptSink` only: it cannot call what manages keys or reads the ledger.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from extproc.model import Key, Nanos, Receipt, UnixMs


class KeyStore(Protocol):
    """Whose key is this?"""

    async def find(self, digest: str) -> Key | None:
        """The key of this digest, blocked and expired ones too; `None` where there is none."""
        ...


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys `KeyAdmin.list` shows: every given field must match exactly. `search` matches inside the alias."""

    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    digest: str | None = None
    alias: str | None = None
    search: str | None = None


class KeyPage(msgspec.Struct, frozen=True):
    """One page of keys, and how many there are on all pages."""

    keys: tuple[Key, ...]
    total: int


class KeyAdmin(KeyStore, Protocol):
    """What the management API does with keys. A change is visible to `find` when the call returns."""

    async def create(self, key: Key) -> Key:
        """Store a new key. Raises `AlreadyExists` for a taken digest (`key`) or alias (`key_alias`)."""
        ...

    async def find_by_alias(self, alias: str) -> Key | None: ...

    async def update(self, digest: str, changes: Mapping[str, Any]) -> Key | None:
        """Set the named fields of `Key`, in one transaction; the new key, or `None` where there is none.

        Raises `AlreadyExists` for a taken alias. `spend` may be set; concurrent bookings are not lost. `fields` is
        merged name by name, and `None` takes a name away.
        """
        ...

    async def delete(self, digests: Sequence[str], *, deleted_by: str, now: UnixMs) -> tuple[str, ...]:
        """Delete all of them or, if one is unknown, none; the digests that were deleted. A copy is kept aside."""
        ...

    async def list(self, wanted: KeyFilter, *, page: int, size: int, sort_by: str, descending: bool) -> KeyPage: ...


class SpendFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which ledger rows `Ledger.rows` shows. `request_id` is the provider's response id or our call or event id."""

    key_digest: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    since: UnixMs | None = None
    before: UnixMs | None = None


class LedgerRow(msgspec.Struct, frozen=True):
    """A receipt as it stands in the ledger, with the moment it was booked."""

    receipt: Receipt
    booked_at: UnixMs


class KeySpend(msgspec.Struct, frozen=True):
    """A key beside what the ledger has booked on it."""

    key: Key
    spend: Nanos


class DaySpend(msgspec.Struct, frozen=True):
    """Spend of one UTC day (`YYYY-MM-DD`): in all, and by key digest, user and model."""

    day: str
    spend: Nanos
    keys: dict[str, Nanos]
    users: dict[str, Nanos]
    models: dict[str, Nanos]


class Ledger(Protocol):
    """The book of receipts: the truth about spend."""

    async def record(self, receipts: Sequence[Receipt], *, now: UnixMs) -> int:
        """Book receipts and add their spend to their keys, in one transaction; how many were new.

        Idempotent by `event_id`: booking a receipt again changes nothing.
        """
        ...

    async def rows(self, wanted: SpendFilter, *, limit: int) -> tuple[LedgerRow, ...]:
        """The newest rows first."""
        ...

    async def by_key(self, *, limit: int) -> tuple[KeySpend, ...]:
        """Keys with their spend, the dearest first."""
        ...

    async def by_day(self, wanted: SpendFilter) -> tuple[DaySpend, ...]:
        """Spend per UTC day, the oldest first."""
        ...


class Health(Protocol):
    """Whether a store answers; walked by `/health/readiness`."""

    async def ping(self) -> None:
        """Return where the store works, raise `StoreUnavailable` where it does not."""
        ...


class ReceiptSink(Protocol):
    """Where an exchange hands in its receipt."""

    @property
    def accepting(self) -> bool:
        """Whether there is room to promise a receipt to one more exchange."""
        ...

    def put(self, receipt: Receipt) -> Awaitable[None]:
        """Take a receipt, synchronously; the awaitable ends when it is durable. Never raises, never drops."""
        ...
