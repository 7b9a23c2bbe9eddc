"""`/key/…`: make, show, change, block, delete and list virtual keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from extproc.holds import Scope
from extproc.management import allowances, rows, schemas
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Caller, is_admin
from extproc.management.changes import changes_of, for_new
from extproc.management.documentation import ERRORS
from extproc.management.errors import (
    KEY_NOT_FOUND,
    KEY_NOT_IN_DATABASE,
    MASTER_KEY_TAKEN,
    NO_KEYS_FOUND,
    NOT_YOUR_KEY,
    Refused,
    bad_request,
)
from extproc.management.fields import AskedKey, Id
from extproc.management.parts import ManagementParts, Parts
from extproc.management.telling import told_of, told_of_all
from extproc.model import Key, UnixMs
from extproc.policy import credentials, windows
from extproc.stores.contract import KeyFilter

administration = APIRouter(route_class=AdminRoute, tags=["keys"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["keys"], responses=ERRORS)

_RENAMED = {"key_alias": "alias"}
_KEY_TYPE_ROUTES = {"llm_api": "llm_api_routes", "management": "management_routes", "read_only": "info_routes"}
#: LiteLLM's names of the columns that `/key/list` sorts by.
_SORTABLE = {
    "spend": "spend", "max_budget": "max_budget", "created_at": "created_at", "updated_at": "updated_at",
    "key_alias": "alias", "key_name": "name", "user_id": "user_id", "team_id": "team_id", "expires": "expires_at",
    "token": "digest", "last_active": "last_active", "rpm_limit": "rpm_limit", "tpm_limit": "tpm_limit",
}  # fmt: skip
#: A body that is left out.
_ANYTHING = schemas.GenerateKey()


@administration.post("/key/generate", response_model=rows.GeneratedKey, summary="Make a virtual key")
async def generate(parts: Parts, caller: Caller, wanted: Annotated[schemas.GenerateKey, Body()] = _ANYTHING) -> Any:
    """The answer is the only place where the key itself is ever shown: only its digest is stored."""
    raw = wanted.key or parts.new_key()
    digest = _usable_digest(raw, parts.master_digest)
    now = parts.now()
    key = Key(
        digest=digest,
        name=credentials.masked(raw),
        created_at=now,
        created_by=caller.user_id,
        updated_at=now,
        updated_by=caller.user_id,
        **for_new(_changes(parts, wanted)),
    )
    async with told_of_all(parts, [_scope(digest)]):
        await parts.keys.create(key)
    return {**rows.row(key, now), "key": raw, "token_id": digest, "duration": wanted.duration}


@administration.post("/key/update", response_model=rows.UpdatedKey, summary="Change a key")
async def update(parts: Parts, caller: Caller, wanted: schemas.UpdateKey) -> Any:
    """What is left out stays as it is. The key is named by `key`, or by `key_alias` where there is no `key`."""
    digest = _digest(wanted.key) if wanted.key else await _digest_of_alias(parts, wanted.key_alias or "")
    changes = _changes(parts, wanted)
    if not wanted.key:
        changes.pop("alias", None)
    return await _change(parts, caller, digest, changes) | {"key": wanted.key or wanted.key_alias}


@administration.post("/key/block", response_model=rows.KeyRow, summary="Refuse a key from now on")
async def block(parts: Parts, caller: Caller, wanted: schemas.NamedKey) -> Any:
    """Every worker refuses it at once; exchanges in flight end."""
    return await _change(parts, caller, _digest(wanted.key), {"blocked": True})


@administration.post("/key/unblock", response_model=rows.KeyRow, summary="Admit a blocked key again")
async def unblock(parts: Parts, caller: Caller, wanted: schemas.NamedKey) -> Any:
    """An expired key stays expired."""
    return await _change(parts, caller, _digest(wanted.key), {"blocked": False})


@administration.post("/key/delete", response_model=rows.DeletedKeys, summary="Delete keys")
async def delete(parts: Parts, caller: Caller, wanted: schemas.DeleteKeys) -> Any:
    """All of them or, if one is unknown, none. What they spent stays in the ledger."""
    digests = [_digest(key) for key in wanted.keys or ()]
    for alias in wanted.key_aliases or ():
        key = await parts.keys.find_by_alias(alias)
        digests.append(key.digest if key else "")
    async with told_of_all(parts, map(_scope, digests)):
        deleted = await parts.keys.delete(digests, deleted_by=caller.user_id or caller.name, now=parts.now())
    if not deleted:
        raise Refused(NO_KEYS_FOUND)
    return {"deleted_keys": [*(wanted.keys or ()), *(wanted.key_aliases or ())]}


@reading.get("/key/info", response_model=rows.ShownKey, summary="Show a key")
async def info(parts: Parts, caller: Caller, key: Annotated[AskedKey, Query()] = None) -> Any:
    """A virtual key may ask about itself only; without `key` it does."""
    digest = _digest(key) if key else caller.digest
    if not is_admin(caller) and digest != caller.digest:
        raise Refused(NOT_YOUR_KEY)
    found = await parts.keys.find(digest)
    if found is None:
        raise Refused(KEY_NOT_IN_DATABASE)
    return {"key": key or digest, "info": rows.info(found, parts.now())}


class ListQuery(BaseModel):
    """Which keys `/key/list` shows; every given field must match."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    size: Annotated[int, Field(ge=1, le=100)] = 10
    user_id: Id = None
    team_id: Id = None
    organization_id: Id = None
    key_hash: AskedKey = None
    key_alias: Id = None
    search: Annotated[Id, Field(description="Matches inside the alias, whatever the case.")] = None
    return_full_object: bool = False
    sort_by: Id = None
    sort_order: Literal["asc", "desc"] = "desc"


@administration.get("/key/list", response_model=rows.KeyPageAnswer, summary="List keys")
async def list_keys(parts: Parts, wanted: Annotated[ListQuery, Query()]) -> Any:
    """The newest first, unless another order is asked for."""
    column = _SORTABLE.get(wanted.sort_by or "created_at")
    if column is None:
        raise bad_request(f"sort_by must be one of {', '.join(sorted(_SORTABLE))}", "sort_by")
    chosen = KeyFilter(
        user_id=wanted.user_id,
        team_id=wanted.team_id,
        organization_id=wanted.organization_id,
        digest=_digest(wanted.key_hash) if wanted.key_hash else None,
        alias=wanted.key_alias,
        search=wanted.search,
    )
    page = await parts.keys.list(
        chosen, page=wanted.page, size=wanted.size, sort_by=column, descending=wanted.sort_order == "desc"
    )
    now = parts.now()
    return {
        "keys": [rows.row(key, now) if wanted.return_full_object else key.digest for key in page.keys],
        "total_count": page.total,
        "current_page": wanted.page,
        "total_pages": -(-page.total // wanted.size),
    }


async def _change(parts: ManagementParts, caller: Key, digest: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    stamped = {**changes, "updated_at": parts.now(), "updated_by": caller.user_id}
    async with told_of(parts, _scope(digest), changes=changes):
        changed = await parts.keys.update(digest, stamped)
    if changed is None:
        raise Refused(KEY_NOT_FOUND)
    return rows.row(changed, parts.now())


def _scope(digest: str) -> Scope:
    return Scope("api_key", digest)


def _digest(key: str) -> str:
    """The digest of a raw key; anything else is taken for a digest."""
    return credentials.digest(key) if key.startswith("sk-") else key


async def _digest_of_alias(parts: ManagementParts, alias: str) -> str:
    key = await parts.keys.find_by_alias(alias)
    if key is None:
        raise Refused(KEY_NOT_FOUND)
    return key.digest


def _usable_digest(raw: str, master_digest: str) -> str:
    """The digest of a key that clients will be able to send, and that is not the master key."""
    if not raw.startswith("sk-"):
        raise bad_request("Invalid key format. LiteLLM Virtual Key must start with 'sk-'.", "key")
    if len(raw) < 16 or not all("!" <= character <= "~" for character in raw):
        raise bad_request("Invalid key format. A key has 16 or more characters, all of them visible ASCII.", "key")
    digest = credentials.digest(raw)
    if digest == master_digest:
        raise Refused(MASTER_KEY_TAKEN)
    return digest


def _changes(parts: ManagementParts, wanted: schemas.KeyFields) -> dict[str, Any]:
    """The fields of `Key` that a request sets."""
    changes = changes_of(wanted, Key, parts, renamed=_RENAMED, further=schemas.FurtherFields)
    if wanted.duration:
        changes["expires_at"] = None if wanted.duration == "-1" else _expiry(wanted.duration, parts.now())
    further = changes.get("fields", {})
    if routes := _KEY_TYPE_ROUTES.get(further.get("key_type") or ""):
        changes["fields"] = {"allowed_routes": [routes], **further}
    return changes


def _expiry(text: str, now: UnixMs) -> UnixMs:
    return windows.expiry(allowances.duration(text, "duration"), now)
