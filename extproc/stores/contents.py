"""The contract of a store for what was said in exchanges. It is handed envelopes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from extproc.model import UnixMs


class SealedContent(msgspec.Struct, frozen=True):
    """What was said in the exchange `event_id`, which ended then: an envelope of `encryption`. Whose it was is not
    kept here: it tells whether the ledger's row still is theirs."""

    event_id: str
    ended_at: UnixMs
    sealed: str
    user_id: str | None = None
    end_user: str | None = None


class ContentStore(Protocol):
    """Raises `StoreUnavailable`."""

    async def keep(self, rows: Sequence[SealedContent]) -> None:
        """Rows that are there already stay. An exchange of somebody who was erased meanwhile gets none."""
        ...

    async def sealed_of(self, event_ids: Sequence[str]) -> Mapping[str, str]:
        """The envelopes of those exchanges that have one."""
        ...
