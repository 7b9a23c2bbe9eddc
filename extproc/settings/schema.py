"""What a configuration file may say: LiteLLM's `config.yaml`, as far as it means something here.

Pydantic checks shapes and types. It is strict, since a limit written as a text is more likely a mistake than a number,
and it keeps fields that are not declared aside: `load.py` names each of them as not supported. Names, units and
defaults are LiteLLM's (`docs.litellm.ai/docs/proxy/config_settings`); what only this program knows stands in
`extproc_settings`. An empty section (`general_settings:` and nothing below) means the defaults, as in LiteLLM.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, Tag
from pydantic_core import PydanticCustomError

from extproc.policy.origins import is_network
from extproc.settings.checked import (
    MANY,
    ONE,
    ONE_OR_MANY,
    Checked,
    Dollars,
    Megabytes,
    Price,
    RequestPrice,
    Seconds,
    Secret,
    Section,
    Text,
    Whole,
)
from extproc.settings.schema_guardrails import GuardrailBlock
from extproc.settings.schema_sso import DefaultUser, SsoProvider


class Prices(Checked):
    """US dollars per token, or per request."""

    input_cost_per_token: Price | None = None
    output_cost_per_token: Price | None = None
    cache_read_input_token_cost: Price | None = None
    cache_creation_input_token_cost: Price | None = None
    input_cost_per_audio_token: Price | None = None
    output_cost_per_audio_token: Price | None = None
    output_cost_per_reasoning_token: Price | None = None
    input_cost_per_request: RequestPrice | None = None


class Parameters(Prices):
    """`litellm_params`: where a model leads."""

    model: Text
    custom_llm_provider: Text | None = None
    api_base: Text | None = None
    base_url: Text | None = None
    api_key: Secret | None = None
    rpm: Whole | None = None
    tpm: Whole | None = None


class ModelInfo(Prices):
    """`model_info`: shown by `/v1/models`; its prices count where `litellm_params` has none. Other fields are free."""

    id: Text | None = None


class Model(Checked):
    """A row of `model_list`."""

    model_name: Text
    litellm_params: Parameters
    model_info: Section[ModelInfo] = ModelInfo()


def _is_network(value: str) -> str:
    if not is_network(value):
        raise PydanticCustomError("network", "must be an address, or a network")
    return value


Network = Annotated[Text, AfterValidator(_is_network)]


class UserHeader(Checked):
    """An entry of `user_header_mappings`: whom a header names."""

    header_name: Text
    litellm_user_role: Literal["customer", "internal_user"]


UserHeaders = Annotated[Annotated[UserHeader, Tag(ONE)] | Annotated[list[UserHeader], Tag(MANY)], ONE_OR_MANY]


class SecretManager(Checked):
    """`general_settings.secret_manager`: where Vault, or AWS Secrets Manager, is."""

    type: Literal["vault", "hashicorp_vault", "aws", "aws_secret_manager"] | None = None
    vault_address: Text | None = None
    vault_mount_path: Text | None = None
    vault_token: Secret | None = None
    vault_approle_role_id: Secret | None = None
    vault_approle_secret_id: Secret | None = None
    vault_kubernetes_role: Text | None = None
    vault_kubernetes_jwt: Text | None = None
    vault_auth_mount: Text | None = None
    vault_namespace: Text | None = None
    vault_kv_version: Annotated[int, Field(ge=1, le=2)] | None = None
    vault_ca_cert: Text | None = None
    aws_region_name: Text | None = None
    aws_endpoint_url: Text | None = None


class KeyManagementSettings(Checked):
    """`general_settings.key_management_settings`, as LiteLLM has it, for reading."""

    hosted_keys: list[Text] | None = None
    primary_secret_name: Text | None = None
    access_mode: Literal["read_only", "write_only", "read_and_write"] = "read_only"


class Unlogged(Checked):
    """What LiteLLM has about logs, in either section. Bodies are never logged here, so that beside the first of these
    only `privacy.py` asks; nor does `drop_params` change anything: parameters are passed on, and logged nowhere."""

    redact_user_api_key_info: bool = False
    redact_messages_in_logs: bool = False
    redact_messages_in_exceptions: bool = False
    turn_off_message_logging: bool = False
    drop_params: bool = False


class GeneralSettings(Unlogged):
    """`general_settings`. Cache times are seconds, sizes megabytes of 2**20 bytes."""

    master_key: Secret | None = None
    previous_master_keys: list[Secret] | None = None
    encryption_key: Secret | None = None
    previous_encryption_keys: list[Secret] | None = None
    store_model_in_db: bool = True
    #: Each exchange has a line in the log, whatever this says.
    detailed_debug: bool = False
    database_url: Secret | None = None
    database_connection_pool_limit: Annotated[int, Field(ge=1, le=1_000)] | None = None
    block_unpriced_models: bool = False
    store_audit_logs: bool | None = None
    user_api_key_cache_ttl: Seconds | None = None
    user_api_key_cache_max_size: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    max_request_size_mb: Megabytes | None = None
    max_response_size_mb: Megabytes | None = None
    disable_requester_ip_address_logging: bool = False
    spend_logs_metadata_fields: list[Text] | None = None
    store_prompts_in_spend_logs: bool = False
    maximum_spend_logs_retention_period: Text | None = None
    maximum_spend_logs_retention_interval: Text | None = None
    log_retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    max_parallel_requests: Whole | None = None
    global_max_parallel_requests: Whole | None = None
    apply_user_budget_to_team_keys: bool = False
    user_header_mappings: UserHeaders | None = None
    allowed_ips: list[Network] | None = None
    use_x_forwarded_for: bool = False
    trusted_proxy_ranges: list[Network] | None = None
    secret_manager: Section[SecretManager] = SecretManager()
    key_management_system: Literal["hashicorp_vault", "aws_secret_manager"] | None = None
    key_management_settings: Section[KeyManagementSettings] = KeyManagementSettings()
    ui_access_mode: Literal["sso", "all", "admin_only"] | None = None
    sso_providers: list[SsoProvider] | None = None
    sso_session_duration: Text | None = None
    proxy_base_url: Text | None = None
    max_failed_login_attempts_per_source: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    failed_login_window_seconds: Annotated[Seconds, Field(gt=0)] | None = None
    failed_login_block_seconds: Annotated[Seconds, Field(gt=0)] | None = None


Callbacks = Annotated[list[Text], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class KeyBounds(Checked):
    """`upperbound_key_generate_params`: what no key gets more of."""

    max_budget: Dollars | None = None
    budget_duration: Text | None = None
    duration: Text | None = None
    max_parallel_requests: Whole | None = None
    rpm_limit: Whole | None = None
    tpm_limit: Whole | None = None


class KeyDefaults(KeyBounds):
    """`default_key_generate_params`: what a new key gets that does not ask for it."""

    models: list[Text] | None = None
    metadata: dict[str, Any] | None = None
    team_id: Text | None = None


class LitellmSettings(Unlogged):
    """`litellm_settings`. Of the callbacks there is `prometheus`, and always; `callbacks.py` names the others."""

    callbacks: Callbacks = []
    success_callback: Callbacks = []
    failure_callback: Callbacks = []

    block_requests_for_models_without_pricing: bool = False
    global_disable_no_log_param: bool = False
    require_auth_for_metrics_endpoint: bool = True
    store_audit_logs: bool | None = None
    max_budget: Dollars | None = None
    budget_duration: Text | None = None
    budget_exceeded_status_code: Annotated[int, Field(ge=400, le=499)] | None = None
    upperbound_key_generate_params: Section[KeyBounds] = KeyBounds()
    default_key_generate_params: Section[KeyDefaults] = KeyDefaults()
    timezone: Text | None = None
    default_internal_user_params: Section[DefaultUser] = DefaultUser()


class RouterSettings(Checked):
    """`router_settings`: the limits of all requests together, and where Redis is. Nothing is cached here, so that the
    empty list of `allowed_cache_controls` is kept to."""

    allowed_cache_controls: Annotated[list[Text], Field(max_length=0)] = []

    rpm_limit: Whole | None = None
    tpm_limit: Whole | None = None
    redis_url: Secret | None = None
    redis_host: Text | None = None
    redis_port: Annotated[int, Field(ge=1, le=65535)] | Secret | None = None
    redis_password: Secret | None = None


class PayloadEncryption(Checked):
    """A row of `payload_encryption`: a Fernet key that clients share with the gateway, and which clients."""

    key: Secret
    keys: list[Text] = []
    teams: list[Text] = []
    models: list[Text] = []
    paths: list[Text] = []


#: What a person may agree to, such as `storage`: it has to fit into `a:true,b:true`.
Purpose = Annotated[Text, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class ExtprocSettings(Checked):
    """`extproc_settings`: what LiteLLM has no name for. Milliseconds.

    `message_timeout_ms` is how long Envoy waits for one answer of the processor, `store_deadline_ms` how long the
    processor waits for the key store, `stream_idle_timeout_ms` how long a stream may be silent, `budget_wait_ms` how
    long a request waits for what others hold, `counter_deadline_ms` how long for an answer of Redis. `dry_run` names
    limits that are only tried out (`"*"` for all). `database_listen_url` leads around pgbouncer.
    """

    on_outage: Literal["refuse", "allow"] | None = None
    budget_wait_ms: Annotated[int, Field(ge=0, le=4_000)] | None = None
    counter_deadline_ms: Annotated[int, Field(ge=5, le=2_000)] | None = None
    dry_run: list[Text] | None = None
    database_listen_url: Secret | None = None
    audit_key: Secret | None = None
    payload_encryption: list[PayloadEncryption] | None = None
    secret_refresh_s: Annotated[int, Field(ge=1, le=86_400)] | None = None
    disable_user_agent_logging: bool = False
    stored_prompts_retention_period: Text | None = None
    required_consent: list[Purpose] = []
    consent_max_age_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    stored_model_hosts: list[Text] | None = None

    message_timeout_ms: Annotated[int, Field(ge=100, le=600_000)] | None = None
    store_deadline_ms: Annotated[int, Field(ge=10, le=60_000)] | None = None
    redaction_deadline_ms: Annotated[int, Field(ge=50, le=60_000)] | None = None
    stream_idle_timeout_ms: Annotated[int, Field(ge=1_000, le=86_400_000)] | None = None


class Configuration(Checked):
    """The whole file."""

    model_list: Annotated[list[Model], BeforeValidator(lambda value: [] if value is None else value)] = []
    general_settings: Section[GeneralSettings] = GeneralSettings()
    litellm_settings: Section[LitellmSettings] = LitellmSettings()
    router_settings: Section[RouterSettings] = RouterSettings()
    extproc_settings: Section[ExtprocSettings] = ExtprocSettings()
    guardrails: Annotated[list[GuardrailBlock], BeforeValidator(lambda value: [] if value is None else value)] = []


def fields_of(kind: type[BaseModel]) -> tuple[str, ...]:
    """The declared names of a mapping."""
    return tuple(kind.model_fields)


def every_field() -> set[str]:
    """The declared names of all mappings: what somebody meant to say."""
    kinds = [Checked]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {name for kind in kinds for name in fields_of(kind)}


def undeclared(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], type[BaseModel]]]:
    """The path of every field that is not declared, with the mapping that it stands in. `model_info` is free."""
    found: list[tuple[tuple[str | int, ...], type[BaseModel]]] = []
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += undeclared(item, (*path, index))
    elif isinstance(value, BaseModel):
        if not isinstance(value, ModelInfo):
            found += [((*path, name), type(value)) for name in value.model_extra or ()]
        for name in type(value).model_fields:
            found += undeclared(getattr(value, name), (*path, name))
    return found


def plain(value: Any) -> Any:
    """A free value as JSON knows it: fractions become floats, for they are only shown."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value
