"""What every key and every team has spent becomes nothing, from a moment on.

A few rows a transaction, each with its entry in the audit trail, in the order of their names: bookings wait a moment,
and never crosswise. A reset that was cut short is simply asked for again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Table, select, update

from extproc.model import UnixMs
from extproc.stores.sql_audit import Change, SqlTrail
from extproc.stores.tables import keys, teams

_BATCH = 500


async def reset_spend(trail: SqlTrail, *, by: str | None, now: UnixMs) -> AsyncIterator[tuple[str, str]]:
    """Reset all; gives the kind of scope (`api_key`, `team`) and the id of each that was. Raises `StoreUnavailable`."""
    values = {"spend": 0, "spend_set_at": now, "spend_set_to": 0, "updated_at": now}
    for kind, table, changes in (("api_key", keys, {**values, "updated_by": by}), ("team", teams, values)):
        last = ""
        while True:
            async with trail.changing() as change:
                names = await _reset_some(change, table, last, changes)
            for name in names:
                yield kind, name
            if len(names) < _BATCH:
                break
            last = names[-1]


async def _reset_some(change: Change, table: Table, last: str, changes: dict[str, Any]) -> list[str]:
    """Those that come next after `last`."""
    [identity] = table.primary_key.columns
    chosen = select(table).where(identity > last).order_by(identity).limit(_BATCH).with_for_update()
    held = [{**row} for row in (await change.connection.execute(chosen)).mappings()]
    names = [row[identity.name] for row in held]
    await change.connection.execute(update(table).where(identity.in_(names)).values(changes))
    for name, row in zip(names, held, strict=True):
        change.updated(table.name, name, row, {**row, **changes}, changes)
    return names
