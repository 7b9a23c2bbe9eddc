"""A simulated provider among the settings, so that the gateway can be tried before anybody has a provider's key.

It is added, never put in another's place: a model name that the configuration serves, by name or by wildcard, keeps its
deployment. Prices are those of the real models, so that the spend in the ledger is what it would be.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal

import msgspec

from extproc.errors import SecretUnavailable
from extproc.model import Deployment, PriceOverride, Upstream
from extproc.policy import access
from extproc.secrets import SecretResolver
from extproc.settings.model import Settings

PROVIDER = "simulated"
UPSTREAM_NAME = "simulated-provider"
API_BASE = "http://simulated-provider/v1"

_MILLION = 1_000_000


def _prices(given: str, taken: str, cached: str | None = None, written: str | None = None) -> PriceOverride:
    """From US dollars per million tokens, as the price list has them."""
    return PriceOverride(
        input_cost_per_token=Decimal(given) / _MILLION,
        output_cost_per_token=Decimal(taken) / _MILLION,
        cache_read_input_token_cost=Decimal(cached) / _MILLION if cached else None,
        cache_creation_input_token_cost=Decimal(written) / _MILLION if written else None,
    )


#: OpenAI's and Anthropic's models with their list prices (platform.openai.com/docs/pricing, claude.com/pricing).
MODELS: dict[str, PriceOverride] = {
    "gpt-4o-mini": _prices("0.15", "0.60", "0.075"),
    "gpt-4o": _prices("2.50", "10.00", "1.25"),
    "gpt-3.5-turbo-instruct": _prices("1.50", "2.00"),
    "text-embedding-3-small": _prices("0.02", "0"),
    "claude-sonnet-5-5": _prices("2", "10", "0.10", "2.50"),
}


def with_simulated_provider(settings: Settings, socket: str) -> Settings:
    """The settings with a deployment at the simulated provider for every model of `MODELS` not configured already."""
    upstream = Upstream(
        name=UPSTREAM_NAME, scheme="http", host=UPSTREAM_NAME, port=80, base_path="/v1", unix_socket=socket
    )
    configured = [deployment.model_name for deployment in settings.deployments]
    added = tuple(
        _deployment(name, prices, upstream)
        for name, prices in MODELS.items()
        if not any(access.matches(pattern, name) for pattern in configured)
    )
    return msgspec.structs.replace(settings, deployments=(*settings.deployments, *added))


def simulated_models(settings: Settings) -> tuple[str, ...]:
    """The model names that the simulated provider answers."""
    return tuple(each.model_name for each in settings.deployments if each.provider == PROVIDER)


def is_usable(deployment: Deployment, resolver: SecretResolver) -> bool:
    """Whether the deployment could serve now: it needs no credential, or has one."""
    if deployment.credential is None:
        return True
    try:
        resolver.resolve(deployment.credential)
    except SecretUnavailable:
        return False
    return True


def _deployment(name: str, prices: PriceOverride, upstream: Upstream) -> Deployment:
    return Deployment(
        id=hashlib.sha256(f"{PROVIDER}/{name}".encode()).hexdigest(),
        model_name=name,
        provider=PROVIDER,
        provider_model=name,
        upstream=upstream,
        api_base=API_BASE,
        credential=None,
        prices=prices,
    )
