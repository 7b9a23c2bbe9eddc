"""Everything that is sealed, sealed anew with the key of now.

In batches, while the gateway serves. What is sealed with that key already is not looked at, so a run that was
interrupted goes on where it stopped when it is started again. What cannot be opened stays as it is, and is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from extproc.encryption import VERSION, Keyring
from extproc.errors import SecretUnavailable
from extproc.settings.rows import place

BATCH = 100


class Sealed(Protocol):
    """Where envelopes are; see `stores/sql_sealed.py`."""

    async def count_sealed(self, but: str) -> int: ...

    async def sealed(self, but: str, after: str, limit: int) -> tuple[tuple[str, str], ...]: ...

    async def reseal(self, model_id: str, old: str, new: str) -> bool: ...


class Resealed(msgspec.Struct, frozen=True):
    """How many envelopes were sealed anew, and why others could not be."""

    done: int
    failed: tuple[str, ...]


async def left(store: Sealed, ring: Keyring) -> int:
    """How many envelopes the key of now did not seal."""
    return await store.count_sealed(_current(ring))


async def reseal(store: Sealed, ring: Keyring, advance: Callable[[int], None] = lambda _: None) -> Resealed:
    """Seal all of them anew. `advance` hears how many were looked at."""
    after, done = "", 0
    failed: list[str] = []
    while batch := await store.sealed(_current(ring), after, BATCH):
        for model_id, old in batch:
            try:
                value = ring.open(old, place(model_id))
            except SecretUnavailable as error:
                failed.append(str(error))
                continue
            done += await store.reseal(model_id, old, ring.seal(value, place(model_id)))
        after = batch[-1][0]
        advance(len(batch))
    return Resealed(done, tuple(failed))


def _current(ring: Keyring) -> str:
    return f"{VERSION}|{ring.current}|"
