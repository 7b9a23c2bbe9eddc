"""What the endpoints answer: LiteLLM's columns, made from our values.

The schemas are for the documentation and for the tests that hold answers to them; the functions below make the answers.
Moments are ISO 8601 in UTC, money is a number of dollars. No raw key is in any of them but the one just made.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from extproc.management.money import to_dollars
from extproc.management.schemas import FurtherFields
from extproc.model import Key, UnixMs


class Columns(BaseModel):
    """What most people look for. pydantic shows the fields of the last base first."""

    key_name: str
    key_alias: str | None
    status: str
    spend: float
    expires: str | None
    models: list[str]
    user_id: str | None
    team_id: str | None
    organization_id: str | None
    max_budget: float | None
    soft_budget: float | None
    budget_duration: str | None
    budget_reset_at: str | None
    max_parallel_requests: int | None
    rpm_limit: int | None
    tpm_limit: int | None
    tpd_limit: int | None
    metadata: dict[str, Any]
    blocked: bool
    created_at: str
    created_by: str | None
    updated_at: str
    updated_by: str | None
    last_active: str | None
    litellm_budget_table: dict[str, Any] | None = None


class KeyInfo(FurtherFields, Columns):
    """Every column of a key but its digest."""

    model_config = ConfigDict(extra="forbid")


class Named(BaseModel):
    """The key itself, or what the request named it by."""

    key: str


class KeyRow(KeyInfo):
    """A key with its digest, which LiteLLM calls its token."""

    token: str


class GeneratedKey(KeyRow, Named):
    """A new key. `key` is shown here and never again."""

    token_id: str
    duration: str | None = None


class UpdatedKey(KeyRow, Named):
    """A changed key; `key` is what the request named it by."""


class ShownKey(BaseModel):
    """`GET /key/info`; `key` is what was asked for."""

    key: str
    info: KeyInfo


class KeySpendRow(KeyRow):
    """A key with all that was ever booked on it; `spend` may have been set since."""

    total_spend: float


class DeletedKeys(BaseModel):
    """The keys or aliases that are gone, as they were named."""

    deleted_keys: list[str]


class KeyPageAnswer(BaseModel):
    """One page of digests, or of whole rows with `return_full_object`."""

    keys: list[KeyRow] | list[str]
    total_count: int
    current_page: int
    total_pages: int


def info(key: Key, now: UnixMs) -> dict[str, Any]:
    """The columns of `KeyInfo`."""
    further = FurtherFields.model_construct().model_dump() | key.fields
    return further | {
        "key_name": key.name,
        "key_alias": key.alias,
        "status": status(key, now),
        "spend": to_dollars(key.spend),
        "expires": iso(key.expires_at),
        "models": [*key.models],
        "user_id": key.user_id,
        "team_id": key.team_id,
        "organization_id": key.organization_id,
        "max_budget": to_dollars(key.max_budget),
        "soft_budget": to_dollars(key.soft_budget),
        "budget_duration": key.budget_duration,
        "budget_reset_at": iso(key.budget_reset_at),
        "max_parallel_requests": key.max_parallel_requests,
        "rpm_limit": key.rpm_limit,
        "tpm_limit": key.tpm_limit,
        "tpd_limit": key.tpd_limit,
        "metadata": key.metadata,
        "blocked": key.blocked,
        "created_at": iso(key.created_at),
        "created_by": key.created_by,
        "updated_at": iso(key.updated_at),
        "updated_by": key.updated_by,
        "last_active": iso(key.last_active),
    }


def row(key: Key, now: UnixMs) -> dict[str, Any]:
    """The columns of `KeyRow`."""
    return {**info(key, now), "token": key.digest}


def status(key: Key, now: UnixMs) -> str:
    """`blocked`, `expired` or `active`."""
    if key.blocked:
        return "blocked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def iso(moment: UnixMs | None) -> str | None:
    """`2026-11-23T20:08:00.123Z`."""
    if moment is None:
        return None
    text = datetime.fromtimestamp(moment / 1_000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
