"""Who is asking, and may they: decided from the headers alone, before a body is read.

Every route is a `GovernedRoute`, but for those that are open to anyone (health and documentation). Which roles may call
it stands in `policy.roles`, and nowhere else. What is shown is bounded by `Seen`, one value from the caller's key and
teams. Keys are looked up in the store, never in a cache: what was revoked is refused at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from extproc.management.acting import actor_of
from extproc.management.bodies import BoundedRequest
from extproc.management.errors import Refused, admin_only
from extproc.management.parts import parts_of
from extproc.model import Key
from extproc.policy import access, credentials, refusals, roles
from extproc.policy.failures import TOO_MANY, UNKNOWN
from extproc.policy.refusals import Refusal
from extproc.policy.roles import Sight, Standing
from extproc.stores.audit_chain import act_as

#: For a client to send its body, and then for the endpoint to answer.
_SECONDS = 30.0


async def authenticate(request: Request) -> Key:
    """The caller's key, `MASTER_KEY` for the administrator. Raises `Refused`."""
    parts, now = parts_of(request), parts_of(request).now()
    origins, client = parts.settings.origins, client_of(request)
    if refusal := origins.check(client):
        raise Refused(refusal)
    credential = credentials.read(request.headers.raw)
    if isinstance(credential, Refusal):
        raise _failed(request, credential)
    if administrator := credentials.administrator(credential, parts.master_digest, parts.previous_digests):
        return administrator
    if wait := parts.failures.wait(_address(request), credential.digest, now):
        raise _failed(request, refusals.too_many_failures(wait))
    key = await parts.keys.find(credential.digest)
    refusal = access.check_key(key, now) if key else refusals.UNKNOWN_KEY
    if key is None or refusal is not None:
        raise _failed(request, refusal or refusals.UNKNOWN_KEY, credential.digest)
    parts.failures.found(credential.digest)
    if refusal := origins.check(client, key):
        raise Refused(refusal)
    return key


def _failed(request: Request, refusal: Refusal, digest: str = "") -> Refused:
    """Remember a failed authentication."""
    parts, prefix = parts_of(request), ""
    if refusal.reason in {UNKNOWN, TOO_MANY}:
        prefix = credentials.prefix(request.headers.raw)
    parts.failures.failed(_address(request), refusal.reason, parts.now(), prefix=prefix, digest=digest)
    return Refused(refusal)


def _address(request: Request) -> str:
    """Of whom Envoy is connected with: it adds them at the end, whatever the client wrote before."""
    return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()


def client_of(request: Request) -> str:
    """The client's own address, where proxies in front of Envoy are known."""
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    return parts_of(request).settings.origins.client(_address(request), forwarded)


def is_admin(caller: Key) -> bool:
    """Whether the caller may do everything."""
    return roles.standing(caller) is Standing.PROXY_ADMIN


def sees_all(caller: Key) -> bool:
    """Whether the caller is shown everything."""
    return roles.sight(caller, ()).all


class GovernedRoute(APIRoute):
    """A route for valid keys of the roles that the table names. The endpoint finds the caller in its `Caller`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = super().get_route_handler()

        async def handle(request: Request) -> Response:
            bounded = BoundedRequest(request.scope, request.receive)
            async with asyncio.timeout(_SECONDS):
                caller = await authenticate(bounded)
            standing = roles.standing(caller)
            if not roles.may_call(standing, request.method, self.path):
                raise Refused(admin_only(self.path, standing))
            if refusal := access.check_route(caller, request.url.path, roles.groups(request.method, self.path)):
                raise Refused(refusal)
            bounded.state.caller = caller
            act_as(actor_of(bounded, caller, parts_of(bounded)))
            if self.body_field is not None:
                await bounded.load(_SECONDS)
            async with asyncio.timeout(_SECONDS):
                return await endpoint(bounded)

        return handle


#: The table decides; routers that still say which class of caller they are for mean the same route.
AnyKeyRoute = AdminRoute = GovernedRoute


async def _caller(request: Request) -> Key:
    caller: Key = request.state.caller
    return caller


Caller = Annotated[Key, Depends(_caller)]


async def sight_of(request: Request) -> Sight:
    """What the caller of this request sees."""
    caller, members = request.state.caller, parts_of(request).entities.members
    return roles.sight(caller, await members.of_users([caller.user_id]) if caller.user_id is not None else ())


#: Every endpoint that shows something of somebody shows what this lets it.
Seen = Annotated[Sight, Depends(sight_of)]
