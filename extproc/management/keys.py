"""`/key/…`: make, show, change, block, delete and list virtual keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from extproc.management import keeping, key_bounds, key_changes, rows, schemas
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Caller, Seen, is_admin
from extproc.management.documentation import ERRORS
from extproc.management.errors import (
    KEY_NOT_IN_DATABASE,
    NO_KEYS_FOUND,
    NOT_YOUR_KEY,
    NOT_YOURS,
    Refused,
    bad_request,
)
from extproc.management.fields import AskedKey, Id
from extproc.management.parts import ManagementParts, Parts
from extproc.management.telling import told_of_all
from extproc.management.window_spend import of_key
from extproc.model import Key
from extproc.policy.roles import Sight
from extproc.stores.contract import KeyFilter

administration = APIRouter(route_class=AdminRoute, tags=["keys"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["keys"], responses=ERRORS)

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
    asked = key_bounds.with_defaults(parts, wanted)
    return await key_changes.make(parts, caller, await keeping.check_new(parts, caller, asked))


@administration.post("/key/update", response_model=rows.UpdatedKey, summary="Change a key")
async def update(parts: Parts, caller: Caller, wanted: schemas.UpdateKey) -> Any:
    """What is left out stays as it is. The key is named by `key`, or by `key_alias` where there is no `key`."""
    return await key_changes.update(parts, caller, wanted)


@administration.post("/key/block", response_model=rows.KeyRow, summary="Refuse a key from now on")
async def block(parts: Parts, caller: Caller, wanted: schemas.NamedKey) -> Any:
    """Every worker refuses it at once; exchanges in flight end."""
    return await _block(parts, caller, wanted.key, blocked=True)


@administration.post("/key/unblock", response_model=rows.KeyRow, summary="Admit a blocked key again")
async def unblock(parts: Parts, caller: Caller, wanted: schemas.NamedKey) -> Any:
    """An expired key stays expired."""
    return await _block(parts, caller, wanted.key, blocked=False)


@administration.post("/key/delete", response_model=rows.DeletedKeys, summary="Delete keys")
async def delete(parts: Parts, caller: Caller, wanted: schemas.DeleteKeys) -> Any:
    """All of them or, if one is unknown, none. What they spent stays in the ledger."""
    found = [await key_changes.find(parts, key) for key in wanted.keys or ()]
    found += [await parts.keys.find_by_alias(alias) for alias in wanted.key_aliases or ()]
    if not is_admin(caller):
        found = [await keeping.check(parts, caller, key, keeping.DELETE) for key in found]
    digests = [key.digest if key else "" for key in found]
    async with told_of_all(parts, map(key_changes.scope, digests)):
        deleted = await parts.keys.delete(digests, deleted_by=caller.user_id or caller.name, now=parts.now())
    if not deleted:
        raise Refused(NO_KEYS_FOUND)
    return {"deleted_keys": [*(wanted.keys or ()), *(wanted.key_aliases or ())]}


@reading.get("/key/info", response_model=rows.ShownKey, summary="Show a key")
async def info(parts: Parts, caller: Caller, seen: Seen, key: Annotated[AskedKey, Query()] = None) -> Any:
    """A virtual key may ask about itself, its user's keys and those of teams its user administers; without `key` about
    itself."""
    found = await key_changes.find(parts, key or caller.digest)
    if not seen.all and (found is None or not seen.shows_key(found)):
        raise Refused(NOT_YOUR_KEY)
    if found is None:
        raise Refused(KEY_NOT_IN_DATABASE)
    return {"key": key or found.digest, "info": rows.info(await of_key(parts, found), parts.now())}


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
    rotation_due: Annotated[bool, Field(description="Only keys with auto_rotate whose rotation_interval is over.")] = (
        False
    )
    return_full_object: bool = False
    sort_by: Id = None
    sort_order: Literal["asc", "desc"] = "desc"


@reading.get("/key/list", response_model=rows.KeyPageAnswer, summary="List keys")
async def list_keys(parts: Parts, seen: Seen, wanted: Annotated[ListQuery, Query()]) -> Any:
    """The newest first, unless another order is asked for. A virtual key sees its user's, or, where it asks for a team
    that its user administers, the team's."""
    column = _SORTABLE.get(wanted.sort_by or "created_at")
    if column is None:
        raise bad_request(f"sort_by must be one of {', '.join(sorted(_SORTABLE))}", "sort_by")
    digest = await key_changes.identity(parts, wanted.key_hash) if wanted.key_hash else None
    chosen = KeyFilter(
        **_owned(seen, wanted, digest),
        team_id=wanted.team_id,
        organization_id=wanted.organization_id,
        alias=wanted.key_alias,
        search=wanted.search,
        due_at=parts.now() if wanted.rotation_due else None,
    )
    page = await parts.keys.list(
        chosen, page=wanted.page, size=wanted.size, sort_by=column, descending=wanted.sort_order == "desc"
    )
    whole = wanted.return_full_object
    return {
        "keys": [rows.row(await of_key(parts, key), parts.now()) if whole else key.digest for key in page.keys],
        "total_count": page.total,
        "current_page": wanted.page,
        "total_pages": -(-page.total // wanted.size),
    }


def _owned(seen: Sight, wanted: ListQuery, digest: str | None) -> dict[str, Any]:
    """Whose keys are listed, of those that are asked for. Raises `Refused` where they are others'."""
    if seen.all or (wanted.team_id is not None and wanted.team_id in seen.team_ids):
        return {"user_id": wanted.user_id, "digest": digest}
    if wanted.user_id not in {None, seen.user_id}:
        raise Refused(NOT_YOURS)
    if seen.user_id is not None:
        return {"user_id": seen.user_id, "digest": digest}
    if digest not in {None, seen.digest}:
        raise Refused(NOT_YOUR_KEY)
    return {"digest": seen.digest}


async def _block(parts: ManagementParts, caller: Key, key: str, *, blocked: bool) -> dict[str, Any]:
    route = keeping.BLOCK if blocked else keeping.UNBLOCK
    found = await keeping.check(parts, caller, await key_changes.find(parts, key), route)
    return await key_changes.change(parts, caller, found.digest, {"blocked": blocked})
