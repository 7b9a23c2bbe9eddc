"""What was said in an exchange, where that is stored: shown to whoever sees the exchange's row, and never unnoticed.

Each reading is an entry of the audit trail (`read`), written before anything is shown.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel

from extproc import contents
from extproc.management.authentication import AnyKeyRoute, Seen
from extproc.management.documentation import ERRORS
from extproc.management.errors import not_found
from extproc.management.parts import ManagementParts, Parts
from extproc.management.spend_days import whose
from extproc.management.spend_rows import said_columns
from extproc.stores.spending import LogFilter

reading = APIRouter(route_class=AnyKeyRoute, tags=["spend"], responses=ERRORS)

#: What entries of the audit trail call it.
TABLE = "contents"


class Said(BaseModel):
    """What was said in an exchange; empty where it was not stored. Something that could not be stored says why:
    `{"left_out": "text_too_long"}`."""

    messages: Any
    response: Any
    proxy_server_request: Any


@reading.get("/spend/logs/ui/{request_id}", response_model=Said, summary="What was said in an exchange")
async def said(
    parts: Parts,
    seen: Seen,
    request_id: Annotated[str, Path(max_length=1024, description="The provider's id, our call id or event id.")],
) -> Any:
    """As it is stored: masked, long texts cut. The audit trail has who read it."""
    found = await parts.ledger.rows(LogFilter(request_id=request_id, whose=whose(seen)), limit=1)
    if not found:
        raise not_found("request", request_id)
    event_id = found[0].receipt.event_id
    return said_columns((await read(parts, event_id)).get(event_id, {}))


async def read(parts: ManagementParts, event_id: str) -> dict[str, dict[str, Any]]:
    """What was said in an exchange, by its id, after it was noted that it is read. Raises `StoreUnavailable`."""
    found = await opened(parts, [event_id])
    if found:
        await parts.trail.note_reading(TABLE, event_id)
    return found


async def opened(parts: ManagementParts, event_ids: list[str]) -> dict[str, dict[str, Any]]:
    """The same of several, for who notes it. Raises `StoreUnavailable`."""
    return {} if parts.contents is None else await contents.opened(parts.contents, parts.keyring, event_ids)
