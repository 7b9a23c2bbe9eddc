"""`/extproc/authentication-failures`: who could not prove who they are. Ours; LiteLLM has no such route.

What this worker remembers, in memory only: nobody can fill the database with names of their choice.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from extproc.management.authentication import AdminRoute
from extproc.management.documentation import ERRORS
from extproc.management.moments import iso
from extproc.management.parts import Parts
from extproc.model import UnixMs
from extproc.policy.failures import Failed

administration = APIRouter(route_class=AdminRoute, tags=["health"], responses=ERRORS)


class Source(BaseModel):
    """An address, or an IPv6 network. `blocked_until` is there while its unknown keys are not looked up."""

    source: str
    failures: int
    first_at: str
    last_at: str
    blocked_until: str | None = None


class Prefix(BaseModel):
    """How an unknown key begins; `sk-...` stands for all that are too short to show a part of."""

    prefix: str
    failures: int
    first_at: str
    last_at: str


class AuthenticationFailures(BaseModel):
    """Those with the most failures first. There are no sources where clients' addresses are not kept."""

    sources: list[Source]
    prefixes: list[Prefix]


@administration.get("/extproc/authentication-failures", summary="Who could not prove who they are")
async def failures(parts: Parts, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> AuthenticationFailures:
    """Of this worker since it started: the sources and the beginnings of keys that failed last."""
    now, found = parts.now(), parts.failures
    sources = found.sources(limit) if parts.settings.log_requester_ip else []
    return AuthenticationFailures(
        sources=[_source(each, now) for each in sources],
        prefixes=[Prefix(prefix=each.name, failures=each.failures, **_since(each)) for each in found.prefixes(limit)],
    )


def _source(found: Failed, now: UnixMs) -> Source:
    blocked_until = iso(found.blocked_until) if now < found.blocked_until else None
    return Source(source=found.name, failures=found.failures, blocked_until=blocked_until, **_since(found))


def _since(found: Failed) -> dict[str, str]:
    return {"first_at": iso(found.first_at) or "", "last_at": iso(found.last_at) or ""}
