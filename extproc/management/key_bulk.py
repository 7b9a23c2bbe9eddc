"""Many keys at once, keys of no person, and what a key may ask about itself beside `/key/info`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from extproc.errors import AlreadyExists, StoreUnavailable
from extproc.management import keeping, key_bounds, key_changes, rows, schemas
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Caller, Seen
from extproc.management.documentation import ERRORS
from extproc.management.errors import Refused, already_exists, bad_request
from extproc.management.fields import Id
from extproc.management.parts import ManagementParts, Parts
from extproc.management.window_spend import of_key
from extproc.model import Key
from extproc.policy import refusals
from extproc.policy.refusals import Refusal
from extproc.policy.roles import Sight
from extproc.stores.contract import KeyFilter

administration = APIRouter(route_class=AdminRoute, tags=["keys"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["keys"], responses=ERRORS)


class KeyUpdated(BaseModel):
    """One key that was changed."""

    key: str
    key_info: rows.KeyRow


class KeyNotUpdated(BaseModel):
    """One key that was not, and why."""

    key: str
    key_info: dict[str, Any] | None
    failed_reason: str


class UpdatedKeys(BaseModel):
    """`POST /key/bulk_update`."""

    total_requested: int
    successful_updates: list[KeyUpdated]
    failed_updates: list[KeyNotUpdated]


class ShownKeys(BaseModel):
    """`POST /v2/key/info`. `info` is in the order of those of `key` that exist."""

    key: list[str]
    info: list[rows.KeyInfo]


class Aliases(BaseModel):
    """`GET /key/aliases`."""

    aliases: list[str]
    total_count: int
    current_page: int
    total_pages: int
    size: int


class KeyHealth(BaseModel):
    """`POST /key/health`."""

    key: Literal["healthy"] = "healthy"
    logging_callbacks: None = None


@administration.post("/key/bulk_update", response_model=UpdatedKeys, summary="Change many keys")
async def bulk_update(parts: Parts, caller: Caller, wanted: schemas.UpdateKeys) -> Any:
    """Each by itself: those that cannot be changed are told, and the others are."""
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for one in wanted.keys:
        name = one.key or one.key_alias or ""
        changed = await _changed(parts, caller, one)
        if isinstance(changed, Refusal):
            failed.append({"key": name, "key_info": None, "failed_reason": changed.message})
        else:
            changed.pop("key")
            done.append({"key": name, "key_info": changed})
    return {"total_requested": len(wanted.keys), "successful_updates": done, "failed_updates": failed}


@administration.post(
    "/key/service-account/generate", response_model=rows.GeneratedKey, summary="Make a key of a team and of no person"
)
async def generate_service_account(parts: Parts, caller: Caller, wanted: schemas.GenerateKey) -> Any:
    """As `/key/generate`. It goes on when whoever made it leaves the team."""
    wanted = key_bounds.with_defaults(parts, wanted)
    if wanted.user_id is not None:
        raise bad_request("A service account belongs to no user: leave user_id out.", "user_id")
    if wanted.team_id is None:
        raise bad_request("team_id is required for a service account.", "team_id")
    made = await keeping.check_new(parts, caller, wanted, keeping.SERVICE_ACCOUNT)
    if await parts.entities.teams.find(wanted.team_id) is None:
        raise bad_request(f"Team not found, passed team id: {wanted.team_id}.", "team_id")
    named = {"service_account_id": wanted.key_alias} if wanted.key_alias else {}
    return await key_changes.make(parts, caller, made, metadata=named)


@administration.post("/v2/key/info", response_model=ShownKeys, summary="Show many keys")
async def info(parts: Parts, wanted: schemas.AskedKeys) -> Any:
    """Those that do not exist are left out of `info`."""
    found = [key for asked in wanted.keys if (key := await key_changes.find(parts, asked)) is not None]
    return {"key": wanted.keys, "info": [rows.info(await of_key(parts, key), parts.now()) for key in found]}


class AliasQuery(BaseModel):
    """Which aliases `/key/aliases` shows."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    size: Annotated[int, Field(ge=1, le=100)] = 50
    search: Annotated[Id, Field(description="Matches inside the alias, whatever the case.")] = None
    team_id: Id = None


@reading.get("/key/aliases", response_model=Aliases, summary="Aliases of keys")
async def aliases(parts: Parts, seen: Seen, wanted: Annotated[AliasQuery, Query()]) -> Any:
    """In their order. A virtual key sees its user's, or its own where it has no user."""
    chosen = KeyFilter(search=wanted.search, team_id=wanted.team_id, has_alias=True, **_own(seen))
    page = await parts.keys.list(chosen, page=wanted.page, size=wanted.size, sort_by="alias", descending=False)
    return {
        "aliases": [key.alias for key in page.keys],
        "total_count": page.total,
        "current_page": wanted.page,
        "total_pages": -(-page.total // wanted.size),
        "size": wanted.size,
    }


@reading.post("/key/health", response_model=KeyHealth, summary="Whether the key can be used")
async def health() -> Any:
    """Who may ask is healthy: any other key is refused before."""
    return {"key": "healthy", "logging_callbacks": None}


async def _changed(parts: ManagementParts, caller: Key, wanted: schemas.UpdateKey) -> dict[str, Any] | Refusal:
    try:
        return await key_changes.update(parts, caller, wanted)
    except Refused as refused:
        return refused.refusal
    except AlreadyExists as error:
        return already_exists(error)
    except StoreUnavailable:
        return refusals.STORE_UNAVAILABLE


def _own(seen: Sight) -> dict[str, Any]:
    if seen.all:
        return {}
    return {"user_id": seen.user_id} if seen.user_id is not None else {"digest": seen.digest}
