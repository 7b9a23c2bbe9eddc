"""What the endpoints for keys take: LiteLLM's fields, typed and bounded. What they answer is in `rows.py`.

Unknown fields are ignored and a blank id is none, as in LiteLLM. A wrong type is a 422; a value that has the right type
and still cannot be (a negative budget, a duration that is none) is a 400 and found by the endpoint.

`FurtherFields` are stored and shown and decide nothing yet.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from extproc.management.money import Dollars, ShownDollars

MAX_TEXT = 256
MAX_LIST = 500
#: A key is kept in memory by the data path: what is attached to it stays small.
MAX_ATTACHED_BYTES = 64 * 1024


def _storable(text: str) -> str:
    """PostgreSQL's texts cannot hold a NUL."""
    if "\0" in text:
        raise PydanticCustomError("string_nul", "String should not contain a NUL character")
    return text


def _not_a_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_storable)]
#: An id: a blank one is none.
Id = Annotated[Text | None, BeforeValidator(_blank_is_none)]
Limit = Annotated[int, BeforeValidator(_not_a_bool), Field(ge=0, le=2**53 - 1)]
Texts = Annotated[list[Text], Field(max_length=MAX_LIST)]
Limits = dict[Text, Limit]
#: A raw key (`sk-…`), or its digest where one exists already.
KeyOrDigest = Annotated[str, Field(min_length=1, max_length=512, examples=["sk-…"]), AfterValidator(_storable)]
AskedKey = Annotated[KeyOrDigest | None, BeforeValidator(_blank_is_none)]


class BudgetWindow(BaseModel):
    """A budget within a window; also under the names that LiteLLM used before."""

    model_config = ConfigDict(extra="ignore")

    max_budget: Annotated[ShownDollars | None, Field(validation_alias=AliasChoices("max_budget", "budget_limit"))] = (
        None
    )
    budget_duration: Annotated[Text | None, Field(validation_alias=AliasChoices("budget_duration", "time_period"))] = (
        None
    )


class FurtherFields(BaseModel):
    """Fields of a key that are stored and shown as they were sent."""

    aliases: dict[str, Any] | None = {}
    config: dict[str, Any] | None = {}
    permissions: dict[str, Any] | None = {}
    model_max_budget: dict[Text, BudgetWindow] | None = {}
    budget_limits: Annotated[list[BudgetWindow], Field(max_length=16)] | None = None
    budget_fallbacks: dict[str, Any] | None = None
    budget_id: Id = None
    project_id: Id = None
    agent_id: Id = None
    model_rpm_limit: Limits | None = None
    model_tpm_limit: Limits | None = None
    tag_rpm_limit: Limits | None = None
    mcp_rpm_limit: Limits | None = None
    rpm_limit_type: Literal["guaranteed_throughput", "best_effort_throughput", "dynamic"] | None = None
    tpm_limit_type: Literal["guaranteed_throughput", "best_effort_throughput", "dynamic"] | None = None
    allowed_routes: Texts | None = []
    key_type: Literal["default", "llm_api", "management", "read_only"] | None = None
    allowed_cache_controls: Texts | None = []
    guardrails: Texts | None = None
    policies: Texts | None = None
    prompts: Texts | None = None
    tags: Texts | None = None
    enforced_params: Texts | None = None
    allowed_passthrough_routes: Texts | None = None
    object_permission: dict[str, Any] | None = None
    auto_rotate: bool | None = None
    rotation_interval: Text | None = None
    throttle_on_budget_exceeded: bool | None = None
    send_invite_email: bool | None = None
    router_settings: dict[str, Any] | None = None
    temp_budget_increase: ShownDollars | None = None
    temp_budget_expiry: datetime | None = None

    @model_validator(mode="after")
    def _temporary_increase_is_whole(self) -> Self:
        given = self.model_fields_set & {"temp_budget_increase", "temp_budget_expiry"}
        if len(given) == 1:
            raise PydanticCustomError(
                "value_error", "temp_budget_increase and temp_budget_expiry must be given together"
            )
        return self


class KeyFields(FurtherFields):
    """Everything that may be said of a key. Limits and budgets: 0 is a limit, null is none."""

    model_config = ConfigDict(extra="ignore")

    key_alias: Annotated[Id, Field(description="A name for people; no two keys share one.")] = None
    duration: Annotated[
        Text | None,
        Field(description="How long the key is valid: 30s, 15m, 12h, 30d, 2w or 1mo. Without one, for ever."),
    ] = None
    models: Annotated[
        Texts | None, Field(description="Models that the key may use; none is all. `*` stands for any.")
    ] = []
    user_id: Id = None
    team_id: Id = None
    organization_id: Id = None
    spend: Dollars | None = None
    max_budget: Dollars | None = None
    soft_budget: Dollars | None = None
    budget_duration: Annotated[
        Id,
        Field(description="When the budget begins anew, by the calendar in UTC: 1d at midnight, 30d with the month."),
    ] = None
    max_parallel_requests: Limit | None = None
    rpm_limit: Limit | None = None
    tpm_limit: Limit | None = None
    tpd_limit: Limit | None = None
    metadata: dict[str, Any] | None = {}
    blocked: bool | None = None


class GenerateKey(KeyFields):
    """`POST /key/generate`. An empty body makes a key without limits."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "key_alias": "frontend-app",
                    "models": ["gpt-4o", "claude-sonnet-4"],
                    "max_budget": 100.0,
                    "budget_duration": "30d",
                    "rpm_limit": 100,
                    "tpm_limit": 100000,
                    "team_id": "team-engineering",
                    "metadata": {"environment": "production", "app": "chat-widget"},
                }
            ]
        },
    )

    key: Annotated[
        AskedKey, Field(description="Your own key instead of a random one: `sk-` and 13 or more further characters.")
    ] = None


class UpdateKey(KeyFields):
    """`POST /key/update`. What is left out stays; null takes a limit, a budget or an id away.

    `duration` counts from now; `-1` means for ever; blank or null leaves the expiry as it is.
    """

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"key": "sk-…", "max_budget": 50.0, "models": ["gpt-4o"]}]}
    )

    key: AskedKey = None

    @model_validator(mode="after")
    def _names_a_key(self) -> Self:
        if self.key is None and self.key_alias is None:
            raise PydanticCustomError("missing", "Either key or key_alias is required")
        return self


class DeleteKeys(BaseModel):
    """`POST /key/delete`: all of them or, if one is unknown, none."""

    keys: Annotated[list[KeyOrDigest], Field(max_length=MAX_LIST)] | None = None
    key_aliases: Texts | None = None

    @model_validator(mode="after")
    def _names_keys(self) -> Self:
        if not self.keys and not self.key_aliases:
            raise PydanticCustomError("missing", "Either keys or key_aliases is required")
        return self


class NamedKey(BaseModel):
    """`POST /key/block` and `/key/unblock`."""

    key: KeyOrDigest
