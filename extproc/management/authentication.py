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
from extproc.policy.refusals import Refusal

#: For a client to send its body, and then for the endpoint to answer.
_SECONDS = 30.0


async def authenticate(request: Request) -> Key:
    """The caller's key, `MASTER_KEY` for the administrator. Raises `Refused`."""
    parts = parts_of(request)
    credential = credentials.read(request.headers.raw)
    if isinstance(credential, Refusal):
        raise Refused(credential)
    if credentials.is_master(credential, parts.master_digest):
        return credentials.MASTER_KEY
    key = await parts.keys.find(credential.digest)
    refusal = access.check_key(key, parts.now()) if key else refusals.UNKNOWN_KEY
    if key is None or refusal is not None:
        raise Refused(refusal or refusals.UNKNOWN_KEY)
    return key


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
