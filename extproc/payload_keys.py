"""Whose texts come encrypted, and with which key: the first row of the configuration that fits.

Keys are secrets by reference, resolved for each exchange, so that one that is rotated is used at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from cryptography.fernet import Fernet

from extproc.bodies.payload_encryption import Sealing
from extproc.errors import SecretUnavailable
from extproc.guardrails import Selectors
from extproc.model import Key, SecretRef


class PayloadKey(msgspec.Struct, frozen=True):
    """A row of `payload_encryption`: a Fernet key, and for whom it holds."""

    key: SecretRef
    selectors: Selectors = Selectors()


class PayloadKeys:
    """All rows. `resolve` turns a reference into its value, and raises `SecretUnavailable`."""

    def __init__(self, rows: Sequence[PayloadKey], resolve: Callable[[SecretRef], str]) -> None:
        self._rows = rows
        self._resolve = resolve

    def choose(self, key: Key, model: str, path: str) -> Sealing | None:
        """What opens the texts of an exchange, `None` where they come as they are. Raises `SecretUnavailable`."""
        row = next((row for row in self._rows if row.selectors.fit(key, model, path)), None)
        if row is None:
            return None
        try:
            return Sealing(Fernet(self._resolve(row.key)))
        except ValueError:
            # The text of the error says nothing of the key, but its traceback would.
            raise SecretUnavailable(f"{row.key} is no Fernet key") from None
