"""The master keys that are accepted now: the one of the configuration, and previous ones for a while.

They are read again every two seconds, so that a key in a file can be changed while the gateway serves: write the new
one, keep the old one among the previous ones until nobody uses it. What can no longer be read, or is too short to be a
master key, changes nothing: nobody becomes the administrator by it, and whoever is one stays it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from pydantic import SecretStr

from extproc.errors import SecretUnavailable
from extproc.model import SecretRef
from extproc.policy import credentials
from extproc.secrets import SecretResolver
from extproc.settings.model import Settings

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
#: `sk-` and as many characters as the start demands of a strong one; the start looks closer.
MIN_CHARACTERS = 19


class MasterKeys:
    """`current` is the digest of the master key, `previous` are those of the previous ones. `changed` is called
    whenever they are others than before."""

    def __init__(self, settings: Settings, first: SecretStr) -> None:
        self._settings = settings
        self._resolver = SecretResolver()
        self.current = credentials.digest(first.get_secret_value())
        self.previous: tuple[str, ...] = ()
        self.changed: Callable[[], None] = lambda: None
        self.look()

    def look(self) -> None:
        """Read them again."""
        reference = self._settings.master_key
        current = self._digest(reference, self._resolver) if reference is not None else None
        found = (current or self.current, tuple(self._previous()))
        if found != (self.current, self.previous):
            self.current, self.previous = found
            logger.info("master_keys_changed", extra={"previous": len(self.previous)})
            self.changed()

    async def follow_until_cancelled(self) -> None:
        """Keep up with what the operator changes."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            self.look()

    def _previous(self) -> Iterator[str]:
        for reference in self._settings.previous_master_keys:
            # Without what a resolver remembers: a previous key that is taken away ends now.
            if (digest := self._digest(reference, SecretResolver())) is not None:
                yield digest

    @staticmethod
    def _digest(reference: SecretRef, resolver: SecretResolver) -> str | None:
        try:
            key = resolver.resolve(reference).get_secret_value()
        except SecretUnavailable:
            return None
        return credentials.digest(key) if key.startswith("sk-") and len(key) >= MIN_CHARACTERS else None
