"""What the upper floors ask of a store, in the words of the domain.

Every method may raise `StoreUnavailable`; none raises a driver's own exception. Time is an argument. The data path sees
`Identities` and `ReceiptSink` only: it cannot call what manages keys or reads the ledger.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from extproc.holds import Limit
from extproc.model import Budget, EndUser, Key, Membership, Nanos, Receipt, StoredModel, Tag, Team, UnixMs, User

if TYPE_CHECKING:
    from extproc.stores.audit_chain import Entry

T = TypeVar("T")


class KeyStore(Protocol):
    """Whose key is this?"""

    async def find(self, digest: str) -> Key | None:
        """The key of this credential's digest, blocked and expired ones too; `None` where there is none.

        Also by a credential of before the key was regenerated: `revoked_at` says until when it counts.
        With its team, user, membership and budget: all that decisions need, in one question.
        """
        ...


class Identities(KeyStore, Protocol):
    """Whose key is this, for whom is the request made, and how is it tagged?"""

    async def find_end_user(self, end_user: str) -> EndUser | None:
        """The end user of this id, blocked ones too, with the budget it names; `None` where there is none."""
        ...

    async def find_tags(self, names: Sequence[str]) -> tuple[Tag, ...]:
        """Those of the tags that exist, with the budgets they name, in the order of the names, each once."""
        ...


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which keys `KeyAdmin.list` shows: every given field must match exactly. `search` matches inside the alias;
    `team_ids` are keys of any of these teams, `due_at` those that are to be regenerated at that moment or before."""

    user_id: str | None = None
    team_ids: tuple[str, ...] | None = None
    team_id: str | None = None
    organization_id: str | None = None
    budget_id: str | None = None
    digest: str | None = None
    alias: str | None = None
    search: str | None = None
    due_at: UnixMs | None = None
    has_alias: bool = False


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

        The new key comes without its team, user, membership and budget.

        Raises `AlreadyExists` for a taken alias. `spend` may be set; concurrent bookings are not lost. `fields` is
        merged name by name, and `None` takes a name away.
        """
        ...

    async def regenerate(
        self, digest: str, credential: str, changes: Mapping[str, Any], *, revoke_at: UnixMs, now: UnixMs
    ) -> Key | None:
        """Let the key be found by the digest of a new credential, and by all earlier ones until `revoke_at` only.

        The key keeps its own digest. `changes` are as in `update`. Raises `AlreadyExists` for a credential that is a
        key's, or was, and for a taken alias.
        """
        ...

    async def delete(self, digests: Sequence[str], *, deleted_by: str, now: UnixMs) -> tuple[str, ...]:
        """Delete all of them or, if one is unknown, none; the digests that were deleted. A copy is kept aside."""
        ...

    async def list(self, wanted: KeyFilter, *, page: int, size: int, sort_by: str, descending: bool) -> KeyPage: ...

    async def named(self, digests: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
        """By its digest the alias and the team's id of each of these keys that there is."""
        ...

    async def was_deleted(self, alias: str) -> bool:
        """Whether a key had this alias that was deleted."""
        ...

    async def count_by_user(self, user_ids: Sequence[str]) -> dict[str, int]:
        """How many keys each of these users has; who has none is not in it."""
        ...


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of rows, and how many there are on all pages."""

    rows: tuple[T, ...]
    total: int


class Rows(Protocol[T]):
    """What the management API does with the rows of one kind, each with an id of its own."""

    async def find(self, name: str) -> T | None:
        """The row of this id, with the budget it names where it can name one."""
        ...

    async def create(self, row: T) -> T:
        """Store a new row. Raises `AlreadyExists` for a taken id (or e-mail address); the field is LiteLLM's."""
        ...

    async def update(self, name: str, changes: Mapping[str, Any]) -> T | None:
        """Set the named fields, in one transaction; the new row, or `None` where there is none.

        `spend` may be set; concurrent bookings are not lost. `fields` is merged name by name, and `None` takes a name
        away.
        """
        ...

    async def delete(self, names: Sequence[str], *, deleted_by: str, now: UnixMs) -> tuple[str, ...]:
        """Delete all of them or, if one is unknown, none; the ids that were deleted."""
        ...

    async def list(
        self,
        wanted: Mapping[str, Any],
        *,
        page: int = 1,
        size: int = 1_000,
        sort_by: str = "created_at",
        descending: bool = True,
    ) -> Page[T]:
        """Rows whose named fields have these values: one, or one of a tuple."""
        ...


class Teams(Rows[Team], Protocol):
    """Teams, and what they give to their members."""

    async def update_with_members(
        self, name: str, changes: Mapping[str, Any], given: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> Team | None:
        """As `update`. `given` tells what a team with these `fields` gives to its members, by the fields of a
        `Membership`. Members who have what the team gave before get what it gives now, in the same transaction; a
        budget and its window are one."""
        ...


class Memberships(Protocol):
    """Who is in which team."""

    async def add(self, members: Sequence[Membership]) -> None:
        """All of them or none. Raises `AlreadyExists` (`member`) for one who is in the team already."""
        ...

    async def update(self, user_id: str, team_id: str, changes: Mapping[str, Any]) -> Membership | None: ...

    async def remove(self, user_id: str, team_id: str, *, deleted_by: str, now: UnixMs) -> bool:
        """Whether there was such a member. Keys of the user in the team are deleted too; a copy is kept aside."""
        ...

    async def of_teams(self, team_ids: Sequence[str]) -> tuple[Membership, ...]:
        """Those of all these teams, the oldest first."""
        ...

    async def of_users(self, user_ids: Sequence[str]) -> tuple[Membership, ...]:
        """Those of all these users, the oldest first."""
        ...


class Erasure(msgspec.Struct, frozen=True):
    """What was done: the name that receipts have now, and how many rows of each table were changed or removed."""

    tombstone: str
    removed: dict[str, int]


class Persons(Protocol):
    """All that is kept of a person: of a user, or of a customer (an end user)."""

    async def find(self, name: str) -> User | None:
        """The user, by id, else by e-mail address."""
        ...

    async def find_customer(self, name: str) -> EndUser | None:
        """The customer's account. Without one, where they are named by what was used: their name, made at 0."""
        ...

    async def known_as(self, identities: Sequence[str], email: str) -> tuple[tuple[User, ...], tuple[User, ...]]:
        """Those whose `sso_user_id` is one of these, and those with this address, whatever its case."""
        ...

    async def link(self, user_id: str, identity: str, *, now: UnixMs) -> User | None:
        """Let single sign-on know the user by this identity; `None` for nobody, or who is known by another already."""
        ...

    async def block(self, user_id: str) -> None:
        """Let nothing new of a user come in, as the first step of an erasure."""
        ...

    async def erase(self, person: User | EndUser, *, deleted_by: str) -> Erasure:
        """Remove the account with what hangs on it, and the person from all else. Sums stay as they are.

        What stops in the middle goes on when it is called again.
        """
        ...

    def receipts(self, person: User | EndUser) -> AsyncIterator[tuple[LedgerRow, ...]]:
        """What the person used, and what others used for them, some at a time."""
        ...

    def entries(self, person: User | EndUser) -> AsyncIterator[tuple[Entry, ...]]:
        """The entries of the audit trail that tell of the person, some at a time."""
        ...


class Entities(Protocol):
    """Everyone and everything that limits and budgets hang on, beside keys. A change is visible to `find` at once."""

    @property
    def teams(self) -> Teams:
        """Deleting a team deletes its keys (a copy is kept aside) and memberships in the same transaction."""
        ...

    @property
    def users(self) -> Rows[User]:
        """Deleting a user deletes their keys and memberships in the same transaction."""
        ...

    @property
    def end_users(self) -> Rows[EndUser]: ...

    @property
    def tags(self) -> Rows[Tag]: ...

    @property
    def budgets(self) -> Rows[Budget]: ...

    @property
    def models(self) -> Rows[StoredModel]: ...

    @property
    def members(self) -> Memberships: ...

    @property
    def persons(self) -> Persons: ...

    def reset_spend(self, *, by: str | None, now: UnixMs) -> AsyncIterator[tuple[str, str]]:
        """Set what every key and team has spent to 0, as `spend` set on one does. Gives the kind and the id of each
        scope when that is done; whoever stops listening stops it there."""
        ...


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

    async def record(self, receipts: Sequence[Receipt], *, now: UnixMs) -> frozenset[str]:
        """Book receipts and add their spend to all that they name, in one transaction; the event ids of
        those that were new.

        That is: key, team, user, member, end user and tags. Idempotent by `event_id`: booking a receipt again changes
        nothing.
        """
        ...

    async def settled(self, limit: Limit, now: UnixMs, without: Collection[str] = ()) -> Sequence[tuple[UnixMs, int]]:
        """What the ledger knows of a limit: what its counter starts from. Moments and amounts.

        `without` are event ids that are left out, whether the ledger has them or not.

        `ROLLING`: what the last minute brought, requests when they started, tokens and spend when they ended.
        `WINDOW`: one pair, the sum of what started in it; where it has neither start nor end, the spend that stands
        beside the scope's name, which may have been set. `GAUGE`: nothing.
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


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries an `AuditTrail` shows: every given field must match. `search` matches inside ids, names and
    values; `since` and `before` are moments."""

    changed_by: str | None = None
    changed_by_key: str | None = None
    action: str | None = None
    table_name: str | None = None
    object_id: str | None = None
    search: str | None = None
    since: UnixMs | None = None
    before: UnixMs | None = None


class AuditTrail(Protocol):
    """What was changed, by whom. The stores write it themselves, in the transaction of each change."""

    def sign(self, content: str) -> tuple[str, str]:
        """The id of the trail's key, and its signature of a text; both empty where there is none."""
        ...

    async def find(self, entry_id: str) -> Entry | None: ...

    async def list(self, wanted: AuditFilter, *, page: int, size: int, descending: bool) -> Page[Entry]: ...

    async def note_reading(self, table: str, name: str) -> None:
        """Write down that the caller of now reads what only few may. Raises `StoreUnavailable`."""
        ...

    def batches(self, wanted: AuditFilter, *, after: int = 0) -> AsyncIterator[tuple[Entry, ...]]:
        """All of them after this number, the oldest first, some at a time."""
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
