"""What the endpoints for keys take: LiteLLM's fields, typed and bounded. What they answer is in `rows.py`.

`FurtherFields` are stored and shown and decide nothing yet.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from extproc.management.allowances import AllowanceFields
from extproc.management.fields import MAX_LIST, AskedKey, Id, KeyOrDigest, Limits, Text, Texts
from extproc.management.money import Dollars


class FurtherFields(BaseModel):
    """Fields of a key that are stored and shown as they were sent."""

    aliases: dict[str, Any] | None = {}
    config: dict[str, Any] | None = {}
    permissions: dict[str, Any] | None = {}
    budget_fallbacks: dict[str, Any] | None = None
    project_id: Id = None
    agent_id: Id = None
    tag_rpm_limit: Limits | None = None
    mcp_rpm_limit: Limits | None = None
    rpm_limit_type: Literal["guaranteed_throughput", "best_effort_throughput", "dynamic"] | None = None
    tpm_limit_type: Literal["guaranteed_throughput", "best_effort_throughput", "dynamic"] | None = None
    allowed_routes: Texts | None = []
    allowed_ips: Annotated[
        Texts | None, Field(description="Addresses and networks (CIDR) that the key may be used from; none is all.")
    ] = None
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


class KeyFields(FurtherFields, AllowanceFields):
    """Everything that may be said of a key."""

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
    budget_id: Annotated[Id, Field(description="A budget whose limits count where the key has none.")] = None
    spend: Dollars | None = None
    metadata: dict[str, Any] | None = {}
    blocked: bool | None = None


def _no_master_key(value: object) -> object:
    if value is not None:
        raise PydanticCustomError("value_error", "The master key is changed with: extproc rotate-master-key")
    return None


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


class RegenerateKey(KeyFields):
    """`POST /key/regenerate`. What is left out stays. The key keeps its `token`, its limits and what it has spent."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"key": "sk-…", "grace_period": "24h", "duration": "90d"}]}
    )

    key: Annotated[
        AskedKey, Field(description="Which key, where the path does not say it; without one the caller's.")
    ] = None
    new_key: Annotated[AskedKey, Field(description="Your own key instead of a random one.")] = None
    grace_period: Annotated[
        Text | None, Field(description="How long the old key works beside the new one, such as 24h; else not at all.")
    ] = None
    new_master_key: Annotated[None, BeforeValidator(_no_master_key), Field(description="Refused.")] = None


class ResetSpend(BaseModel):
    """`POST /key/{key}/reset_spend`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reset_to": 0}]})

    reset_to: Dollars


class UpdateKeys(BaseModel):
    """`POST /key/bulk_update`: each as `/key/update` takes it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": [{"key": "sk-…", "max_budget": 50.0}]}]})

    keys: Annotated[list[UpdateKey], Field(min_length=1, max_length=MAX_LIST)]


class AskedKeys(BaseModel):
    """`POST /v2/key/info`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": ["sk-…"]}]})

    keys: Annotated[list[KeyOrDigest], Field(max_length=MAX_LIST)]


class DeleteKeys(BaseModel):
    """`POST /key/delete`: all of them or, if one is unknown, none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": ["sk-…"]}]})

    keys: Annotated[list[KeyOrDigest], Field(max_length=MAX_LIST)] | None = None
    key_aliases: Texts | None = None

    @model_validator(mode="after")
    def _names_keys(self) -> Self:
        if not self.keys and not self.key_aliases:
            raise PydanticCustomError("missing", "Either keys or key_aliases is required")
        return self


class NamedKey(BaseModel):
    """`POST /key/block` and `/key/unblock`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "sk-…"}]})

    key: KeyOrDigest
