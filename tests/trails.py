"""What a verifier says of the audit trail of a store."""

from __future__ import annotations

from extproc.stores.audit_chain import Verifier
from extproc.stores.contract import AuditFilter
from extproc.stores.sql import SqlStore


async def problems(store: SqlStore, verifier: Verifier) -> list[str]:
    """Of every entry, and of the end."""
    found = [
        told async for batch in store.trail.batches(AuditFilter()) for entry in batch for told in verifier.feed(entry)
    ]
    return [*found, *verifier.end(await store.trail.head())]
