"""`/audit`: who changed what, and when.

The stores write the trail, in the transaction of each change; here it is only read. Answers are LiteLLM's, with what
the chain needs beside it. `/audit/export` streams the whole of it as JSON lines, so that it can be kept elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from extproc.management.authentication import AdminRoute
from extproc.management.documentation import ERRORS
from extproc.management.errors import Refused
from extproc.management.fields import Id
from extproc.management.key_changes import digest_of
from extproc.management.moments import iso
from extproc.management.parts import Parts
from extproc.management.spend import end_of, start_of
from extproc.policy.refusals import Refusal
from extproc.stores.audit_chain import Entry
from extproc.stores.contract import AuditFilter, AuditTrail

administration = APIRouter(route_class=AdminRoute, tags=["audit"], responses=ERRORS)

NO_ENTRY = Refusal(404, "not_found_error", "There is no such entry in the audit trail.", "id", "audit_entry_not_found")


class AuditRow(BaseModel):
    """One change. Of an update, `before_value` and `updated_values` are what changed; secrets are stars.

    `changed_by_api_key` is a digest, or `litellm_proxy_master_key`. `hash` is over the whole entry and `previous_hash`.
    """

    id: str
    updated_at: str
    changed_by: str
    changed_by_api_key: str
    action: Annotated[str, Field(examples=["created", "updated", "deleted", "blocked", "unblocked", "rotated", "read"])]
    table_name: Annotated[str, Field(examples=["LiteLLM_VerificationToken"])]
    object_id: str
    before_value: dict[str, Any] | None
    updated_values: dict[str, Any] | None
    source_ip: str
    sequence: int
    previous_hash: str
    hash: str
    hash_key_id: str


class AuditPage(BaseModel):
    """`GET /audit`."""

    audit_logs: list[AuditRow]
    total: int
    page: int
    page_size: int
    total_pages: int


class AuditQuery(BaseModel):
    """Which entries are wanted; every given field must match."""

    changed_by: Id = None
    changed_by_api_key: Annotated[Id, Field(description="A digest, or a raw key.")] = None
    action: Id = None
    table_name: Id = None
    object_id: Annotated[Id, Field(description="Of a key its digest, or the raw key; of a member `USER:TEAM`.")] = None
    start_date: Annotated[Id, Field(description="The first day (UTC), or a moment in ISO 8601.")] = None
    end_date: Annotated[Id, Field(description="The last day (UTC), which counts whole, or a moment.")] = None
    search: Annotated[Id, Field(description="Matches inside names, ids and values, whatever the case.")] = None


class AuditPageQuery(AuditQuery):
    """And which page of them."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    sort_order: Literal["asc", "desc"] = "desc"


@administration.get("/audit", response_model=AuditPage, summary="Changes, and who made them")
async def list_entries(parts: Parts, wanted: Annotated[AuditPageQuery, Query()]) -> Any:
    """The newest first, unless another order is asked for."""
    descending = wanted.sort_order == "desc"
    page = await parts.trail.list(_filter(wanted), page=wanted.page, size=wanted.page_size, descending=descending)
    return {
        "audit_logs": [row(entry) for entry in page.rows],
        "total": page.total,
        "page": wanted.page,
        "page_size": wanted.page_size,
        "total_pages": -(-page.total // wanted.page_size),
    }


@administration.get(
    "/audit/export",
    summary="Changes as JSON lines",
    response_model=None,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "One entry a line, the oldest first."}},
)
async def export(parts: Parts, wanted: Annotated[AuditQuery, Query()]) -> StreamingResponse:
    """All of them, streamed. The text of a line is the same every time: it can be compared."""
    return StreamingResponse(_lines(parts.trail, _filter(wanted)), media_type="application/x-ndjson")


@administration.get("/audit/{id}", response_model=AuditRow, summary="Show one change")
async def info(parts: Parts, id: str) -> Any:  # noqa: A002 - LiteLLM's name
    """By the `id` of its entry."""
    entry = await parts.trail.find(id)
    if entry is None:
        raise Refused(NO_ENTRY)
    return row(entry)


def row(entry: Entry) -> dict[str, Any]:
    """The columns of `AuditRow`."""
    return {
        "id": entry.id,
        "updated_at": iso(entry.at),
        "changed_by": entry.changed_by,
        "changed_by_api_key": entry.changed_by_key,
        "action": entry.action,
        "table_name": entry.table_name,
        "object_id": entry.object_id,
        "before_value": msgspec.json.decode(entry.before) if entry.before is not None else None,
        "updated_values": msgspec.json.decode(entry.after) if entry.after is not None else None,
        "source_ip": entry.ip,
        "sequence": entry.seq,
        "previous_hash": entry.previous,
        "hash": entry.hash,
        "hash_key_id": entry.key_id,
    }


async def _lines(trail: AuditTrail, wanted: AuditFilter) -> AsyncIterator[bytes]:
    async for entries in trail.batches(wanted):
        yield b"".join(map(_line, entries))


def _line(entry: Entry) -> bytes:
    return msgspec.json.encode(row(entry)) + b"\n"


def _filter(wanted: AuditQuery) -> AuditFilter:
    return AuditFilter(
        changed_by=wanted.changed_by,
        changed_by_key=digest_of(wanted.changed_by_api_key) if wanted.changed_by_api_key else None,
        action=wanted.action,
        table_name=wanted.table_name,
        object_id=digest_of(wanted.object_id) if wanted.object_id else None,
        search=wanted.search,
        since=start_of(wanted.start_date),
        before=end_of(wanted.end_date),
    )
