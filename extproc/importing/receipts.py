"""Rows of `LiteLLM_SpendLogs` as receipts. Pure.

The event id is made of LiteLLM's `request_id`, so that a row is booked once however often it is read. Message content
is not taken along, nor the rest of a row's `metadata`, which repeats the price list.
"""

from __future__ import annotations

import hashlib
from typing import Any

from extproc.importing import values
from extproc.importing.translation import Row
from extproc.model import Receipt, UnixMs, Usage
from extproc.policy import credentials

#: What an event id of an imported row begins with; our own are never like it.
PREFIX = "litellm:"
_LONGEST_ID = 120


def event_id(request_id: str) -> str:
    """The event id of a row; a very long `request_id` is shortened to its digest."""
    short = request_id if len(request_id) <= _LONGEST_ID else hashlib.sha256(request_id.encode()).hexdigest()
    return PREFIX + short


def receipt(row: Row, now: UnixMs) -> Receipt:
    """A row as a receipt. What failed cost nothing there, and costs nothing here."""
    metadata = values.mapping(row.get("metadata"))
    started = values.unix_ms(row.get("startTime")) or now
    failed = (row.get("status") or metadata.get("status")) == "failure"
    key = row.get("api_key") or ""
    return Receipt(
        event_id=event_id(row["request_id"]),
        call_id=row.get("litellm_call_id") or row["request_id"],
        # Some versions wrote the key itself where its digest belongs.
        key_digest=credentials.digest(key) if key.startswith("sk-") else key,
        key_alias=_text(metadata.get("user_api_key_alias")),
        started_at=started,
        ended_at=max(values.unix_ms(row.get("endTime")) or started, started),
        first_byte_at=values.unix_ms(row.get("completionStartTime")),
        operation=row.get("call_type") or "",
        path="",
        model_group=row.get("model_group") or row.get("model") or "",
        model=row.get("model") or "",
        model_id=row.get("model_id") or "",
        provider=row.get("custom_llm_provider") or "",
        api_base=row.get("api_base") or "",
        http_status=0 if failed else 200,
        status="failure" if failed else "success",
        stream=False,
        usage=_usage(row, metadata),
        spend=max(values.nanos(row.get("spend")) or 0, 0),
        provider_response_id=row["request_id"],
        user_id=row.get("user") or None,
        team_id=row.get("team_id") or None,
        organization_id=row.get("organization_id") or None,
        end_user=row.get("end_user") or None,
        requester_ip=row.get("requester_ip_address") or "",
        tags=values.texts(row.get("request_tags")),
    )


def _usage(row: Row, metadata: Row) -> Usage:
    usage = values.mapping(metadata.get("usage_object"))
    asked = values.mapping(usage.get("prompt_tokens_details"))
    answered = values.mapping(usage.get("completion_tokens_details"))
    return Usage(
        input_tokens=values.whole(row.get("prompt_tokens")) or 0,
        output_tokens=values.whole(row.get("completion_tokens")) or 0,
        cache_read_tokens=values.whole(asked.get("cached_tokens")) or 0,
        cache_write_tokens=values.whole(usage.get("cache_creation_input_tokens")) or 0,
        reasoning_tokens=values.whole(answered.get("reasoning_tokens")) or 0,
        input_audio_tokens=values.whole(asked.get("audio_tokens")) or 0,
        output_audio_tokens=values.whole(answered.get("audio_tokens")) or 0,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
