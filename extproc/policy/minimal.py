"""What of a request is written down at all: the least that the operator wants (GDPR, article 5: data minimisation).

Everything here is decided before a receipt is made, so that what is not wanted is on no disk and in no log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

#: A row of the ledger is no place for documents: metadata that is longer as JSON is left out, and that is told.
MOST_METADATA_BYTES = 8 * 1024
TOO_LONG = {"omitted": f"longer than {MOST_METADATA_BYTES} bytes"}
#: A receipt is written in MessagePack, which has no larger numbers; one that cannot be written is never booked.
_LEAST, _MOST = -(2**63), 2**64 - 1
TOO_LARGE = {"omitted": "a number of more than 64 bits"}


class Kept(msgspec.Struct, frozen=True):
    """`metadata_fields` are the only fields of a request's metadata that are kept, `None` for all of them."""

    requester_ip: bool = True
    user_agent: bool = True
    metadata_fields: frozenset[str] | None = None

    def metadata(self, told: Mapping[str, object]) -> dict[str, object]:
        """Of a request's metadata, what its receipt has."""
        wanted = self.metadata_fields
        kept = {name: value for name, value in told.items() if wanted is None or name in wanted}
        if _has_large_number(kept):
            return dict(TOO_LARGE)
        return kept if len(msgspec.json.encode(kept)) <= MOST_METADATA_BYTES else dict(TOO_LONG)


def _has_large_number(value: Any) -> bool:
    """Of a JSON value; a body is nested no deeper than Python can go."""
    if isinstance(value, dict):
        return any(map(_has_large_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_large_number, value))
    return isinstance(value, int) and not _LEAST <= value <= _MOST
