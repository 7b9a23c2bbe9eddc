"""What happens when a store is gone. One table, no store.

The operator says what an outage of the counters means: `refuse` (nobody can be sure that there is room, so nobody
passes) or `allow` (this process counts for itself until they are back; limits hold in each process and may be exceeded
by all of them together). An outage of the keys leaves no choice: a key that is not in the cache is unknown, and unknown
is not admitted.

Whatever is decided is said: in the response's `x-extproc-outage` header, in the log line, in a metric.
"""

from __future__ import annotations

from enum import StrEnum

from extproc.policy import refusals
from extproc.policy.refusals import Refusal


class OnOutage(StrEnum):
    """The operator's choice for the counters."""

    REFUSE = "refuse"
    ALLOW = "allow"


class Store(StrEnum):
    """Who may be gone."""

    KEYS = "keys"
    COUNTERS = "counters"


_VERDICTS: dict[tuple[Store, OnOutage], Refusal | None] = {
    (Store.KEYS, OnOutage.REFUSE): refusals.STORE_UNAVAILABLE,
    (Store.KEYS, OnOutage.ALLOW): refusals.STORE_UNAVAILABLE,
    (Store.COUNTERS, OnOutage.REFUSE): refusals.COUNTERS_UNAVAILABLE,
    (Store.COUNTERS, OnOutage.ALLOW): None,
}


def verdict(store: Store, on_outage: OnOutage, *, limited: bool) -> Refusal | None:
    """Whether an exchange is refused while a store is gone; `None` is "go on, and say so".

    `limited` is whether the exchange meets any limit: what is unlimited needs no counters.
    """
    if store is Store.COUNTERS and not limited:
        return None
    return _VERDICTS[store, on_outage]
