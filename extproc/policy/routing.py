"""Which deployment serves a model name.

Exact names come before wildcards, longer wildcards before shorter ones. Where several deployments share a name the
exchange's event id decides, so that the load spreads evenly and the choice needs neither chance nor memory
(LiteLLM's `simple-shuffle`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from extproc.model import Deployment
from extproc.policy.access import matches
from extproc.providers.hosts import speaks


class Route(msgspec.Struct, frozen=True):
    """A deployment, and the model name its provider is asked for."""

    deployment: Deployment
    provider_model: str


class Routes:
    """The deployments, indexed by name; immutable once built."""

    def __init__(self, deployments: Sequence[Deployment]) -> None:
        self._exact: dict[str, list[Deployment]] = {}
        wildcards: dict[str, list[Deployment]] = {}
        for deployment in deployments:
            index = wildcards if "*" in deployment.model_name else self._exact
            index.setdefault(deployment.model_name, []).append(deployment)
        self._wildcards = sorted(wildcards.items(), key=lambda item: -len(item[0]))

    def choose(self, model: str, spread: str, api: str | None = None) -> Route | None:
        """The deployment for `model`, or `None`. `spread` is any text that differs from exchange to exchange; `api` is
        the name of the one that the deployment's provider must speak."""
        if exact := _speaking(self._exact.get(model, []), api):
            return _pick(exact, model, spread)
        for pattern, deployments in self._wildcards:
            if matches(pattern, model) and (found := _speaking(deployments, api)):
                return _pick(found, model, spread)
        return None


def _speaking(deployments: Sequence[Deployment], api: str | None) -> Sequence[Deployment]:
    return [each for each in deployments if speaks(each.provider, api)] if api else deployments


def _pick(deployments: Sequence[Deployment], model: str, spread: str) -> Route:
    position = zlib.crc32(spread.encode()) % len(deployments) if len(deployments) > 1 else 0
    chosen = deployments[position]
    return Route(chosen, _provider_model(chosen, model))


def _provider_model(deployment: Deployment, model: str) -> str:
    """What the `*` of the model name matched takes the place of the `*` in the provider's name."""
    if "*" not in deployment.provider_model:
        return deployment.provider_model
    head, _, tail = deployment.model_name.partition("*")
    matched = model[len(head) : len(model) - len(tail)]
    return deployment.provider_model.replace("*", matched, 1)
