"""What the endpoints answer: LiteLLM's columns, made from our values.

The schemas are for the documentation and for the tests that hold answers to them; the functions below make the answers.
Moments are ISO 8601 in UTC, money is a number of dollars. No raw key is in any of them but the one just made.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from extproc.management.allowances import AllowanceColumns, shown
from extproc.management.moments import iso
from extproc.management.money import to_dollars
from extproc.management.schemas import FurtherFields
from extproc.model import Budget, Key, UnixMs


class BudgetNames(BaseModel):
    """What a budget is named by, and who made it."""

    budget_id: str
    created_at: str
    created_by: str | None
    updated_at: str
    updated_by: str | None


class BudgetRow(AllowanceColumns, BudgetNames):
    """A budget that keys, end users and tags may name."""


class Columns(BaseModel):
    """What most people look for."""

    key_name: str
    key_alias: str | None
    status: str
    spend: float
    expires: str | None
    models: list[str]
    user_id: str | None
    team_id: str | None
    organization_id: str | None
    budget_id: str | None
    metadata: dict[str, Any]
    blocked: bool
    created_at: str
    created_by: str | None
    updated_at: str
    updated_by: str | None
    last_active: str | None
    key_rotation_at: str | None
    last_rotation_at: str | None
    rotation_count: int
    litellm_budget_table: BudgetRow | None = None


class KeyInfo(FurtherFields, AllowanceColumns, Columns):
    """Every column of a key but its digest. pydantic shows the fields of the last base first."""

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
    return {"last_rotation_at": None, "rotation_count": 0, **further} | {
        "key_name": key.name,
        "key_alias": key.alias,
        "status": status(key, now),
        "spend": to_dollars(key.spend),
        "expires": iso(key.expires_at),
        "models": [*key.models],
        "user_id": key.user_id,
        "team_id": key.team_id,
        "organization_id": key.organization_id,
        "budget_id": key.budget_id,
        **shown(key),
        "metadata": key.metadata,
        "blocked": key.blocked,
        "created_at": iso(key.created_at),
        "created_by": key.created_by,
        "updated_at": iso(key.updated_at),
        "updated_by": key.updated_by,
        "last_active": iso(key.last_active),
        "key_rotation_at": iso(key.rotate_at),
        "litellm_budget_table": budget_row(key.budget) if key.budget else None,
    }


def budget_row(budget: Budget) -> dict[str, Any]:
    """The columns of `BudgetRow`."""
    return {
        "budget_id": budget.id,
        **shown(budget),
        "created_at": iso(budget.created_at),
        "created_by": budget.created_by,
        "updated_at": iso(budget.updated_at),
        "updated_by": budget.updated_by,
    }


def row(key: Key, now: UnixMs) -> dict[str, Any]:
    """The columns of `KeyRow`."""
    return {**info(key, now), "token": key.digest}


def status(key: Key, now: UnixMs) -> str:
    """`blocked`, `expired` or `active`."""
    if key.blocked:
        return "blocked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"
