"""What stands for what: the values of one exchange, and the placeholders put in their place.

Strategy: the same value has the same placeholder, `<EMAIL_ADDRESS_1>`, so that a model can reason about it. Numbers are
given out once for each kind, in the order in which values are met: a conversation that sends its history along has the
same ones in every turn. A `Placeholders` belongs to one exchange and knows no other, so no placeholder can bring a
value of somebody else.

A placeholder that the client wrote itself is treated as a value, too (`LITERAL`): it leaves as `<LITERAL_1>` and comes
back as what was written. So whatever looks like a placeholder in an answer is ours, or nobody's.

What is found in an answer gets its placeholder from the same numbers but is never restored, unless the request had the
value: the client knows what it sent, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

#: The entity of placeholders that the client wrote itself.
LITERAL = "LITERAL"
#: As many values as one exchange may have; more is a text made to fill memory.
MAX_VALUES = 100_000
_HASH_CHARS = 16


class TooManyValues(ValueError):
    """An exchange has more values to mask than can be kept."""


class Placeholders:
    """The map of one exchange.

    `hash_key` is the deployment's secret for hashes. Raises `TooManyValues` instead of growing without end.
    """

    __slots__ = ("_hash_key", "_next", "_of_value", "_restorable")

    def __init__(self, hash_key: bytes = b"") -> None:
        self._hash_key = hash_key
        self._of_value: dict[tuple[str, str], str] = {}
        self._restorable: dict[str, str] = {}
        self._next: dict[str, int] = {}

    def __len__(self) -> int:
        """How many values have a placeholder."""
        return len(self._of_value)

    def mask(self, entity: str, value: str, *, restorable: bool) -> str:
        """The placeholder of a value, a new one where it has none yet."""
        placeholder = self._of_value.get((entity, value)) or self._new(entity, value)
        if restorable:
            self._restorable[placeholder] = value
        return placeholder

    def hash(self, entity: str, value: str) -> str:
        """A keyed hash of a value: equal values look alike, and nothing leads back. Needs a `hash_key`."""
        if not self._hash_key:
            raise ValueError("hashes need a key")
        text = f"{entity}\0{value}".encode("utf-8", "surrogatepass")
        return f"<{entity}_{hmac.new(self._hash_key, text, hashlib.sha256).hexdigest()[:_HASH_CHARS]}>"

    def value(self, placeholder: str) -> str | None:
        """What to put back for a placeholder in its own spelling, or `None` where there is nothing to put back."""
        return self._restorable.get(placeholder)

    def values(self) -> Iterator[tuple[str, str, str]]:
        """The entity, the value and the placeholder of everything that has one."""
        return ((entity, value, placeholder) for (entity, value), placeholder in self._of_value.items())

    def _new(self, entity: str, value: str) -> str:
        if len(self._of_value) >= MAX_VALUES:
            raise TooManyValues(f"more than {MAX_VALUES} values to mask")
        number = self._next[entity] = self._next.get(entity, 0) + 1
        placeholder = self._of_value[entity, value] = f"<{entity}_{number}>"
        return placeholder
