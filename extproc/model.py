"""The nouns: what every floor of the house talks about.

Values only: frozen, no behaviour beyond what follows from their own fields, no I/O, no clock. Units are in the types:

* money is `Nanos`, integer billionths of a US dollar; there is no float money anywhere;
* moments are `UnixMs`, integer milliseconds since the Unix epoch, UTC;
* token counts are *inclusive*: `input_tokens` contains the cached and audio ones, `output_tokens` the reasoning ones
  (the convention of OpenTelemetry's GenAI attributes and of genai-prices).

The types are `msgspec.Struct`s: they are created on every exchange, and a frozen dataclass costs ten times as much.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec
from pydantic import SecretStr

Nanos: TypeAlias = int
UnixMs: TypeAlias = int

NANOS_PER_DOLLAR = 1_000_000_000

#: What stands for the master key wherever a key's digest would stand (LiteLLM's word, never a hash).
MASTER_KEY_DIGEST = "litellm_proxy_master_key"


class SecretRef(msgspec.Struct, frozen=True):
    """Where a secret is, never the secret itself.

    `scheme` is `env`, `file`, `literal`, or one that cannot be resolved yet. For `literal` the value stood in the
    configuration itself; it is kept in `_literal`, in a type that no repr, log or encoder shows.
    """

    scheme: str
    location: str
    _literal: SecretStr = SecretStr("")

    def __repr__(self) -> str:
        return f"SecretRef({self})"

    def __str__(self) -> str:
        """The reference as an operator would write it; a literal shows as `literal/***`."""
        if self.scheme == "literal":
            return "literal/***"
        return f"{'os.environ' if self.scheme == 'env' else self.scheme}/{self.location}"


class Upstream(msgspec.Struct, frozen=True):
    """One provider host as Envoy sees it: one cluster per distinct `api_base`.

    `name` is the Envoy cluster's name and the value of the `x-extproc-upstream` header that selects the route.
    `base_path` is what precedes the API's own path, without a trailing slash (`/v1` for `https://api.openai.com/v1`).
    `unix_socket` replaces host and port where the upstream is local.
    `stored` marks one that only a stored model leads to: Envoy has no cluster of its own for it.
    """

    name: str
    scheme: str
    host: str
    port: int
    base_path: str
    unix_socket: str | None = None
    stored: bool = False


class PriceOverride(msgspec.Struct, frozen=True):
    """Prices from the configuration, in US dollars per token or per request (LiteLLM's `input_cost_per_token` family).

    `None` means "not given": the catalogue's price stays in force for that unit.
    """

    input_cost_per_token: Decimal | None = None
    output_cost_per_token: Decimal | None = None
    cache_read_input_token_cost: Decimal | None = None
    cache_creation_input_token_cost: Decimal | None = None
    input_cost_per_audio_token: Decimal | None = None
    output_cost_per_audio_token: Decimal | None = None
    output_cost_per_reasoning_token: Decimal | None = None
    input_cost_per_request: Decimal | None = None


class Deployment(msgspec.Struct, frozen=True):
    """One row of `model_list`: the name clients use, and where it leads.

    `model_name` may hold one `*`; then `provider_model` may hold one too, which takes what the first one matched.
    `id` is LiteLLM's `model_id`: stable across restarts, derived from everything but secrets.
    """

    id: str
    model_name: str
    provider: str
    provider_model: str
    upstream: Upstream
    api_base: str
    credential: SecretRef | None = None
    prices: PriceOverride | None = None
    model_info: dict[str, Any] = {}


class StoredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `model_list` that was made at run time, in LiteLLM's words.

    `parameters` is its `litellm_params` without the provider's key, `info` its `model_info`. `credential` is the
    provider's key in an envelope of `extproc.encryption`, `None` where the row has none.
    """

    id: str
    model_name: str
    parameters: dict[str, Any] = {}
    credential: str | None = None
    info: dict[str, Any] = {}
    created_at: UnixMs = 0
    created_by: str | None = None
    updated_at: UnixMs = 0
    updated_by: str | None = None


class Role(StrEnum):
    """Who a key speaks for (LiteLLM's role names)."""

    PROXY_ADMIN = "proxy_admin"
    KEY = "key"


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may use and spend: the part that keys, teams, users, members, end users, tags and budgets share.

    0 is a limit, `None` (or empty) is none. `model_max_budget` is a budget and its duration (`None`: for ever) for each
    model; `budget_limits` are further windows of the whole, each a duration and its budget. `temp_budget_increase` is
    added to `max_budget` before `temp_budget_expiry`.
    """

    max_budget: Nanos | None = None
    soft_budget: Nanos | None = None
    budget_duration: str | None = None
    budget_reset_at: UnixMs | None = None
    max_parallel_requests: int | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    tpd_limit: int | None = None
    model_rpm_limit: dict[str, int] = {}
    model_tpm_limit: dict[str, int] = {}
    model_max_budget: dict[str, tuple[Nanos, str | None]] = {}
    budget_limits: tuple[tuple[str, Nanos], ...] = ()
    temp_budget_increase: Nanos | None = None
    temp_budget_expiry: UnixMs | None = None

    def with_defaults(self, defaults: Allowance | None) -> Allowance:
        """This allowance, and the defaults' where it has none. A budget and its window are taken together."""
        if defaults is None:
            return self
        values = {}
        for name in Allowance.__struct_fields__:
            decisive = "max_budget" if name in {"budget_duration", "budget_reset_at"} else name
            unset = getattr(self, decisive) in (None, {}, ())
            values[name] = getattr(defaults if unset else self, name)
        return Allowance(**values)


class Budget(Allowance, frozen=True, kw_only=True):
    """A budget that keys, end users and tags name by `budget_id`: the defaults of what they do not limit themselves."""

    id: str
    created_at: UnixMs = 0
    created_by: str | None = None
    updated_at: UnixMs = 0
    updated_by: str | None = None


class Team(Allowance, frozen=True, kw_only=True):
    """Keys that share models, limits and a budget. `models` empty means every model.

    `spend_set_at` and `spend_set_to` are as those of a key.
    """

    id: str
    alias: str | None = None
    organization_id: str | None = None
    models: tuple[str, ...] = ()
    blocked: bool = False
    spend: Nanos = 0
    metadata: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    created_at: UnixMs = 0
    updated_at: UnixMs = 0
    spend_set_at: UnixMs | None = None
    spend_set_to: Nanos = 0


class User(Allowance, frozen=True, kw_only=True):
    """A person or a program that owns keys. `role` is LiteLLM's `user_role`. `models` bind keys without a team.
    `sso_user_id` is how their identity provider calls them."""

    id: str
    email: str | None = None
    sso_user_id: str | None = None
    alias: str | None = None
    role: str | None = None
    models: tuple[str, ...] = ()
    spend: Nanos = 0
    metadata: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    created_at: UnixMs = 0
    updated_at: UnixMs = 0

    @property
    def blocked(self) -> bool:
        """Whether all keys of this user are refused."""
        return self.fields.get("blocked") is True


class Membership(Allowance, frozen=True, kw_only=True):
    """A user in a team, with limits of its own there (`max_budget` is LiteLLM's `max_budget_in_team`).

    `role` is `admin` or `user`. `models` is LiteLLM's `allowed_models`: empty means the team's.
    """

    user_id: str
    team_id: str
    role: str = "user"
    models: tuple[str, ...] = ()
    spend: Nanos = 0
    created_at: UnixMs = 0


class EndUser(Allowance, frozen=True, kw_only=True):
    """Whom an application's requests are made for (LiteLLM's customer); `budget` is the row of `budget_id`."""

    id: str
    alias: str | None = None
    blocked: bool = False
    models: tuple[str, ...] = ()
    spend: Nanos = 0
    budget_id: str | None = None
    budget: Budget | None = None
    fields: dict[str, Any] = {}
    created_at: UnixMs = 0
    updated_at: UnixMs = 0


class Tag(Allowance, frozen=True, kw_only=True):
    """A word that requests carry, with a budget; `budget` is the row of `budget_id`."""

    name: str
    description: str | None = None
    models: tuple[str, ...] = ()
    spend: Nanos = 0
    budget_id: str | None = None
    budget: Budget | None = None
    created_at: UnixMs = 0
    created_by: str | None = None
    updated_at: UnixMs = 0


class Key(Allowance, frozen=True, kw_only=True):
    """A virtual key: everything that is known of it except the key itself.

    `digest` is the lower-case hex SHA-256 of the whole key, `sk-` included, as LiteLLM stores it. `name` is the masked
    form (`sk-...` and the last four characters). `models` empty means every model; entries may hold `*`.
    `fields` keeps every other accepted field of `/key/generate` as it was sent, to be shown again.
    `team`, `user`, `membership` and `budget` are whom and what the ids name, `None` where there is no such row.
    A key that was regenerated keeps its digest: it is what limits, budgets and the ledger know it by. `revoked_at` is
    when the credential that the key was found by stops counting; `rotate_at` is when it is due to be regenerated.
    `spend_set_to` is what somebody set `spend` to at `spend_set_at`: the window of that moment goes on from there.
    """

    digest: str
    name: str
    alias: str | None = None
    role: Role = Role.KEY
    models: tuple[str, ...] = ()
    blocked: bool = False
    expires_at: UnixMs | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    budget_id: str | None = None
    spend: Nanos = 0
    metadata: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    created_at: UnixMs = 0
    created_by: str | None = None
    updated_at: UnixMs = 0
    updated_by: str | None = None
    last_active: UnixMs | None = None
    rotate_at: UnixMs | None = None
    revoked_at: UnixMs | None = None
    spend_set_at: UnixMs | None = None
    spend_set_to: Nanos = 0
    team: Team | None = None
    user: User | None = None
    membership: Membership | None = None
    budget: Budget | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one exchange, inclusive: the detailed counts are parts of `input_tokens` and `output_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What one exchange amounted to; one row of the ledger.

    `event_id` is ours, unique and time-ordered, and makes booking idempotent; `provider_response_id` is the provider's
    `id` and may repeat or be empty. `spend` is `None` where no price is known: never a silent zero.
    `estimated` says the usage was counted from what was seen, `cut` that no end of the response was seen.
    `first_byte_at` is when the first byte of the response's body passed (LiteLLM's `completionStartTime`).
    """

    event_id: str
    call_id: str
    key_digest: str
    started_at: UnixMs
    ended_at: UnixMs
    operation: str
    path: str
    model_group: str
    model: str
    model_id: str
    provider: str
    api_base: str
    http_status: int
    status: str
    stream: bool
    usage: Usage
    spend: Nanos | None
    estimated: bool = False
    cut: bool = False
    provider_response_id: str = ""
    first_byte_at: UnixMs | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    end_user: str | None = None
    requester_ip: str = ""
    user_agent: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a limit had no room: what is told to the log and to whoever asks about a refusal.

    `kind` is the scope (`api_key`, `team`, …) and `who` its name as people know it, never a digest. `measure` is
    LiteLLM's limit type. Amounts are in the measure's unit: requests, tokens, exchanges, or nanos (`spend`). `frees_at`
    is when it would fit; `None` where that does not depend on time.
    """

    kind: str
    who: str
    measure: str
    setting: str
    maximum: int
    settled: int
    held: int
    asked: int
    frees_at: UnixMs | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What telemetry is told when an exchange is over.

    `reason` is `""` unless the exchange was refused; `status` is what the client got, 0 where nothing was sent yet.
    `receipt` is there for every exchange that was forwarded. `explanation` tells of the limit without room, `over`
    names limits that were exceeded and refuse nobody, `outage` is whether this process counted limits alone.
    `redactions` counts what was found in texts, by direction, entity and action; `unsearched` is why texts passed
    without having been searched, or empty.
    """

    event_id: str
    call_id: str
    path: str
    started_at: UnixMs
    ended_at: UnixMs
    status: int
    reason: str
    model_group: str
    key: Key | None
    receipt: Receipt | None
    explanation: Explanation | None = None
    over: tuple[str, ...] = ()
    outage: bool = False
    redactions: dict[tuple[str, str, str], int] = {}
    unsearched: str = ""
