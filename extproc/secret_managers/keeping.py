"""The values of managed secrets: fetched before they are needed, asked for again in the background, never forgotten
for an outage.

On the way of an exchange a value is one look into a dictionary. A new value counts from the moment at which it is
fetched. While a manager cannot be asked, the last good value serves, however long that takes; where it answers that
there is no such secret any more, the value ends after `GRACE_SECONDS`: taking a secret away must end its use.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from pydantic import SecretStr

from extproc.errors import ConfigError, SecretUnavailable
from extproc.model import SecretRef
from extproc.secret_managers import Manager, Managers, NoSuchSecret
from extproc.secrets import GRACE_SECONDS, SecretResolver, checked

logger = logging.getLogger(__name__)

#: The longest that one secret may take, whatever a manager does.
DEADLINE_SECONDS = 15.0
#: How soon a reference is fetched that was asked for while serving.
TICK_SECONDS = 1.0
#: By how much refreshes of many processes are spread.
_JITTER = 0.2
_MOST_AT_ONCE = 8
#: The field that LiteLLM keeps a secret's value in.
_LITELLM_FIELD = "key"


class KeptSecrets:
    """Of one process. `clock` tells seconds that only go forward; `report` hears which references can be fetched."""

    def __init__(
        self,
        managers: Managers,
        *,
        clock: Callable[[], float] = time.monotonic,
        report: Callable[[str, bool], None] = lambda _reference, _up: None,
    ) -> None:
        self._managers = managers
        self._clock = clock
        self._report = report
        self._by_kind: dict[str, Manager] = {}
        self._values: dict[SecretRef, SecretStr] = {}
        self._missing_since: dict[SecretRef, float] = {}
        self._up: dict[SecretRef, bool] = {}
        self._wanted: set[SecretRef] = set()
        self._serving = False

    def handles(self, reference: SecretRef) -> bool:
        """Whether a manager is asked for it."""
        if reference.scheme != "env":
            return reference.scheme in {"vault", "aws"}
        managers = self._managers
        return bool(managers.first) and (managers.hosted is None or reference.location in managers.hosted)

    def value(self, reference: SecretRef) -> SecretStr:
        """The last good value. One that was never asked for is fetched here and now, unless this process serves: then
        it is fetched in the background. Raises `SecretUnavailable`."""
        known = self._values.get(reference)
        if known is not None:
            return known
        if self._serving:
            self._wanted.add(reference)
            raise SecretUnavailable(f"{reference} has not been fetched yet, or is gone")
        self._values[reference] = value = self.fetch(reference)
        return value

    def fetch(self, reference: SecretRef) -> SecretStr:
        """Ask the manager. Blocks. Raises `SecretUnavailable`, which names the reference."""
        try:
            return checked(reference, self._ask(reference))
        except NoSuchSecret as error:
            raise NoSuchSecret(f"{reference}: {error}") from None
        except SecretUnavailable as error:
            raise SecretUnavailable(f"{reference}: {error}") from None

    async def fetch_all(self, references: Iterable[SecretRef], places: Mapping[str, str]) -> None:
        """Fetch what a configuration names before anything needs it. Raises `ConfigError` with a line for each that
        cannot be had, at its place of the file."""
        wanted = tuple(dict.fromkeys(each for each in references if self.handles(each)))
        lines = [
            f"{place}: {reason}" if (place := places.get(str(reference))) else reason
            for reference, reason in zip(wanted, await self._refreshed(wanted), strict=True)
            if reason
        ]
        if lines:
            raise ConfigError("\n".join(lines))
        self._serving = True

    async def refresh_until_cancelled(self) -> None:
        """Ask again for all, now and then; for what was wanted meanwhile, soon."""
        while True:
            pause = self._managers.refresh_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
            due = self._clock() + pause
            while self._clock() < due:
                await asyncio.sleep(min(TICK_SECONDS, max(0.0, due - self._clock())))
                wanted, self._wanted = self._wanted, set()
                await self._refreshed(tuple(wanted))
            await self._refreshed(tuple(self._up))

    async def _refreshed(self, references: tuple[SecretRef, ...]) -> list[str]:
        """Why each could not be fetched; empty for those that could. A thread that never ends is left behind."""
        if not references:
            return []
        pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="secrets")
        try:
            return await asyncio.gather(*(self._refresh(pool, each) for each in references))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def _refresh(self, pool: ThreadPoolExecutor, reference: SecretRef) -> str:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                value = await loop.run_in_executor(pool, self.fetch, reference)
        except TimeoutError:
            return self._failed(reference, f"{reference}: no answer within {DEADLINE_SECONDS:g} s")
        except SecretUnavailable as error:
            return self._failed(reference, str(error), missing=isinstance(error, NoSuchSecret))
        self._missing_since.pop(reference, None)
        known = self._values.get(reference)
        if known is not None and known != value:
            logger.info("secret_changed", extra={"reference": str(reference)})
        self._values[reference] = value
        self._mark(reference, up=True)
        return ""

    def _failed(self, reference: SecretRef, reason: str, *, missing: bool = False) -> str:
        self._mark(reference, up=False, reason=reason)
        if missing:
            since = self._missing_since.setdefault(reference, self._clock())
            if self._clock() - since >= GRACE_SECONDS:
                self._values.pop(reference, None)
        return reason

    def _mark(self, reference: SecretRef, *, up: bool, reason: str = "") -> None:
        if self._up.get(reference) == up:
            return
        first, self._up[reference] = reference not in self._up, up
        self._report(str(reference), up)
        if not up:
            logger.error("secret_unavailable", extra={"reference": str(reference), "reason": reason})
        elif not first:
            logger.warning("secret_available", extra={"reference": str(reference)})

    def _ask(self, reference: SecretRef) -> str:
        if reference.scheme != "env":
            return self._manager(reference.scheme).fetch(reference.location)
        try:
            return self._manager(self._managers.first).fetch(self._hosted_location(reference.location))
        except NoSuchSecret:
            return SecretResolver().local(reference).get_secret_value()

    def _hosted_location(self, name: str) -> str:
        """Where LiteLLM keeps the secret that is named like a variable."""
        primary = self._managers.primary_secret
        if primary:
            return f"{primary}/{name}"
        return f"{name}/{_LITELLM_FIELD}" if self._managers.first == "vault" else name

    def _manager(self, kind: str) -> Manager:
        if kind not in self._by_kind:
            self._by_kind[kind] = self._connected(kind)
        return self._by_kind[kind]

    def _connected(self, kind: str) -> Manager:
        """The drivers are extras of the package, and take long to load."""
        try:
            if kind == "aws":
                from extproc.secret_managers.aws import Aws

                return Aws(self._managers.aws)
            from extproc.secret_managers.vault import Vault
        except ImportError:
            raise SecretUnavailable(f"its driver is missing: pip install 'llm-extproc[{kind}]'") from None
        if self._managers.vault is None:
            raise SecretUnavailable("no Vault is configured: set general_settings.secret_manager")
        return Vault(self._managers.vault, SecretResolver())
