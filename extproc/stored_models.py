"""The models that this process serves: those of the configuration, and those that were made at run time.

Each worker reads the stored ones when it starts, when it changed one itself, and otherwise looks every two seconds
whether the newest row is another one: nobody has to be told, and nothing is missed. What is served changes all at once.

Envoy's clusters stand in its bootstrap. To any other host a stored model is led by headers, once the host was looked up
(`destinations.py`). One that leads where none may, or whose credential cannot be opened, is left out and told in the
log; the others are served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from extproc.destinations import Resolved
from extproc.encryption import Keyring
from extproc.errors import ConfigError, SecretUnavailable, StoreUnavailable
from extproc.model import Allowance, Deployment, StoredModel
from extproc.secrets import SecretResolver
from extproc.settings import rows
from extproc.settings.model import Settings
from extproc.stores.contract import Rows

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
#: Every so many looks everything is read again, whatever the newest row says.
READ_ALL_EVERY = 30
_PAGE = 500


class EncryptionKeys:
    """The keys that seal and open, read again when they change.

    A previous key that is not there is left out: only what it sealed needs it, and that is told then.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._resolver = SecretResolver()
        self._texts: tuple[str, ...] = ()
        self._ring: Keyring | None = None

    def ring(self) -> Keyring | None:
        """`None` where no encryption key is configured. Raises `SecretUnavailable`."""
        current = self._settings.encryption_key
        if current is None:
            return None
        texts = (self._resolver.resolve(current).get_secret_value(), *self._previous())
        if texts != self._texts:
            try:
                self._ring, self._texts = Keyring(texts), texts
            except ValueError as error:
                raise SecretUnavailable(f"encryption_key ({current}): {error}") from None
        return self._ring

    def _previous(self) -> Iterable[str]:
        for reference in self._settings.previous_encryption_keys:
            try:
                yield self._resolver.resolve(reference).get_secret_value()
            except SecretUnavailable:
                continue


class StoredModels:
    """`changed` is called whenever `deployments` and `rates` are others than before."""

    def __init__(
        self,
        settings: Settings,
        stored: Rows[StoredModel],
        keyring: Callable[[], Keyring | None],
        hosts: Resolved | None = None,
    ) -> None:
        self._settings = settings
        self._stored = stored
        self.keyring = keyring
        self.hosts = hosts or Resolved(settings.stored_model_hosts)
        self._reading = asyncio.Lock()
        self._newest: object = None
        self.deployments = settings.deployments
        self.rates = dict(settings.model_rates)
        self._names = _names(self.deployments)
        self.changed: Callable[[], None] = lambda: None

    def name_of(self, model_id: str) -> str:
        """The configured name of a deployment; empty for one that is gone."""
        return self._names.get(model_id, "")

    def failed(self, model_id: str) -> None:
        """The provider of this deployment was unavailable."""
        for deployment in self.deployments[len(self._settings.deployments) :]:
            if deployment.id == model_id:
                self.hosts.failed(deployment.upstream)

    async def reload(self) -> None:
        """Read all of them. Raises `StoreUnavailable`."""
        # One at a time: what was read first would otherwise be served last where a name is slow.
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        newest = await self._look()
        found: list[StoredModel] = []
        while len(found) < newest[0]:
            page = await self._stored.list(
                {}, page=len(found) // _PAGE + 1, size=_PAGE, sort_by="created_at", descending=False
            )
            if not page.rows:
                break
            found += page.rows
        models = [(model, deployment) for model in found if (deployment := self._deployment(model)) is not None]
        await self.hosts.follow(deployment.upstream for _, deployment in models)
        self._newest = newest
        self._serve(models)

    async def follow_until_cancelled(self) -> None:
        """Keep up with what other workers change."""
        looks = 0
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            looks += 1
            try:
                if looks % READ_ALL_EVERY == 0 or await self._look() != self._newest:
                    await self.reload()
            except StoreUnavailable as outage:
                logger.debug("stored_models_not_read", extra={"store": outage.store, "reason": outage.reason})

    async def _look(self) -> tuple[int, object]:
        """How many there are, and which was changed last."""
        page = await self._stored.list({}, size=1, sort_by="updated_at")
        return page.total, [(row.id, row.updated_at) for row in page.rows]

    def _serve(self, models: Sequence[tuple[StoredModel, Deployment]]) -> None:
        deployments = (*self._settings.deployments, *(deployment for _, deployment in models))
        rates = _rates(self._settings, [model for model, _ in models])
        if (deployments, rates) != (self.deployments, self.rates):
            self.deployments, self.rates, self._names = deployments, rates, _names(deployments)
            self.changed()

    def _deployment(self, model: StoredModel) -> Deployment | None:
        try:
            return rows.opened(model, self._settings, self.keyring)
        except (ConfigError, SecretUnavailable) as error:
            logger.warning("stored_model_left_out", extra={"model_id": model.id, "error": str(error)})
            return None


def _names(deployments: Iterable[Deployment]) -> dict[str, str]:
    return {deployment.id: deployment.model_name for deployment in deployments}


def _rates(settings: Settings, stored: Iterable[StoredModel]) -> dict[str, Allowance]:
    """As in the configuration: a model name's rate is the sum over its deployments, none where one has none."""
    configured = {deployment.model_name for deployment in settings.deployments}
    rates = dict(settings.model_rates)
    seen = set(configured)
    for model in stored:
        name = model.model_name
        own = Allowance(rpm_limit=model.parameters.get("rpm"), tpm_limit=model.parameters.get("tpm"))
        rates[name] = _sum(rates.get(name, Allowance()), own) if name in seen else own
        seen.add(name)
    return {name: allowance for name, allowance in rates.items() if allowance != Allowance()}


def _sum(one: Allowance, other: Allowance) -> Allowance:
    told: dict[str, Any] = {}
    for name in ("rpm_limit", "tpm_limit"):
        parts = (getattr(one, name), getattr(other, name))
        told[name] = None if None in parts else sum(parts)
    return Allowance(**told)
