"""From an identity to an account, and to a key of its own: made by the same code as `/user/new` and `/key/generate`.

Keys of logins end by themselves. Those of a person that have ended are deleted when the person logs in again, and of
those that have not, the oldest beyond a number, so that they do not pile up.
"""

from __future__ import annotations

from typing import Any

from extproc.errors import AlreadyExists, LoginFailed
from extproc.holds import Scope
from extproc.identity_providers.house import IdentityProviders
from extproc.management import key_bounds, key_changes, schemas, users
from extproc.management.parts import ManagementParts
from extproc.management.sso_attempts import ALIAS, alias
from extproc.management.team_schemas import UserFields
from extproc.management.telling import told_of, told_of_all
from extproc.model import Key, User
from extproc.policy import sso
from extproc.policy.key_bounds import exceeded
from extproc.policy.sso import Identity, Reason
from extproc.stores.audit_chain import Actor, act_as
from extproc.stores.contract import KeyFilter

#: What the metadata of such a key says: the provider by which its user logged in.
MARK = "sso_provider"
#: Stands where the key would that makes a change.
_BY = "sso"
MOST_KEYS = 20
_LOOKED_THROUGH = 100


def acts(user_id: str, ip: str) -> None:
    """Whatever is changed from now on is this person's doing."""
    act_as(Actor(user_id, _BY, ip))


async def account(parts: ManagementParts, providers: IdentityProviders, identity: Identity, ip: str) -> User:
    """The account of whoever logged in, made where there is none. Raises `LoginFailed`."""
    for _ in range(2):
        known = await parts.entities.persons.known_as(sso.names(identity, providers.settings.providers), identity.email)
        found = sso.account(identity, *known)
        if isinstance(found, Reason):
            raise LoginFailed(found)
        try:
            return await _entered(parts, providers, identity, found, ip)
        except AlreadyExists:
            # The person logs in twice at once, or somebody else with this address does: now it is known whose it is.
            continue
    raise LoginFailed(Reason.AMBIGUOUS_ACCOUNT)


async def _entered(
    parts: ManagementParts, providers: IdentityProviders, identity: Identity, user: User | None, ip: str
) -> User:
    settings = providers.settings
    role = user.role if user is not None else identity.role or settings.newcomers.get("user_role", "internal_user")
    if not sso.may_enter(role, admins_only=settings.admins_only):
        raise LoginFailed(Reason.ADMINS_ONLY)
    if user is None:
        told = {**settings.newcomers, "user_role": role, "user_email": identity.email, "sso_user_id": identity.id}
        user_id = parts.new_id()
        acts(user_id, ip)
        return await users.make(parts, UserFields.model_validate(told), user_id)
    acts(user.id, ip)
    if not user.sso_user_id:
        return await _linked(parts, user, identity)
    return user


async def _linked(parts: ManagementParts, user: User, identity: Identity) -> User:
    """From now on the account is known by the provider's id, whatever becomes of the address. Raises `AlreadyExists`
    where somebody else was faster, or the account is gone."""
    async with told_of(parts, Scope("user", user.id), changes={}):
        linked = await parts.entities.persons.link(user.id, identity.id, now=parts.now())
    if linked is None:
        raise AlreadyExists("user_id", user.id)
    return linked


async def key(parts: ManagementParts, user: User, provider: str, duration: str, once: str) -> dict[str, Any]:
    """A key of the user's own, as `/key/generate` answers: one for each login, also where it was deleted since. Raises
    `LoginFailed`."""
    caller, name = Key(digest="", name=_BY, user_id=user.id), alias(once)
    if await parts.keys.was_deleted(name):
        raise LoginFailed(Reason.REPLAYED)
    wanted = key_bounds.with_defaults(
        parts, schemas.GenerateKey(user_id=user.id, duration=_bounded(parts, duration), key_alias=name)
    )
    try:
        made = await key_changes.make(parts, caller, wanted, metadata={MARK: provider})
    except AlreadyExists:
        raise LoginFailed(Reason.REPLAYED) from None
    await _tidy(parts, user)
    return made


def _bounded(parts: ManagementParts, duration: str) -> str:
    """No longer than keys may be valid: nobody asked for more."""
    bounds = parts.settings.key_bounds
    above = exceeded(bounds, {"duration": duration}, parts.now())
    return duration if above is None else str(bounds.told[above])


async def end(parts: ManagementParts, caller: Key) -> bool:
    """Delete the caller's key, if it is one of a login."""
    if MARK not in caller.metadata:
        return False
    await _delete(parts, caller, [caller.digest])
    return True


async def _tidy(parts: ManagementParts, user: User) -> None:
    wanted = KeyFilter(user_id=user.id, search=ALIAS)
    page = await parts.keys.list(wanted, page=1, size=_LOOKED_THROUGH, sort_by="created_at", descending=True)
    theirs = [each for each in page.keys if MARK in each.metadata]
    now = parts.now()
    living = [each for each in theirs if each.expires_at is None or each.expires_at > now]
    gone = [each.digest for each in theirs if each not in living] + [each.digest for each in living[MOST_KEYS:]]
    if gone:
        await _delete(parts, Key(digest="", name=_BY, user_id=user.id), gone)


async def _delete(parts: ManagementParts, caller: Key, digests: list[str]) -> None:
    async with told_of_all(parts, map(key_changes.scope, digests)):
        await parts.keys.delete(digests, deleted_by=caller.user_id or caller.name, now=parts.now())
