"""The spend that is shown of whoever has a budget with a window: that of the window of now, and when the next begins.

Windows are found, not stored (`policy/windows.py`), so what a row holds is the spend of its whole life and the end of
its first window. The ledger's sum is what the counters start from: what is shown is what is enforced, less what is
still in flight.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from extproc.holds import Limit, Measure, Scope, Span
from extproc.management.parts import ManagementParts
from extproc.model import Allowance, Key, Membership, Team, User
from extproc.policy import windows

T = TypeVar("T", Team, User, Membership)


async def of_key(parts: ManagementParts, key: Key) -> Key:
    """The key with the spend and the next reset of its window; as it is, where its budget has none."""
    found = await _window(parts, Scope("api_key", key.digest), key.with_defaults(key.budget))
    if found is None:
        return key
    spend, reset = found
    # What the key's own columns do not say is shown with the budget that says it.
    shown = reset if key.budget_duration else key.budget_reset_at
    return msgspec.structs.replace(key, spend=spend, budget_reset_at=shown)


async def of_owner(parts: ManagementParts, kind: str, name: str, owner: T) -> T:
    """The same for a `team`, `user` or `team_member`, named as its scope is."""
    found = await _window(parts, Scope(kind, name), owner)
    return owner if found is None else msgspec.structs.replace(owner, spend=found[0], budget_reset_at=found[1])


async def _window(parts: ManagementParts, scope: Scope, allowance: Allowance) -> tuple[int, int] | None:
    """The spend of the window of now, and its end."""
    if not allowance.budget_duration:
        return None
    now = parts.now()
    length = windows.parse(allowance.budget_duration)
    since, until = windows.window(length, now, allowance.budget_reset_at, parts.zone)
    limit = Limit(scope, Measure.SPEND, Span.WINDOW, 0, since, until)
    return sum(amount for _, amount in await parts.ledger.settled(limit, now)), until
