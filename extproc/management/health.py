"""`/health…` and `/metrics`: whether the process lives, whether it is ready, what it counts.

`/health` calls no provider: asking is free, and anyone with a key could otherwise spend the operator's money. Requests
for readiness share one question to the stores, so that a crowd of anonymous ones cannot occupy the database.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from extproc.errors import StoreUnavailable
from extproc.management.authentication import AnyKeyRoute, Caller, authenticate, sees_all
from extproc.management.documentation import ERRORS, ErrorEnvelope
from extproc.management.parts import ManagementParts, Parts
from extproc.model import Deployment, Key
from extproc.policy.access import allows_model
from extproc.stores.contract import Health
from extproc.stores.deadline import within

public = APIRouter(tags=["health"])
reading = APIRouter(route_class=AnyKeyRoute, tags=["health"], responses=ERRORS)


class Endpoints(BaseModel):
    """The configured deployments. They are listed, not probed; LiteLLM's names are kept for its clients."""

    healthy_endpoints: list[dict[str, Any]]
    unhealthy_endpoints: list[dict[str, Any]] = []
    healthy_count: int
    unhealthy_count: int = 0
    probed: bool = False


class Readiness(BaseModel):
    """`db` is `connected` or `disconnected`; further stores stand beside it by name."""

    status: str
    db: str


@public.get("/health/liveliness", summary="Whether the process lives")
@public.get("/health/liveness", include_in_schema=False)
async def liveliness() -> str:
    """Always the same, and nothing is asked."""
    return "I'm alive!"


@public.get(
    "/health/readiness",
    summary="Whether the stores answer",
    response_model=None,
    responses={200: {"model": Readiness}, 503: {"model": Readiness, "description": "A store does not answer"}},
)
async def readiness(request: Request, parts: Parts) -> Response:
    """503 as soon as one store does not answer in time."""
    asking: asyncio.Task[dict[str, bool]] | None = getattr(request.app.state, "asking", None)
    if asking is None or asking.done():
        asking = request.app.state.asking = asyncio.create_task(_answers(parts))
    answers = await asyncio.shield(asking)
    states = {_shown(name): "connected" if up else "disconnected" for name, up in answers.items()}
    return JSONResponse({"status": "healthy", **states}, 200 if all(answers.values()) else 503)


@reading.get("/health", response_model=Endpoints, summary="The deployments that the key may use")
async def deployments(parts: Parts, caller: Caller) -> Any:
    """Where a deployment leads is shown to the administrator only."""
    shown = [
        _endpoint(deployment, caller) for deployment in parts.serving if allows_model(caller, deployment.model_name)
    ]
    return {"healthy_endpoints": shown, "healthy_count": len(shown)}


@public.get(
    "/metrics",
    summary="Prometheus metrics",
    response_model=None,
    responses={
        200: {"content": {"text/plain": {}}, "description": "The text exposition format"},
        401: {"model": ErrorEnvelope, "description": "No valid key"},
    },
)
async def metrics(request: Request, parts: Parts) -> Response:
    """Of all workers. Any valid key, unless `require_auth_for_metrics_endpoint` is false."""
    if parts.settings.require_auth_for_metrics_endpoint:
        await authenticate(request)
    text = parts.metrics() if parts.all_metrics is None else await parts.all_metrics()
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


@public.get("/metrics/worker", include_in_schema=False)
async def metrics_of_this_worker(parts: Parts) -> Response:
    """For the other workers, which share the socket's owner; Envoy has no route to it (`telemetry.workers`)."""
    return Response(parts.metrics(), headers={"content-type": CONTENT_TYPE_LATEST})


async def _answers(parts: ManagementParts) -> dict[str, bool]:
    seconds = parts.settings.store_deadline_ms / 1_000
    answers = await asyncio.gather(*(_answers_in_time(store, seconds) for store in parts.health.values()))
    return dict(zip(parts.health, answers, strict=True))


async def _answers_in_time(store: Health, seconds: float) -> bool:
    try:
        await within(seconds, store.ping())
    except (StoreUnavailable, TimeoutError):
        return False
    return True


def _shown(name: str) -> str:
    """LiteLLM's clients know the database as `db`."""
    return "db" if name == "database" else name


def _endpoint(deployment: Deployment, caller: Key) -> dict[str, Any]:
    shown = {"model_name": deployment.model_name, "model_id": deployment.id}
    if not sees_all(caller):
        return shown
    return {**shown, "model": f"{deployment.provider}/{deployment.provider_model}", "api_base": deployment.api_base}
