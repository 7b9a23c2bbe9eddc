"""Prices are the catalogue's to the nano, the operator's where he wrote one, and never a silent zero."""

from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal

import msgspec
import pytest
from genai_prices import Usage as CatalogueUsage
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.model import Deployment, PriceOverride, Upstream, Usage
from extproc.pricing import catalog
from extproc.pricing.catalog import CATALOGUES, Prices, tariff_for

NOW = 1_764_000_000_000  # 2025-11-24
DOLLAR = 1_000_000_000
OWNERS = {provider.id: provider for provider in providers}
MODELS = [(ours, model) for ours, theirs in CATALOGUES.items() for model in OWNERS[theirs].models]


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@st.composite
def usages(draw) -> Usage:
    """Usage whose parts are disjoint, as the catalogue requires."""
    whole = st.one_of(st.integers(0, 1000), st.integers(0, 2_000_000))
    cached, written, audio, plain = (draw(whole) for _ in range(4))
    reasoning, spoken, said = (draw(whole) for _ in range(3))
    return Usage(
        input_tokens=cached + written + audio + plain,
        output_tokens=reasoning + spoken + said,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        input_audio_tokens=audio,
        reasoning_tokens=reasoning,
        output_audio_tokens=spoken,
    )


def catalogue_cost(provider: str, model: str, usage: Usage, at: int) -> int:
    told = CatalogueUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        cache_audio_read_tokens=0,
        cache_audio_write_tokens=0,
        output_reasoning_tokens=usage.reasoning_tokens,
        output_audio_tokens=usage.output_audio_tokens,
        output_audio_reasoning_tokens=0,
    )
    moment = datetime.fromtimestamp(at / 1000, UTC)
    price = calc_price(told, model, provider_id=CATALOGUES[provider], genai_request_timestamp=moment)
    return int((price.total_price * DOLLAR).to_integral_value(ROUND_CEILING))


def cost(provider, model, usage, at=NOW, override=None):
    tariff = tariff_for(provider, (model,), override)
    return None if tariff is None else tariff.cost(usage, at)


def check(provider, model, usage, at):
    ours = cost(provider, model.id, usage, at)
    # None is ours alone: the catalogue leaves out of the sum what it has no price for.
    assert ours is None or ours == catalogue_cost(provider, model.id, usage, at)
    return ours


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(MODELS), usages(), st.integers(ms("2023-01-01"), ms("2029-01-01")))
def test_the_cost_is_the_catalogues_rounded_up_once(listed, usage, at):
    provider, model = listed

    check(provider, model, usage, at)


@pytest.mark.parametrize("provider", CATALOGUES)
def test_every_model_of_the_catalogue_is_priced_as_there(provider):
    usage = Usage(
        input_tokens=300_001,
        output_tokens=40_009,
        cache_read_tokens=70_003,
        cache_write_tokens=20_011,
        input_audio_tokens=0,
        reasoning_tokens=9_001,
    )
    for model in OWNERS[CATALOGUES[provider]].models:
        found = OWNERS[CATALOGUES[provider]].find_model(model.id, all_providers=providers)
        if found is None:  # some entries are found by a longer name than their own only
            assert cost(provider, model.id, usage) is None
            continue
        prices = found.get_prices(datetime.fromtimestamp(NOW / 1000, UTC))
        priced = prices.input_mtok is not None and prices.output_mtok is not None
        assert (check(provider, model, usage, NOW) is not None) == (priced or found.id.endswith(":free")), model.id


@pytest.mark.parametrize("second", range(0, 86_400, 1800))
@pytest.mark.parametrize("edge", [-1, 0, 1])
def test_hourly_prices_change_to_the_millisecond(second, edge):
    hourly = next(
        model
        for model in OWNERS["deepseek"].models
        if isinstance(model.prices, list) and isinstance(model.prices[-1].constraint, TimeOfDateConstraint)
    )

    check(
        "deepseek",
        hourly,
        Usage(input_tokens=1000, output_tokens=1000),
        NOW // 86_400_000 * 86_400_000 + second * 1000 + edge,
    )


def test_dated_prices_change_at_midnight():
    model, constraint = next(
        (model, price.constraint)
        for _, model in MODELS
        if isinstance(model.prices, list)
        for price in model.prices
        if isinstance(price.constraint, StartDateConstraint)
    )
    provider = next(provider for provider, listed in MODELS if listed is model)
    midnight = ms(constraint.start_date.isoformat())

    for at in (midnight - 1, midnight):
        check(provider, model, Usage(input_tokens=1000, output_tokens=1000), at)


def test_thresholds_are_crossed_one_token_above_them():
    provider, model, start = next(
        (provider, model, model.prices.input_mtok.tiers[0].start)
        for provider, model in MODELS
        if isinstance(model.prices, ModelPrice) and isinstance(model.prices.input_mtok, TieredPrices)
    )

    costs = [check(provider, model, Usage(input_tokens=count), NOW) for count in (start, start + 1)]

    assert costs[1] > costs[0] * 1.2


def test_an_exact_price():
    usage = Usage(input_tokens=1000, output_tokens=500, cache_read_tokens=100)

    assert cost("openai", "gpt-4o", usage) == 900 * 2500 + 100 * 1250 + 500 * 10_000


def test_part_of_a_nano_is_a_whole_one():
    override = PriceOverride(input_cost_per_token=Decimal("0.0000000001"), output_cost_per_token=Decimal(0))

    assert [cost("openai_like", "m", Usage(input_tokens=count), override=override) for count in (0, 1, 10, 11)] == [
        0,
        1,
        1,
        2,
    ]


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm", "nowhere"])
def test_an_unknown_model_has_no_price(provider):
    assert tariff_for(provider, ("no-such-model", "")) is None


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "whisper-1"), ("openai", "tts-1"), ("cerebras", "qwen-3-coder-480b")]
)
def test_a_model_without_a_price_for_tokens_has_no_price(provider, model):
    assert tariff_for(provider, (model,)) is None


def test_a_free_model_is_known_to_cost_nothing():
    assert cost("openrouter", "deepseek/deepseek-r1:free", Usage(input_tokens=9, output_tokens=9)) == 0


def test_output_of_a_model_that_should_have_none_has_no_cost():
    assert cost("openai", "text-embedding-3-small", Usage(input_tokens=1000)) == 20_000
    assert cost("openai", "text-embedding-3-small", Usage(input_tokens=1000, output_tokens=1)) is None


class TestOverride:
    def test_of_nothing_changes_nothing(self):
        usage = Usage(input_tokens=1000, output_tokens=10)

        assert cost("openai", "gpt-4o", usage, override=PriceOverride()) == cost("openai", "gpt-4o", usage)

    def test_prices_a_model_that_no_catalogue_knows(self):
        override = PriceOverride(
            input_cost_per_token=Decimal("0.000001"),
            output_cost_per_token=Decimal("0.000002"),
            cache_read_input_token_cost=Decimal("0.0000001"),
            cache_creation_input_token_cost=Decimal("0.000003"),
            input_cost_per_audio_token=Decimal("0.00001"),
            output_cost_per_audio_token=Decimal("0.00002"),
            output_cost_per_reasoning_token=Decimal("0.000005"),
            input_cost_per_request=Decimal("0.01"),
        )
        usage = Usage(
            input_tokens=111,
            output_tokens=111,
            cache_read_tokens=10,
            cache_write_tokens=20,
            input_audio_tokens=30,
            reasoning_tokens=40,
            output_audio_tokens=50,
        )

        assert cost("hosted_vllm", "m", usage, override=override) == (
            51 * 1000 + 10 * 100 + 20 * 3000 + 30 * 10_000 + 21 * 2000 + 40 * 5000 + 50 * 20_000 + 10_000_000
        )

    def test_of_one_unit_leaves_the_catalogues_price_of_the_others(self):
        override = PriceOverride(input_cost_per_token=Decimal("0.001"))
        usage = Usage(input_tokens=1, output_tokens=1)

        assert cost("openai", "gpt-4o", usage, override=override) == 1_000_000 + 10_000

    def test_of_zero_is_a_price_and_means_the_parts_too(self):
        override = PriceOverride(input_cost_per_token=Decimal(0), output_cost_per_token=Decimal(0))
        usage = Usage(input_tokens=9, output_tokens=9, cache_read_tokens=3, input_audio_tokens=2, reasoning_tokens=4)

        assert cost("openai", "gpt-4o", usage, override=override) == 0

    def test_of_zero_leaves_a_part_that_has_a_price_of_its_own(self):
        override = PriceOverride(input_cost_per_token=Decimal(0), cache_read_input_token_cost=Decimal("0.000001"))

        assert cost("openai", "gpt-4o", Usage(input_tokens=9, cache_read_tokens=3), override=override) == 3000

    def test_of_requests_alone_makes_tokens_free(self):
        override = PriceOverride(input_cost_per_request=Decimal("0.5"))

        assert cost("hosted_vllm", "m", Usage(input_tokens=9, output_tokens=9), override=override) == DOLLAR // 2

    def test_of_input_alone_leaves_the_cost_of_output_unknown(self):
        override = PriceOverride(input_cost_per_token=Decimal("0.001"))

        assert cost("hosted_vllm", "m", Usage(input_tokens=1), override=override) == 1_000_000
        assert cost("hosted_vllm", "m", Usage(output_tokens=1), override=override) is None

    def test_of_output_alone_is_no_price_of_an_unknown_model(self):
        assert tariff_for("hosted_vllm", ("m",), PriceOverride(output_cost_per_token=Decimal(1))) is None

    def test_replaces_thresholds(self):
        provider, model = next(
            (provider, model)
            for provider, model in MODELS
            if isinstance(model.prices, ModelPrice) and isinstance(model.prices.input_mtok, TieredPrices)
        )
        override = PriceOverride(input_cost_per_token=Decimal("0.000001"), output_cost_per_token=Decimal(0))

        costs = [cost(provider, model.id, Usage(input_tokens=count), override=override) for count in (1000, 10**6)]

        assert costs == [1_000_000, 1_000_000_000]


class TestOverlap:
    """Parts that together exceed their whole must overlap; nothing is billed twice, and nothing is negative."""

    def test_cached_sound_has_the_price_of_cached_sound(self):
        override = PriceOverride(
            input_cost_per_token=Decimal("0.000001"),
            output_cost_per_token=Decimal(0),
            cache_read_input_token_cost=Decimal("0.0000001"),
            input_cost_per_audio_token=Decimal("0.00001"),
        )
        usage = Usage(input_tokens=10, cache_read_tokens=8, input_audio_tokens=6)

        assert cost("hosted_vllm", "m", usage, override=override) == 4 * 100 + 2 * 10_000 + 4 * 100

    def test_spoken_reasoning_has_the_price_of_speech(self):
        override = PriceOverride(
            input_cost_per_token=Decimal(0),
            output_cost_per_token=Decimal("0.000001"),
            output_cost_per_reasoning_token=Decimal("0.000002"),
            output_cost_per_audio_token=Decimal("0.00001"),
        )
        usage = Usage(output_tokens=10, reasoning_tokens=8, output_audio_tokens=6)

        assert cost("hosted_vllm", "m", usage, override=override) == 6 * 10_000 + 4 * 2000

    @given(*[st.integers(0, 50)] * 7)
    def test_no_usage_has_a_negative_cost(self, whole_in, whole_out, cached, written, audio, reasoning, spoken):
        usage = Usage(
            input_tokens=whole_in,
            output_tokens=whole_out,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            input_audio_tokens=audio,
            reasoning_tokens=reasoning,
            output_audio_tokens=spoken,
        )

        assert cost("openai", "gpt-4o-audio-preview", usage) >= 0


class TestPrices:
    deployment = Deployment(
        id="d",
        model_name="*",
        provider="openai",
        provider_model="*",
        upstream=Upstream("u", "https", "api.openai.com", 443, "/v1"),
        api_base="https://api.openai.com/v1",
    )

    def test_the_model_that_answered_is_priced(self):
        prices = Prices([self.deployment])
        usage = Usage(input_tokens=1000)

        assert prices.price(self.deployment, "gpt-4o", "gpt-4o-2024-05-13", usage, NOW) == 5_000_000
        assert prices.price(self.deployment, "gpt-4o", "", usage, NOW) == 2_500_000

    def test_an_answer_by_an_unknown_name_is_priced_as_what_was_asked_for(self):
        assert Prices().price(self.deployment, "gpt-4o", "my-gpt", Usage(input_tokens=1), NOW) == 2500

    def test_an_asked_for_deployment_is_priced_by_the_model_that_answered(self):
        assert Prices().price(self.deployment, "my-gpt", "gpt-4o", Usage(input_tokens=1), NOW) == 2500

    def test_an_unpriced_model_costs_none_and_not_zero(self):
        assert Prices().price(self.deployment, "nothing", "", Usage(), NOW) is None

    def test_the_overrides_of_the_deployment_count(self):
        free = PriceOverride(input_cost_per_token=Decimal(0), output_cost_per_token=Decimal(0))
        deployment = msgspec.structs.replace(self.deployment, prices=free)

        assert Prices([deployment]).price(deployment, "nothing", "", Usage(input_tokens=5), NOW) == 0

    def test_names_that_clients_make_up_do_not_pile_up(self, monkeypatch):
        monkeypatch.setattr(catalog, "_MAX_TARIFFS", 3)
        prices = Prices()

        for number in range(10):
            prices.price(self.deployment, f"made-up-{number}", "", Usage(), NOW)

        assert len(prices._tariffs) <= 3
        assert prices.price(self.deployment, "made-up-9", "", Usage(), NOW) is None
        assert prices.price(self.deployment, "gpt-4o", "", Usage(input_tokens=1), NOW) == 2500


def test_a_daily_interval_may_cross_midnight():
    constraint = TimeOfDateConstraint(start_time=time(22, 30, tzinfo=UTC), end_time=time(6))
    condition = ConditionalPrice(constraint=constraint, prices=ModelPrice(input_mtok=Decimal(1)))

    period = catalog._period(condition, PriceOverride(), free=False)

    for moment in ("22:29:59.999", "22:30", "23:00", "05:59:59.999", "06:00", "12:00"):
        at = ms(f"2025-06-01 {moment}")
        assert period.covers(at) == constraint.active(datetime.fromtimestamp(at / 1000, UTC))


def test_where_no_price_is_in_force_the_first_one_counts(monkeypatch):
    late = StartDateConstraint(start_date=date(2099, 1, 1))
    model = ModelInfo(
        id="x", match=ClauseEquals("x"), prices=[ConditionalPrice(late, prices=ModelPrice(input_mtok=Decimal(7)))]
    )
    monkeypatch.setattr(catalog, "_find", lambda provider, name: model)

    assert cost("openai", "x", Usage(input_tokens=1)) == 7000
