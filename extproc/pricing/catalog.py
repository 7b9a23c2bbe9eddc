"""The price of an exchange: genai-prices' catalogue, the operator's overrides on top, exact to the nano.

Strategy: what the catalogue says of a model is compiled once into whole numbers of the smallest unit that all its rates
share, so that a cost is a handful of integer products and one division that rounds up. Nothing is rounded before it,
and nothing is a float.

A model without a price has no tariff, and a usage that a tariff has no rate for has no cost: `None`, never zero. Zero
is a price only where somebody wrote it down.

Rules, as in genai-prices: counts are inclusive, so parts are taken out of their whole before both are priced; a part
without a rate of its own costs what its whole costs; beyond a threshold of input tokens *all* tokens cost the higher
rate; of several dated or hourly prices the last one in force counts. Ours: the model that answered is priced rather
than the one asked for, where the catalogue knows it, since it is the more exact name (`gpt-4o` is answered by
`gpt-4o-2024-08-06`, an Azure deployment's name by its model); an override stays in force whichever it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction
from math import lcm

import msgspec
from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from extproc.model import NANOS_PER_DOLLAR, Deployment, Nanos, PriceOverride, UnixMs, Usage

_DAY_MS = 24 * 60 * 60 * 1000
#: Tariffs kept; wildcard deployments let clients name models, so this must have an end.
_MAX_TARIFFS = 4096

#: LiteLLM's provider names to genai-prices' ones. A provider that is not here has the operator's prices only.
CATALOGUES: dict[str, str] = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "groq": "groq",
    "mistral": "mistral",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together_ai": "together",
    "xai": "x-ai",
}


class Rates(msgspec.Struct, frozen=True, gc=False):
    """What each unit costs, as multiples of `1 / scale` nanos. `None` is unknown, and then so is the cost."""

    scale: int
    input: int | None
    output: int | None
    cache_read: int | None
    cache_write: int | None
    input_audio: int | None
    cached_audio: int | None
    reasoning: int | None
    output_audio: int | None
    request: int

    def cost(self, usage: Usage) -> Nanos | None:
        """The cost, rounded up once; `None` where a unit was used that has no known rate."""
        cached, audio = usage.cache_read_tokens, usage.input_audio_tokens
        written, spoken = usage.cache_write_tokens, usage.output_audio_tokens
        if (
            self.input is not None
            and self.output is not None
            and not (cached or audio or written or spoken or usage.reasoning_tokens)
        ):  # as nearly always
            return -(
                -(self.request + usage.input_tokens * self.input + usage.output_tokens * self.output) // self.scale
            )
        # Parts may overlap. What the whole has no room for must be both: cached sound, spoken reasoning.
        both = min(max(cached + written + audio - usage.input_tokens, 0), cached, audio)
        reasoning = max(min(usage.reasoning_tokens, usage.output_tokens - spoken), 0)
        total = self.request
        for count, rate in (
            (max(usage.input_tokens - cached - written - audio + both, 0), self.input),
            (cached - both, self.cache_read),
            (written, self.cache_write),
            (audio - both, self.input_audio),
            (both, self.cached_audio),
            (max(usage.output_tokens - reasoning - spoken, 0), self.output),
            (reasoning, self.reasoning),
            (spoken, self.output_audio),
        ):
            if count:
                if rate is None:
                    return None
                total += count * rate
        return -(-total // self.scale)


class _Period(msgspec.Struct, frozen=True):
    """When rates are in force, and the rates by thresholds: `rates[i]` up to and including `thresholds[i]`."""

    since: UnixMs | None
    daily: tuple[int, int] | None
    thresholds: tuple[int, ...]
    rates: tuple[Rates, ...]

    def covers(self, at: UnixMs) -> bool:
        if self.since is not None:
            return at >= self.since
        if self.daily is None:
            return True
        start, end = self.daily
        moment = at % _DAY_MS
        return start <= moment < end if start <= end else moment >= start or moment < end


class Tariff(msgspec.Struct, frozen=True):
    """What one model costs, at any moment. The periods are in the order in which they are asked."""

    periods: tuple[_Period, ...]
    fallback: _Period

    def cost(self, usage: Usage, at: UnixMs) -> Nanos | None:
        """The cost of a usage, rounded up to whole nanos; `None` where a used unit has no known price."""
        period = next((period for period in self.periods if period.covers(at)), self.fallback)
        return period.rates[bisect_left(period.thresholds, usage.input_tokens)].cost(usage)


class Prices:
    """The tariffs of the deployments, compiled when first needed and kept."""

    def __init__(self, deployments: Iterable[Deployment] = ()) -> None:
        self._tariffs: dict[tuple[str, str, str], Tariff | None] = {}
        for deployment in deployments:
            self.tariff(deployment, deployment.provider_model, "")

    def price(
        self, deployment: Deployment, provider_model: str, answered: str, usage: Usage, at: UnixMs
    ) -> Nanos | None:
        """The spend of an exchange, or `None` where no price is known. `answered` may be empty."""
        tariff = self.tariff(deployment, provider_model, answered)
        return None if tariff is None else tariff.cost(usage, at)

    def tariff(self, deployment: Deployment, provider_model: str, answered: str) -> Tariff | None:
        """The tariff for a model asked for and the model that answered."""
        name = (deployment.id, provider_model, answered)
        if name not in self._tariffs:
            if len(self._tariffs) >= _MAX_TARIFFS:
                self._tariffs.clear()
            self._tariffs[name] = tariff_for(deployment.provider, (answered, provider_model), deployment.prices)
        return self._tariffs[name]


def tariff_for(provider: str, models: Sequence[str], override: PriceOverride | None = None) -> Tariff | None:
    """The tariff of the first of `models` that the provider's catalogue knows, with the override on top.

    `None` where neither names a price of input tokens or of requests.
    """
    found = next((entry for name in models if name and (entry := _find(provider, name))), None)
    conditions = found.prices if found else ModelPrice()
    if isinstance(conditions, ModelPrice):
        conditions = [ConditionalPrice(prices=conditions)]
    # The catalogue writes a free model as one without prices, but so it does an unknown price: the name tells.
    free = found is not None and found.id.endswith(":free")
    periods = tuple(_period(condition, override or PriceOverride(), free=free) for condition in conditions)
    if all(rates.input is None for period in periods for rates in period.rates):
        return None
    return Tariff(periods[::-1], periods[0])


def _find(provider: str, name: str) -> ModelInfo | None:
    """The catalogue's entry. The snapshot's own look-up keeps every name it was ever asked for, so it is not used."""
    providers = get_snapshot().providers
    owner = find_provider_by_id(providers, CATALOGUES[provider]) if provider in CATALOGUES else None
    return owner.find_model(name, all_providers=providers) if owner else None


def _period(condition: ConditionalPrice, override: PriceOverride, *, free: bool) -> _Period:
    prices, constraint = condition.prices, condition.constraint
    tiered = [price for price in vars(prices).values() if isinstance(price, TieredPrices)]
    thresholds = sorted({tier.start for price in tiered for tier in price.tiers})
    return _Period(
        since=_midnight(constraint) if isinstance(constraint, StartDateConstraint) else None,
        daily=_hours(constraint) if isinstance(constraint, TimeOfDateConstraint) else None,
        thresholds=tuple(thresholds),
        rates=tuple(_rates(prices, floor, override, free=free) for floor in (-1, *thresholds)),
    )


class _Unit(msgspec.Struct, frozen=True):
    """A rate's name, where the catalogue and the override keep it, and whose part the unit is."""

    name: str
    price: str
    override: str
    whole: str = ""


#: Wholes stand before their parts.
_UNITS = (
    _Unit("input", "input_mtok", "input_cost_per_token"),
    _Unit("output", "output_mtok", "output_cost_per_token"),
    _Unit("cache_read", "cache_read_mtok", "cache_read_input_token_cost", whole="input"),
    _Unit("cache_write", "cache_write_mtok", "cache_creation_input_token_cost", whole="input"),
    _Unit("input_audio", "input_audio_mtok", "input_cost_per_audio_token", whole="input"),
    _Unit("cached_audio", "cache_audio_read_mtok", "cache_read_input_token_cost", whole="cache_read"),
    _Unit("reasoning", "output_reasoning_mtok", "output_cost_per_reasoning_token", whole="output"),
    _Unit("output_audio", "output_audio_mtok", "output_cost_per_audio_token", whole="output"),
)


def _rates(prices: ModelPrice, floor: int, override: PriceOverride, *, free: bool) -> Rates:
    """The rates for more than `floor` input tokens."""
    request = _request_price(prices, floor, override)
    # Whoever prices requests only, prices tokens at nothing.
    unknown = Fraction(0) if free or request is not None else None
    dollars: dict[str, Fraction | None] = {}
    written: dict[str, Decimal | None] = {}
    for unit in _UNITS:
        told: Decimal | None = getattr(override, unit.override)
        if told is None and written.get(unit.whole) == 0:
            told = Decimal(0)  # "free" is meant for every part that is not priced by itself
        written[unit.name] = told
        listed = _at(vars(prices).get(unit.price), floor)
        if told is not None:
            dollars[unit.name] = Fraction(told)
        elif listed is not None:
            dollars[unit.name] = Fraction(listed) / 1_000_000
        else:
            dollars[unit.name] = dollars.get(unit.whole, unknown)
    dollars["request"] = request or Fraction(0)
    return _scaled(dollars)


def _request_price(prices: ModelPrice, floor: int, override: PriceOverride) -> Fraction | None:
    if override.input_cost_per_request is not None:
        return Fraction(override.input_cost_per_request)
    listed = _at(vars(prices).get("requests_kcount"), floor)
    return None if listed is None else Fraction(listed) / 1000


def _at(price: Decimal | TieredPrices | None, floor: int) -> Decimal | None:
    """The price for more than `floor` input tokens."""
    if not isinstance(price, TieredPrices):
        return price
    return next((tier.price for tier in reversed(price.tiers) if tier.start <= floor), price.base)


def _scaled(dollars: dict[str, Fraction | None]) -> Rates:
    """Whole multiples of the largest unit that all rates are multiples of."""
    nanos = {name: None if rate is None else rate * NANOS_PER_DOLLAR for name, rate in dollars.items()}
    scale = lcm(*(rate.denominator for rate in nanos.values() if rate is not None))
    whole = {name: None if rate is None else int(rate * scale) for name, rate in nanos.items()}
    return msgspec.convert({"scale": scale, **whole}, Rates)


def _midnight(constraint: StartDateConstraint) -> UnixMs:
    return int(datetime.combine(constraint.start_date, time(), UTC).timestamp()) * 1000


def _hours(constraint: TimeOfDateConstraint) -> tuple[int, int]:
    """Start and end as milliseconds of the UTC day."""
    return _ms_of_day(constraint.start_time), _ms_of_day(constraint.end_time)


def _ms_of_day(moment: time) -> int:
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(datetime.combine(datetime(1970, 1, 2, tzinfo=UTC), zoned).timestamp() * 1000) % _DAY_MS
