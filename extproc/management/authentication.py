"""Who is asking, and may they: decided from the headers alone, before a body is read.

Each route belongs to one of three classes: open to anyone (plain FastAPI routes: health and documentation), to any
valid key (`AnyKeyRoute`), or to the administrator (`AdminRoute`). A virtual key here may look at itself and change
nothing. Keys are looked up in the store, never in a cache: what was revoked is refused at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from extproc.management.bodies import BoundedRequest
from extproc.management.errors import Refused, admin_only
from extproc.management.parts import parts_of
from extproc.model import Key, Role
from extproc.policy import access, credentials, refusals
from extproc.policy.failures import TOO_MANY, UNKNOWN
from extproc.policy.refusals import Refusal

#: For a client to send its body, and then for the endpoint to answer.
_SECONDS = 30.0


async def authenticate(request: Request) -> Key:
    """The caller's key, `MASTER_KEY` for the administrator. Raises `Refused`."""
    parts, now = parts_of(request), parts_of(request).now()
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


def is_admin(caller: Key) -> bool:
    """Whether the caller may do everything."""
    return caller.role is Role.PROXY_ADMIN


class AnyKeyRoute(APIRoute):
    """A route for every valid key. The endpoint finds the caller in its `Caller` argument."""

    admin: ClassVar[bool] = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = super().get_route_handler()

        async def handle(request: Request) -> Response:
            bounded = BoundedRequest(request.scope, request.receive)
            async with asyncio.timeout(_SECONDS):
                caller = await authenticate(bounded)
            if self.admin and not is_admin(caller):
                raise Refused(admin_only(self.path))
            bounded.state.caller = caller
            if self.body_field is not None:
                await bounded.load(_SECONDS)
            async with asyncio.timeout(_SECONDS):
                return await endpoint(bounded)

        return handle


class AdminRoute(AnyKeyRoute):
    """A route for the master key."""

    admin = True


async def _caller(request: Request) -> Key:
    caller: Key = request.state.caller
    return caller


Caller = Annotated[Key, Depends(_caller)]
