"""What somebody did with a key: facts that stores gather and `policy/suspicion.py` judges. A value only."""

from __future__ import annotations

import msgspec

from extproc.model import Nanos, UnixMs


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What a key did in the last hours, and what is usual for it: the week before, per hour.

    `used_before` is when it was used last before these hours, `None` where it never was; `new_addresses` are those
    that it was not used from in the week before.
    """

    key_digest: str
    requests: int
    failures: int
    spend: Nanos
    usual_requests: float = 0.0
    usual_spend: float = 0.0
    used_before: UnixMs | None = None
    addresses: int = 0
    new_addresses: tuple[str, ...] = ()
