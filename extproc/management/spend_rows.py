"""A receipt as LiteLLM's `SpendLogs` row.

`request_id` is the provider's response id, as there; our own id stands beside it as `event_id`, because a provider may
repeat its ids. `spend` is null where no price is known, and `spend_nanos` is the exact amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from extproc.management.moments import iso
from extproc.management.money import to_dollars
from extproc.model import Receipt, Usage
from extproc.stores.contract import DaySpend, LedgerRow


class SpendRow(BaseModel):
    """One exchange."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    event_id: str
    litellm_call_id: str
    call_type: str
    api_key: str
    spend: float | None
    spend_nanos: int | None
    total_tokens: int
    prompt_tokens: int
    completion_tokens: int
    start_time: Annotated[str, Field(alias="startTime")]
    end_time: Annotated[str, Field(alias="endTime")]
    completion_start_time: Annotated[str | None, Field(alias="completionStartTime")]
    request_duration_ms: int
    model: str
    model_id: str
    model_group: str
    custom_llm_provider: str
    api_base: str
    user: str
    metadata: dict[str, Any]
    cache_hit: str
    cache_key: str
    request_tags: list[str]
    team_id: str | None
    organization_id: str | None
    end_user: str | None
    requester_ip_address: str | None
    messages: Any
    response: Any
    proxy_server_request: Any
    session_id: str
    status: str
    created_at: str
    updated_at: str


#: What an API calls its prompt.
_PROMPTS = ("messages", "input", "prompt")
#: How the fields of a row's metadata begin that `redact_user_api_key_info` takes out.
_WHOSE = "user_api_key"


def spend_row(
    booked: LedgerRow, *, anonymous: bool = False, said: Mapping[str, dict[str, Any]] = MappingProxyType({})
) -> dict[str, Any]:
    """The columns of `SpendRow`. The metadata of an `anonymous` one does not say whose it was; its columns do, for
    reports and budgets need them. `said` is what was said, by event id."""
    row = {**_columns(booked), **said_columns(said.get(booked.receipt.event_id, {}))}
    if anonymous:
        row["metadata"] = {name: value for name, value in row["metadata"].items() if not name.startswith(_WHOSE)}
    return row


def _columns(booked: LedgerRow) -> dict[str, Any]:
    receipt = booked.receipt
    return {
        "request_id": receipt.provider_response_id or receipt.event_id,
        "event_id": receipt.event_id,
        "litellm_call_id": receipt.call_id,
        "call_type": receipt.operation,
        "api_key": receipt.key_digest,
        "spend": to_dollars(receipt.spend),
        "spend_nanos": receipt.spend,
        "total_tokens": receipt.usage.total_tokens,
        "prompt_tokens": receipt.usage.input_tokens,
        "completion_tokens": receipt.usage.output_tokens,
        "startTime": iso(receipt.started_at),
        "endTime": iso(receipt.ended_at),
        "completionStartTime": iso(receipt.first_byte_at),
        "request_duration_ms": receipt.ended_at - receipt.started_at,
        "model": receipt.model,
        "model_id": receipt.model_id,
        "model_group": receipt.model_group,
        "custom_llm_provider": receipt.provider,
        "api_base": receipt.api_base,
        "user": receipt.user_id or "",
        "metadata": _metadata(receipt),
        "cache_hit": "False",
        "cache_key": "Cache OFF",
        "request_tags": [*receipt.tags],
        "team_id": receipt.team_id,
        "organization_id": receipt.organization_id,
        "end_user": receipt.end_user,
        "requester_ip_address": receipt.requester_ip or None,
        "session_id": receipt.call_id,
        "status": receipt.status,
        "created_at": iso(booked.booked_at),
        "updated_at": iso(booked.booked_at),
    }


def said_columns(content: dict[str, Any]) -> dict[str, Any]:
    """What was said, as it is stored; empty where it is not. What could not be stored says why: `left_out`."""
    request, response = content.get("request", {}), content.get("response", {})
    prompts = (request[name] for name in _PROMPTS if isinstance(request, dict) and name in request)
    return {"messages": next(prompts, {}), "response": response, "proxy_server_request": request}


def day_row(day: DaySpend) -> dict[str, Any]:
    """LiteLLM's summary of a day: the digests of the keys stand beside the fixed names."""
    return {
        **{digest: to_dollars(spend) for digest, spend in day.keys.items()},
        "startTime": day.day,
        "spend": to_dollars(day.spend),
        "users": {user: to_dollars(spend) for user, spend in day.users.items()},
        "models": {model: to_dollars(spend) for model, spend in day.models.items()},
    }


def _metadata(receipt: Receipt) -> dict[str, Any]:
    return {
        "user_api_key": receipt.key_digest,
        "user_api_key_alias": receipt.key_alias,
        "user_api_key_user_id": receipt.user_id,
        "user_api_key_team_id": receipt.team_id,
        "user_api_key_org_id": receipt.organization_id,
        "user_api_key_end_user_id": receipt.end_user,
        "requester_ip_address": receipt.requester_ip or None,
        "requester_metadata": receipt.metadata,
        "user_agent": receipt.user_agent,
        "usage_object": _usage_object(receipt.usage),
        "status": receipt.status,
        "http_status": receipt.http_status,
        "path": receipt.path,
        "stream": receipt.stream,
        "estimated": receipt.estimated,
        "cut": receipt.cut,
        "priced": receipt.spend is not None,
    }


def _usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage, to which LiteLLM translates every provider's."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_creation_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.input_audio_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.output_audio_tokens,
        },
    }
