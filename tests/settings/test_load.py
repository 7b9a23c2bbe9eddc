"""A configuration file becomes settings, or one line for each mistake."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from extproc import settings
from extproc.errors import ConfigError
from extproc.model import Allowance, PriceOverride, SecretRef
from extproc.settings import schema
from extproc.settings.model import MEBIBYTE, Settings

ONE = """\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: gpt-4o
      api_key: os.environ/OPENAI_API_KEY
"""


def refused(load, text: str, **options: bool) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(text, **options)
    return [line.partition("config.yaml:")[2] for line in str(error.value).splitlines()]


def test_without_a_file_everything_is_the_default():
    assert settings.load(None) == Settings()


def test_an_empty_file_is_the_default(load):
    assert load("") == Settings()


def test_a_model_of_openai_needs_a_name_and_a_key_only(load):
    (deployment,) = load(ONE).deployments

    assert (deployment.model_name, deployment.provider, deployment.provider_model) == ("gpt-4o", "openai", "gpt-4o")
    assert deployment.api_base == "https://api.openai.com/v1"
    assert deployment.credential == SecretRef("env", "OPENAI_API_KEY")
    upstream = deployment.upstream
    assert (upstream.name, upstream.scheme, upstream.host, upstream.port, upstream.base_path) == (
        "api.openai.com", "https", "api.openai.com", 443, "/v1",
    )  # fmt: skip


def test_the_security_pages_secrets_example_loads(load, monkeypatch):
    monkeypatch.setenv("AZURE_API_BASE", "https://example.openai.azure.com")
    text = ONE + (
        "  - model_name: azure-gpt4\n    litellm_params:\n      model: azure/gpt-4\n"
        "      api_key: os.environ/AZURE_API_KEY\n      api_base: os.environ/AZURE_API_BASE\n"
        "general_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n"
    )

    found = load(text, strict=True)

    azure = found.deployments[1]
    assert (azure.provider, azure.provider_model) == ("azure", "gpt-4")
    assert azure.api_base == "https://example.openai.azure.com/openai/v1"
    assert found.master_key == SecretRef("env", "LITELLM_MASTER_KEY")


def test_an_address_that_is_not_set_leaves_its_model_out_and_says_so(load, monkeypatch):
    monkeypatch.delenv("AZURE_API_BASE", raising=False)
    text = ONE + (
        "  - model_name: azure-gpt4\n    litellm_params: {model: azure/gpt-4, api_base: os.environ/AZURE_API_BASE}\n"
    )

    found = load(text)

    assert [each.model_name for each in found.deployments] == ["gpt-4o"]
    (line,) = found.unsupported
    assert line.endswith(
        "config.yaml:7:52: os.environ/AZURE_API_BASE is not set or is empty; the model azure-gpt4 is left out"
    )


def test_a_name_that_means_something_else_is_not_taken_for_what_is_missing(load):
    assert refused(load, "extproc_settings: {payload_encryption: [{keys: [a]}]}") == [
        "1:41: extproc_settings.payload_encryption[0].key is missing"
    ]


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(load):
    text = """\
model_list:
  - model_nam: a
    litellm_params: {model: gpt-4o}
  - model_name: b
    litellm_params: {model: 7}
general_settings:
  block_unpriced_models: perhaps
  user_api_key_cache_ttl: -1
"""

    assert refused(load, text) == [
        "2:5: model_list[0].model_name is missing; 'model_nam' may be meant to be it",
        "5:29: model_list[1].litellm_params.model must be a text",
        "7:26: general_settings.block_unpriced_models must be true or false",
        "8:27: general_settings.user_api_key_cache_ttl must be at least 0",
    ]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("{model: nobody/gpt-4o}", "3:29: the provider 'nobody' is not known; known are anthropic, azure, "),
        ("{model: my-own}", "3:29: it is not known which provider serves 'my-own': write PROVIDER/MODEL"),
        ("{model: hosted_vllm/x}", "3:21: the provider hosted_vllm has no usual address: api_base is missing"),
        ("{model: gpt-4o, api_base: 'ftp://x/v1'}", "3:47: api_base must begin with https:// or http://"),
        ("{model: gpt-4o, api_base: 'http://u:p@x/v1'}", "3:47: api_base must hold no user and no password"),
        ("{model: gpt-4o, api_base: 'http://x/v1?k=1'}", "3:47: api_base must be a scheme, a host and a path"),
        ("{model: gpt-4o, api_base: 'http://x:99999/'}", "3:47: api_base is no URL"),
        ("{model: gpt-4o, api_base: 'http:///v1'}", "3:47: api_base names no host"),
        ("{model: gpt-4o, api_base: 'http://x/a b'}", "3:47: api_base has a path that no provider has"),
        ("{model: openai/*}", "3:29: a * here needs one in model_name"),
        ("{model: gpt-4o, custom_llm_provider: nobody}", "3:58: the provider 'nobody' is not known"),
        ("{model: gpt-4o, api_key: '$OPENAI_API_KEY'}", "3:46: api_key looks like a reference, but is none"),
        ("{model: gpt-4o, api_key: oidc/openai/api_key}", "3:46: oidc/… is not supported yet"),
        ("{model: gpt-4o, api_key: vault/openai}", "3:46: api_key names no secret of Vault"),
        ("{model: gpt-4o, api_key: vault/../sys/x}", "3:46: api_key names no secret of Vault"),
        ("{model: gpt-4o, api_key: aws/}", "3:46: api_key names no secret of AWS"),
        ("{model: gpt-4o, api_key: ''}", "3:46: model_list[0].litellm_params.api_key must not be empty"),
        ("{model: gpt-4o, input_cost_per_token: 2.5}", "input_cost_per_token must be at most 1"),
        ("{model: gpt-4o, input_cost_per_token: -1}", "input_cost_per_token must be at least 0"),
        ("{model: gpt-4o, input_cost_per_token: .nan}", "input_cost_per_token must be a finite number"),
        ("{model: gpt-4o, input_cost_per_token: yes}", "input_cost_per_token must be a number"),
        ("{model: gpt-4o, input_cost_per_token: much}", "input_cost_per_token must be a number"),
        ("null", "litellm_params must be a mapping of names to values"),
        ("[1]", "litellm_params must be a mapping of names to values"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused_with_its_place(load, row, line):
    text = f"model_list:\n  - model_name: a\n    litellm_params: {row}\n"

    (told,) = refused(load, text)

    assert line in told


def test_a_password_in_an_address_is_not_quoted(load):
    text = "model_list: [{model_name: a, litellm_params: {model: gpt-4o, api_base: 'http://me:hunter2@x/v1'}}]"

    with pytest.raises(ConfigError) as error:
        load(text)

    assert "hunter2" not in str(error.value)


def test_a_secret_of_the_wrong_type_is_not_quoted(load):
    (told,) = refused(load, "general_settings: {master_key: [sk-hunter2]}")

    assert "hunter2" not in told


def test_unknown_settings_are_listed_with_what_may_be_meant(load):
    text = ONE + "general_settings:\n  mastr_key: x\n  alert_types: sso\nrouter_setings:\n  rpm_limit: 5\n"

    listed = [line.partition("config.yaml:")[2] for line in load(text).unsupported]

    assert listed == [
        "7:3: general_settings.mastr_key is not supported; is 'master_key' meant?",
        "8:3: general_settings.alert_types is not supported",
        "9:1: router_setings is not supported; is 'router_settings' meant?",
    ]


def test_strict_refuses_what_is_not_supported(load):
    assert refused(load, "general_settings:\n  alerting: [slack]\n", strict=True) == [
        "2:3: general_settings.alerting is not supported"
    ]


def test_a_key_given_twice_is_refused(load):
    (told,) = refused(load, "general_settings:\n  master_key: os.environ/A\n  master_key: os.environ/B\n")

    assert told == "3:3: 'master_key' is given twice"


@pytest.mark.parametrize("text", ["- a\n", "just a text\n", "7\n"])
def test_what_is_no_mapping_is_no_configuration(load, text):
    assert refused(load, text) == ["1:1: a configuration is a mapping of names to values"]


@pytest.mark.parametrize("section", ["model_list", "general_settings", "litellm_settings", "extproc_settings"])
def test_an_empty_section_is_the_default(load, section):
    assert load(f"{section}:\n") == Settings()


def test_prices_are_exact_and_those_of_the_parameters_come_first(load):
    text = """\
model_list:
  - model_name: a
    litellm_params:
      model: openai/a
      input_cost_per_token: 0.00000015
      output_cost_per_token: 6e-07
      cache_read_input_token_cost: "75e-9"
    model_info: {input_cost_per_token: 1, input_cost_per_request: 0.25, mode: chat, max_input_tokens: 128000, x: 0.5}
"""

    (deployment,) = load(text, strict=True).deployments

    assert deployment.prices == PriceOverride(
        input_cost_per_token=Decimal("0.00000015"),
        output_cost_per_token=Decimal("6e-07"),
        cache_read_input_token_cost=Decimal("75e-9"),
        input_cost_per_request=Decimal("0.25"),
    )
    assert deployment.model_info == {"mode": "chat", "max_input_tokens": 128000, "x": 0.5}


def test_a_price_of_zero_is_a_price(load):
    text = "model_list: [{model_name: a, litellm_params: {model: openai/a, input_cost_per_token: 0}}]"

    assert load(text).deployments[0].prices == PriceOverride(input_cost_per_token=Decimal(0))


def test_settings_are_converted_to_the_programs_units(load):
    text = """\
general_settings:
  master_key: file/secrets/master
  block_unpriced_models: true
  user_api_key_cache_ttl: 1.5
  user_api_key_cache_max_size: 7
  max_request_size_mb: 2
  max_response_size_mb: 0.5
  disable_requester_ip_address_logging: true
litellm_settings: {require_auth_for_metrics_endpoint: false}
extproc_settings: {message_timeout_ms: 900, store_deadline_ms: 80, stream_idle_timeout_ms: 70000}
"""

    found = load(text, strict=True)

    assert found.master_key is not None
    assert found.master_key.scheme == "file"
    assert found.master_key.location.endswith("/secrets/master")
    assert Path(found.master_key.location).is_absolute()
    assert found.block_unpriced_models
    assert (found.key_cache_ttl_ms, found.key_cache_size) == (1_500, 7)
    assert (found.max_request_bytes, found.max_response_bytes) == (2 * MEBIBYTE, MEBIBYTE // 2)
    assert not found.log_requester_ip
    assert not found.require_auth_for_metrics_endpoint
    assert (found.message_timeout_ms, found.store_deadline_ms, found.stream_idle_timeout_ms) == (900, 80, 70_000)


def test_litellms_name_for_blocking_unpriced_models_works_too(load):
    assert load("litellm_settings: {block_requests_for_models_without_pricing: true}").block_unpriced_models


def test_every_setting_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    kinds = (
        schema.Model,
        schema.Parameters,
        schema.GeneralSettings,
        schema.LitellmSettings,
        schema.RouterSettings,
        schema.ExtprocSettings,
    )

    assert [name for kind in kinds for name in schema.fields_of(kind) if name not in text] == []


LIMITS = """\
model_list:
  - {model_name: a, litellm_params: {model: openai/a, rpm: 5, tpm: 50}}
  - {model_name: a, litellm_params: {model: groq/a, rpm: 6}}
general_settings: {max_parallel_requests: 100, global_max_parallel_requests: 1000, apply_user_budget_to_team_keys: true}
litellm_settings: {max_budget: 12.5, budget_duration: 30d, budget_exceeded_status_code: 429, timezone: Europe/Berlin}
router_settings:
  rpm_limit: 10000
  tpm_limit: 1000000
  redis_host: os.environ/REDIS_HOST
  redis_port: 6380
  redis_password: os.environ/REDIS_PASSWORD
extproc_settings: {on_outage: allow, budget_wait_ms: 50, counter_deadline_ms: 70, dry_run: [rpm_limit]}
"""


def test_limits_of_everybody_of_models_and_of_deployments_are_read(load):
    found = load(LIMITS, strict=True)

    assert found.everybody == Allowance(
        max_budget=12_500_000_000, budget_duration="30d", max_parallel_requests=1000, rpm_limit=10_000,
        tpm_limit=1_000_000,
    )  # fmt: skip
    assert found.per_deployment == Allowance(max_parallel_requests=100)
    assert found.model_rates == {"a": Allowance(rpm_limit=11)}
    assert found.apply_user_budget_to_team_keys
    assert (found.timezone, found.budget_exceeded_status) == ("Europe/Berlin", 429)
    assert (found.on_outage, found.budget_wait_ms, found.counter_deadline_ms) == ("allow", 50, 70)
    assert found.dry_run == ("rpm_limit",)
    assert found.redis_host == SecretRef("env", "REDIS_HOST")
    assert found.redis_port is not None
    assert found.redis_port.scheme == "literal"


def test_a_duration_or_a_zone_that_nobody_knows_is_refused(load):
    text = "litellm_settings:\n  budget_duration: 3 fortnights\n  timezone: Mars/Olympus\n"

    first, second = refused(load, text)

    assert first.startswith("2:20: budget_duration: a duration is a whole number")
    assert second.startswith("3:13: timezone is not known here")


def test_the_databases_url_is_a_secret_and_its_pool_has_a_size(load):
    found = load(
        "general_settings:\n"
        "  database_url: postgresql://user:hunter2@host:5432/db?sslmode=require\n"
        "  database_connection_pool_limit: 3\n"
    )

    assert (found.database_url.scheme, found.database_pool_size, found.unsupported) == ("literal", 3, ())
    assert "hunter2" not in repr(found)


def test_the_databases_url_may_be_a_reference(load):
    found = load("general_settings: {database_url: os.environ/DATABASE_URL}")

    assert found.database_url == SecretRef("env", "DATABASE_URL")
    assert found.database_pool_size is None


@pytest.mark.parametrize("size", ["0", "1001", "many"])
def test_a_pool_has_between_one_and_a_thousand_connections(load, size):
    (told,) = refused(load, f"general_settings: {{database_connection_pool_limit: {size}}}")

    assert "database_connection_pool_limit must be" in told


def test_a_limit_that_does_not_exist_cannot_be_tried_out(load):
    (told,) = refused(load, "extproc_settings: {dry_run: [max_budget, max_budgt]}")

    assert told.startswith("1:42: 'max_budgt' is no limit; limits are *, max_budget")
