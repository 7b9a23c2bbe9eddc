"""`/model/…`: models that are made at run time, and what is known of every model.

A stored model has the shape of a row of `model_list` and is checked as one. It is served by every worker within two
seconds, by the one that answers at once. Its provider's key is sealed before it is stored and never shown again; a
reference (`os.environ/NAME`) is kept as it is. Where it may lead is `extproc_settings.stored_model_hosts`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from extproc import secrets
from extproc.errors import AlreadyExists, ConfigError, SecretUnavailable
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Caller, sees_all
from extproc.management.changes import MAX_ATTACHED_BYTES
from extproc.management.documentation import ERRORS
from extproc.management.errors import Refused, bad_request, not_found
from extproc.management.fields import Id, Text
from extproc.management.moments import iso
from extproc.management.parts import ManagementParts, Parts
from extproc.model import Deployment, Key, StoredModel
from extproc.policy.access import allows_model
from extproc.policy.refusals import Refusal
from extproc.settings import rows
from extproc.settings.schema import Prices, fields_of, plain

administration = APIRouter(route_class=AdminRoute, tags=["models"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["models"], responses=ERRORS)

_NOT_STORED = Refusal(
    403, "auth_error", "Models are not stored: general_settings.store_model_in_db is false.", None, "not_stored"
)
_KEY = "api_key"
_WHERE = ("api_base", "base_url")


class NewModel(BaseModel):
    """`POST /model/new`: a row of `model_list`."""

    model_config = ConfigDict(
        extra="ignore",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {"model_name": "fast", "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "os.environ/KEY"}}
            ]
        },
    )

    model_name: Text
    litellm_params: dict[Text, Any]
    model_info: dict[Text, Any] | None = None


class ChangedModel(BaseModel):
    """`POST /model/update`: what is named changes. `null` takes a parameter away."""

    model_config = ConfigDict(
        extra="ignore",
        protected_namespaces=(),
        json_schema_extra={"examples": [{"model_info": {"id": "model-123"}, "litellm_params": {"rpm": 100}}]},
    )

    model_name: Id = None
    litellm_params: dict[Text, Any] | None = None
    model_info: dict[Text, Any] | None = None


class NamedModel(BaseModel):
    """`POST /model/delete`."""

    model_config = ConfigDict(protected_namespaces=(), json_schema_extra={"examples": [{"id": "model-123"}]})

    id: Annotated[Text, Field(validation_alias=AliasChoices("id", "model_id"))]


class ModelRow(BaseModel):
    """A stored model. `litellm_params` has no secret in it."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    model_name: str
    litellm_params: dict[str, Any]
    model_info: dict[str, Any]
    created_at: str
    created_by: str | None
    updated_at: str
    updated_by: str | None


class Message(BaseModel):
    """What was done."""

    message: str


class ShownModel(BaseModel):
    """A model that is served. `model_info.db_model` is whether it is a stored one."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    litellm_params: dict[str, Any]
    model_info: dict[str, Any]


class ShownModels(BaseModel):
    """`GET /model/info`."""

    data: list[ShownModel]


class ModelPage(ShownModels):
    """`GET /v2/model/info`."""

    total_count: int
    current_page: int
    total_pages: int
    size: int


@administration.post("/model/new", response_model=ModelRow, summary="Store a model")
async def new(parts: Parts, caller: Caller, wanted: NewModel) -> Any:
    """Served at once by this worker, and by every other within two seconds."""
    info = dict(wanted.model_info or {})
    model_id = _id(info.pop("id", None)) or parts.new_id()
    now = parts.now()
    model = StoredModel(
        id=model_id,
        model_name=wanted.model_name,
        created_at=now,
        created_by=caller.user_id,
        updated_at=now,
        updated_by=caller.user_id,
    )
    model = await _filled(parts, model, wanted.model_name, wanted.litellm_params, info)
    if any(deployment.id == model_id for deployment in parts.settings.deployments):
        raise AlreadyExists("model_id", model_id)
    await parts.entities.models.create(model)
    await parts.reload_models()
    return _row(model)


@administration.post("/model/update", response_model=ModelRow, summary="Change a stored model")
async def update(parts: Parts, caller: Caller, wanted: ChangedModel) -> Any:
    """Named by `model_info.id`. A configured model is changed in the configuration."""
    model_id = _id((wanted.model_info or {}).get("id"))
    if model_id is None:
        raise bad_request("model_info.id is missing: which model is to be changed?", "model_info.id")
    return await _change(parts, caller, model_id, wanted)


@administration.patch("/model/{model_id}/update", response_model=ModelRow, summary="Change this stored model")
async def patch(
    parts: Parts, caller: Caller, model_id: Annotated[str, Path(max_length=256)], wanted: ChangedModel
) -> Any:
    """As `/model/update`."""
    return await _change(parts, caller, model_id, wanted)


@administration.post("/model/delete", response_model=Message, summary="Delete a stored model")
async def delete(parts: Parts, caller: Caller, wanted: NamedModel) -> Any:
    """Exchanges in flight end; what they cost stays in the ledger."""
    _check_stored(parts)
    deleted = await parts.entities.models.delete([wanted.id], deleted_by=caller.user_id or caller.name, now=parts.now())
    if not deleted:
        raise not_found("model", wanted.id)
    await parts.reload_models()
    return {"message": f"Model: {wanted.id} deleted successfully"}


@reading.get("/v1/model/info", response_model=ShownModels, summary="What is known of the models that the key may use")
@reading.get("/model/info", response_model=ShownModels, include_in_schema=False)
async def info(parts: Parts, caller: Caller, litellm_model_id: Annotated[Id, Query()] = None) -> Any:
    """Where a model leads is shown to the administrator only."""
    shown = await _shown(parts, caller)
    chosen = [one for one in shown if litellm_model_id in {None, one["model_info"]["id"]}]
    if not chosen and litellm_model_id is not None:
        raise not_found("model", litellm_model_id)
    return {"data": chosen}


@reading.get("/v2/model/info", response_model=ModelPage, summary="The same, by pages")
async def info_page(
    parts: Parts,
    caller: Caller,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    size: Annotated[int, Query(ge=1, le=500)] = 50,
    search: Annotated[Id, Query(description="Matches inside the name, whatever the case.")] = None,
) -> Any:
    """In the order of the configuration, then as they were made."""
    sought = (search or "").casefold()
    shown = [one for one in await _shown(parts, caller) if sought in one["model_name"].casefold()]
    return {
        "data": shown[(page - 1) * size : page * size],
        "total_count": len(shown),
        "current_page": page,
        "total_pages": -(-len(shown) // size),
        "size": size,
    }


async def _change(parts: ManagementParts, caller: Key, model_id: str, wanted: ChangedModel) -> dict[str, Any]:
    before = await parts.entities.models.find(model_id)
    if before is None:
        raise not_found("model", model_id)
    parameters = {**before.parameters, **(wanted.litellm_params or {})}
    told = {name: value for name, value in (wanted.model_info or {}).items() if name != "id"}
    if _KEY in (wanted.litellm_params or {}):
        before = msgspec.structs.replace(before, credential=None)
    model = await _filled(parts, before, wanted.model_name or before.model_name, parameters, {**before.info, **told})
    _check_host_of_key(parts, before, model)
    names = ("model_name", "parameters", "credential", "info")
    changes = {name: getattr(model, name) for name in names}
    stamped = {**changes, "updated_at": parts.now(), "updated_by": caller.user_id}
    changed = await parts.entities.models.update(model_id, stamped)
    if changed is None:
        raise not_found("model", model_id)
    await parts.reload_models()
    return _row(changed)


def _check_host_of_key(parts: ManagementParts, before: StoredModel, after: StoredModel) -> None:
    """A key that nobody can read again must not be had by leading its model to a host of one's own."""
    if before.credential is not None and _host(parts, before) != _host(parts, after):
        raise bad_request(
            f"the provider's key was given for another host: give litellm_params.{_KEY} for the new one, too.",
            f"litellm_params.{_KEY}",
        )


def _host(parts: ManagementParts, model: StoredModel) -> tuple[str, str, int] | None:
    """`None` for a model that can lead nowhere any more."""
    try:
        upstream = rows.deployment_of(model, parts.settings).upstream
    except ConfigError:
        return None
    return upstream.scheme, upstream.host, upstream.port


async def _filled(
    parts: ManagementParts, model: StoredModel, name: str, parameters: Mapping[str, Any], info: dict[str, Any]
) -> StoredModel:
    """The model with these parameters, checked as a row of the configuration; its credential sealed."""
    _check_stored(parts)
    told = dict(parameters)
    literal = _literal(told)
    try:
        kept, free = rows.checked(name, told, info)
        model = msgspec.structs.replace(model, model_name=name, parameters=kept, info=free)
        await parts.check_host(rows.deployment_of(model, parts.settings).upstream)
    except ConfigError as error:
        raise bad_request(f"{error}", "litellm_params") from None
    if len(msgspec.json.encode((kept, free))) > MAX_ATTACHED_BYTES:
        raise bad_request(f"the model is larger than {MAX_ATTACHED_BYTES} bytes.", "model_info")
    return msgspec.structs.replace(model, credential=_sealed(parts, model, literal)) if literal else model


def _literal(parameters: dict[str, Any]) -> str | None:
    """A key that is no reference, taken out of the parameters."""
    told = parameters.get(_KEY)
    if not isinstance(told, str):
        return None
    reference = secrets.parse_reference(told)
    if reference.scheme != "literal":
        return None
    if reason := secrets.mistake(reference):
        raise bad_request(f"litellm_params.{_KEY} {reason}", f"litellm_params.{_KEY}")
    return str(parameters.pop(_KEY)).strip()


def _sealed(parts: ManagementParts, model: StoredModel, value: str) -> str:
    try:
        ring = parts.keyring()
    except SecretUnavailable as error:
        raise bad_request(f"the provider's key cannot be encrypted: {error}", f"litellm_params.{_KEY}") from None
    if ring is None:
        raise bad_request(
            "the provider's key cannot be stored without general_settings.encryption_key (or LITELLM_SALT_KEY): "
            "configure one, or write the key as os.environ/NAME.",
            f"litellm_params.{_KEY}",
        )
    return ring.seal(value, rows.place(model.id))


def _check_stored(parts: ManagementParts) -> None:
    if not parts.settings.store_model_in_db:
        raise Refused(_NOT_STORED)


def _id(told: object) -> str | None:
    if told is None or told == "":
        return None
    if not isinstance(told, str) or len(told) > 256 or not told.isprintable():
        raise bad_request("model_info.id is a text of at most 256 printable characters.", "model_info.id")
    return told


def _row(model: StoredModel) -> dict[str, Any]:
    return {
        "model_id": model.id,
        "model_name": model.model_name,
        "litellm_params": _without_key(model.parameters),
        "model_info": {"id": model.id, "db_model": True, **model.info},
        "created_at": iso(model.created_at),
        "created_by": model.created_by,
        "updated_at": iso(model.updated_at),
        "updated_by": model.updated_by,
    }


async def _shown(parts: ManagementParts, caller: Key) -> list[dict[str, Any]]:
    configured = {deployment.id for deployment in parts.settings.deployments}
    return [
        _model(deployment, caller, stored=deployment.id not in configured)
        for deployment in parts.serving
        if allows_model(caller, deployment.model_name)
    ]


def _model(deployment: Deployment, caller: Key, *, stored: bool) -> dict[str, Any]:
    told = msgspec.structs.asdict(deployment.prices) if deployment.prices else {}
    prices = {name: plain(value) for name, value in told.items() if name in fields_of(Prices) and value is not None}
    parameters = {"model": f"{deployment.provider}/{deployment.provider_model}", **prices}
    if sees_all(caller):
        parameters["api_base"] = deployment.api_base
    return {
        "model_name": deployment.model_name,
        "litellm_params": parameters,
        "model_info": {"id": deployment.id, "db_model": stored, **prices, **deployment.model_info},
    }


def _without_key(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != _KEY}
