"""Everything that is sealed, sealed anew with the key of now.

In batches, while the gateway serves. What is sealed with that key already is not looked at, so a run that was
interrupted goes on where it stopped when it is started again. What cannot be opened stays as it is, and is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from extproc.encryption import VERSION, Keyring
from extproc.errors import SecretUnavailable

BATCH = 100
#: Of envelopes that cannot be opened.
MOST_TOLD = 100


class Sealed(Protocol):
    """Where envelopes are; see `stores/sql_sealed.py`. `place` is what the envelope of a name is bound to."""

    place: Callable[[str], str]

    async def count_sealed(self, but: str) -> int: ...

    async def sealed(self, but: str, after: str, limit: int) -> tuple[tuple[str, str], ...]: ...

    async def reseal(self, name: str, old: str, new: str) -> bool: ...


class Resealed(msgspec.Struct, frozen=True):
    """How many envelopes were sealed anew, how many could not be, and of the first of these why."""

    done: int
    failed: int
    told: tuple[str, ...]


async def left(stores: Sequence[Sealed], ring: Keyring) -> int:
    """How many envelopes the key of now did not seal."""
    return sum([await store.count_sealed(_current(ring)) for store in stores])


async def reseal(stores: Sequence[Sealed], ring: Keyring, advance: Callable[[int], None] = lambda _: None) -> Resealed:
    """Seal all of them anew. `advance` hears how many were looked at."""
    done, failed = 0, 0
    told: list[str] = []
    for store in stores:
        after = ""
        while batch := await store.sealed(_current(ring), after, BATCH):
            for name, old in batch:
                try:
                    value = ring.open(old, store.place(name))
                except SecretUnavailable as error:
                    failed += 1
                    told += [str(error)] if failed <= MOST_TOLD else []
                    continue
                done += await store.reseal(name, old, ring.seal(value, store.place(name)))
            after = batch[-1][0]
            advance(len(batch))
    return Resealed(done, failed, tuple(told))


def _current(ring: Keyring) -> str:
    return f"{VERSION}|{ring.current}|"
