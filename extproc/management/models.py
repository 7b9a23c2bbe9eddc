"""`/v1/models`: what the caller's key may call, in OpenAI's shape.

A wildcard of the configuration is shown only on request, for it is no name that a client can call; a name that the list
of the key or its team spells out, and that a wildcard serves, is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from extproc.management.authentication import AnyKeyRoute, Caller
from extproc.management.documentation import ERRORS
from extproc.management.errors import Refused, unknown_model
from extproc.management.parts import Parts
from extproc.model import Deployment, Key
from extproc.policy.access import allows_model
from extproc.policy.routing import Routes

router = APIRouter(route_class=AnyKeyRoute, tags=["models"], responses=ERRORS)

#: What LiteLLM tells for every model.
_CREATED = 1_677_610_602


class Model(BaseModel):
    """One model that the key may use."""

    id: str
    object: str = "model"
    created: int = _CREATED
    owned_by: str = "openai"
    mode: str | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None


class ModelList(BaseModel):
    """OpenAI's list."""

    data: list[Model]
    object: str = "list"


@router.get("/v1/models", response_model=ModelList, summary="Models that the key may use")
@router.get("/models", response_model=ModelList, include_in_schema=False)
async def list_models(parts: Parts, caller: Caller, return_wildcard_routes: Annotated[bool, Query()] = False) -> Any:
    """In the order of the configuration."""
    shown = _models(parts.serving, caller)
    return {"data": [model for model in shown if return_wildcard_routes or "*" not in model["id"]]}


@router.get("/v1/models/{model:path}", response_model=Model, summary="One model that the key may use")
@router.get("/models/{model:path}", response_model=Model, include_in_schema=False)
async def show_model(parts: Parts, caller: Caller, model: Annotated[str, Path(max_length=256)]) -> Any:
    """Also a model that only a wildcard serves."""
    route = Routes(parts.serving).choose(model, "") if allows_model(caller, model) else None
    if route is None:
        raise Refused(unknown_model(model))
    return _model(model, route.deployment)


def _models(deployments: tuple[Deployment, ...], key: Key) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for name, deployment in _names(deployments, key):
        if name not in seen and allows_model(key, name):
            seen.add(name)
            yield _model(name, deployment)


def _names(deployments: tuple[Deployment, ...], key: Key) -> Iterator[tuple[str, Deployment]]:
    for deployment in deployments:
        yield deployment.model_name, deployment
    routes = Routes(deployments)
    for name in (*key.models, *(key.team.models if key.team else ())):
        if "*" not in name and (route := routes.choose(name, "")):
            yield name, route.deployment


def _model(name: str, deployment: Deployment) -> dict[str, Any]:
    known = deployment.model_info
    return {
        "id": name,
        **{field: known[field] for field in ("max_input_tokens", "max_output_tokens") if _whole(known.get(field))},
        **({"mode": known["mode"]} if isinstance(known.get("mode"), str) else {}),
    }


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
