"""What the endpoints for keys share: which key is meant, what a request sets, and how a change is made and told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from extproc.holds import Scope
from extproc.management import allowances, keeping, key_bounds, rows, schemas
from extproc.management.changes import changes_of, for_new
from extproc.management.errors import KEY_NOT_FOUND, MASTER_KEY_TAKEN, Refused, bad_request
from extproc.management.parts import ManagementParts
from extproc.management.telling import told_of, told_of_all
from extproc.management.window_spend import of_key
from extproc.model import Key, UnixMs
from extproc.policy import access, credentials, origins, windows

_RENAMED = {"key_alias": "alias"}
_KEY_TYPE_ROUTES = {"llm_api": "llm_api_routes", "management": "management_routes", "read_only": "info_routes"}


async def make(
    parts: ManagementParts, caller: Key, wanted: schemas.GenerateKey, *, metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A new key, as `/key/generate` answers. `metadata` is added to what the request has."""
    bounded = key_bounds.of_new(parts, wanted)
    key, raw = new_key(parts, caller, bounded, metadata)
    async with told_of_all(parts, [scope(key.digest)]):
        await parts.keys.create(key)
    return generated(parts, key, raw, bounded)


def new_key(
    parts: ManagementParts, caller: Key, wanted: schemas.GenerateKey, metadata: Mapping[str, Any] | None = None
) -> tuple[Key, str]:
    """The key that is asked for, and what its owner will send. Nothing is stored yet."""
    raw = wanted.key or parts.new_key()
    changes = for_new(key_changes(parts, wanted))
    if metadata:
        changes["metadata"] = {**changes.get("metadata", {}), **metadata}
    key = Key(
        digest=usable_digest(parts, raw),
        name=credentials.masked(raw),
        created_at=parts.now(),
        created_by=caller.user_id,
        updated_at=parts.now(),
        updated_by=caller.user_id,
        **changes,
        **rotation(parts, changes),
    )
    return key, raw


def generated(parts: ManagementParts, key: Key, raw: str, wanted: schemas.KeyFields) -> dict[str, Any]:
    """The only answer that shows the key itself."""
    return {**rows.row(key, parts.now()), "key": raw, "token_id": key.digest, "duration": wanted.duration}


async def change(parts: ManagementParts, caller: Key, digest: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change a key, and answer with its row as it is now. Raises `Refused` (404)."""
    stamped = {**changes, "updated_at": parts.now(), "updated_by": caller.user_id}
    async with told_of(parts, scope(digest), changes=changes):
        changed = await parts.keys.update(digest, stamped)
    if changed is None:
        raise Refused(KEY_NOT_FOUND)
    return rows.row(await of_key(parts, changed), parts.now())


async def update(parts: ManagementParts, caller: Key, wanted: schemas.UpdateKey) -> dict[str, Any]:
    """`/key/update` of one key, which is named by `key`, or by `key_alias` where there is no `key`."""
    asked = await find(parts, wanted.key) if wanted.key else await parts.keys.find_by_alias(wanted.key_alias or "")
    key = await keeping.check(parts, caller, asked, keeping.UPDATE, wanted)
    changes = key_changes(parts, key_bounds.of_changed(parts, wanted, key))
    if not wanted.key:
        changes.pop("alias", None)
    changed = await change(parts, caller, key.digest, {**changes, **rotation(parts, changes, key)})
    return {**changed, "key": wanted.key or wanted.key_alias}


async def find(parts: ManagementParts, asked: str) -> Key | None:
    """The key of a raw key that still counts, or of a digest: the key's own, or that of one of its credentials."""
    found = await parts.keys.find(digest_of(asked))
    gone = found is not None and found.revoked_at is not None and found.revoked_at <= parts.now()
    return None if gone and is_raw(asked) else found


async def identity(parts: ManagementParts, asked: str) -> str:
    """The digest that a key is counted and booked by; of an unknown one, what was asked."""
    key = await find(parts, asked)
    return digest_of(asked) if key is None else key.digest


def scope(digest: str) -> Scope:
    """Whom caches and counters are told of."""
    return Scope("api_key", digest)


def is_raw(asked: str) -> bool:
    """Whether this is a key itself, and not a digest."""
    return asked.startswith("sk-")


def digest_of(asked: str) -> str:
    """The digest of a raw key; anything else is taken for a digest."""
    return credentials.digest(asked) if is_raw(asked) else asked


def usable_digest(parts: ManagementParts, raw: str, param: str = "key") -> str:
    """The digest of a key that clients will be able to send, and that is no master key."""
    if not is_raw(raw):
        raise bad_request("Invalid key format. LiteLLM Virtual Key must start with 'sk-'.", param)
    if len(raw) < 16 or not all("!" <= character <= "~" for character in raw):
        raise bad_request("Invalid key format. A key has 16 or more characters, all of them visible ASCII.", param)
    digest = credentials.digest(raw)
    if digest in {parts.master_digest, *parts.previous_digests}:
        raise Refused(MASTER_KEY_TAKEN)
    return digest


def key_changes(parts: ManagementParts, wanted: schemas.KeyFields) -> dict[str, Any]:
    """The fields of `Key` that a request sets."""
    changes = changes_of(wanted, Key, parts, renamed=_RENAMED, further=schemas.FurtherFields)
    if wanted.duration:
        changes["expires_at"] = None if wanted.duration == "-1" else ends(wanted.duration, "duration", parts.now())
    if changes.get("spend") is not None:
        changes |= {"spend_set_at": parts.now(), "spend_set_to": changes["spend"]}
    further = changes.get("fields", {})
    _check_bounds(further)
    if routes := _KEY_TYPE_ROUTES.get(further.get("key_type") or ""):
        changes["fields"] = {"allowed_routes": [routes], **further}
    return changes


def _check_bounds(further: Mapping[str, Any]) -> None:
    """Raises `Refused` (400) for a place that a key can be bound to and never be used from."""
    for address in further.get("allowed_ips") or ():
        if not origins.is_network(address):
            raise bad_request(
                "allowed_ips holds what is neither an address nor a network such as 10.0.0.0/8.", "allowed_ips"
            )
    for route in further.get("allowed_routes") or ():
        if not access.is_route(route):
            raise bad_request(
                f"allowed_routes must be paths, which may end with *, or of {', '.join(sorted(access.GROUPS))}.",
                "allowed_routes",
            )


def rotation(parts: ManagementParts, changes: Mapping[str, Any], key: Key | None = None) -> dict[str, Any]:
    """When a key is due to be regenerated, where a request says something about it."""
    told = changes.get("fields", {})
    if told.keys().isdisjoint({"auto_rotate", "rotation_interval"}):
        return {}
    further = {**(key.fields if key else {}), **told}
    interval = further.get("rotation_interval")
    due = ends(interval, "rotation_interval", parts.now()) if interval else None
    if further.get("auto_rotate") and due is None:
        raise bad_request("auto_rotate needs a rotation_interval, such as 90d.", "rotation_interval")
    return {"rotate_at": due if further.get("auto_rotate") else None}


def ends(text: str, param: str, now: UnixMs) -> UnixMs:
    """The moment one duration from now, or a 400 that names the field."""
    return windows.expiry(allowances.duration(text, param), now)
