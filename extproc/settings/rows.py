"""Rows of `model_list` that do not stand in the file: the same shape, the same checks, without a place to name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr, ValidationError

from extproc.encryption import Keyring
from extproc.errors import ConfigError, SecretUnavailable
from extproc.model import Deployment, SecretRef, StoredModel, Upstream
from extproc.policy import destinations
from extproc.providers import registry
from extproc.settings.deployments import Rows
from extproc.settings.document import Document
from extproc.settings.model import Settings
from extproc.settings.schema import Model, ModelInfo, Parameters, fields_of, plain

_FILE = "model"
_NOWHERE = f"{_FILE}:1:1: "
#: What may be no reference. A file of the gateway's own machine, or its secrets elsewhere, are none of a caller's
#: business; and where a model leads is shown to its callers, so no variable of the gateway's may hide in it.
_FOREIGN = ("file/", "vault/", "aws/")
_NO_REFERENCES = {"api_key": _FOREIGN, "api_base": (*_FOREIGN, "os.environ/"), "base_url": (*_FOREIGN, "os.environ/")}


def checked(
    model_name: object, parameters: dict[str, Any], info: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`litellm_params` and `model_info` as they may be kept: `litellm_params` with its known fields only, for any other
    may be a secret. Raises `ConfigError`."""
    known = {name: value for name, value in parameters.items() if name in fields_of(Parameters) and value is not None}
    for name, refused in _NO_REFERENCES.items():
        if str(known.get(name, "")).startswith(refused):
            what = "a file, or a secret of a manager" if name == "api_key" else "a secret: write the address itself"
            raise ConfigError(f"litellm_params.{name} cannot name {what}")
    row = _row(model_name, known, info)
    return plain(row.litellm_params.model_dump(exclude_unset=True)), plain({**_given(row.model_info)})


def deployment_of(model: StoredModel, settings: Settings) -> Deployment:
    """The deployment of a stored model, without the credential that is sealed. Raises `ConfigError`."""
    row = _row(model.model_name, model.parameters, model.info)
    try:
        found = Rows(Document(_FILE, None, {}, {}), Path("/")).deployment(row, ())
    except (ConfigError, SecretUnavailable) as error:
        raise ConfigError(str(error).removeprefix(_NOWHERE)) from None
    upstream = _configured(found, settings) or _stored(found.upstream, settings)
    if upstream.stored:
        _check_reference(found, settings)
    return msgspec.structs.replace(found, id=model.id, upstream=upstream)


def place(model_id: str) -> str:
    """What the envelope of a stored model's credential is bound to."""
    return f"models/{model_id}/credential"


def opened(model: StoredModel, settings: Settings, keyring: Callable[[], Keyring | None]) -> Deployment:
    """The deployment of a stored model with its credential. Raises `ConfigError`, and `SecretUnavailable` for a
    credential that cannot be opened."""
    deployment = deployment_of(model, settings)
    if model.credential is None:
        return deployment
    ring = keyring()
    if ring is None:
        raise SecretUnavailable(f"{place(model.id)} is encrypted, and no encryption_key is configured")
    secret = SecretStr(ring.open(model.credential, place(model.id)))
    return msgspec.structs.replace(deployment, credential=SecretRef("literal", "", secret))


def _configured(wanted: Deployment, settings: Settings) -> Upstream | None:
    """The upstream of the configuration that is the same place, whatever its name.

    None if no configured provider speaks there what this one speaks: Envoy has a route for each API of the configured.
    """
    for upstream in settings.upstreams:
        if msgspec.structs.replace(upstream, name=wanted.upstream.name) == wanted.upstream:
            speaking = {each.provider for each in settings.deployments if each.upstream == upstream}
            apis = registry.HOSTS[wanted.provider].apis
            return upstream if all(any(registry.speaks(each, api) for each in speaking) for api in apis) else None
    return None


def _stored(wanted: Upstream, settings: Settings) -> Upstream:
    """The upstream that Envoy has no cluster of its own for."""
    mistake = settings.stored_model_hosts.mistake(wanted)
    if mistake is not None:
        told = f"{wanted.scheme}://{destinations.authority(wanted)}"
        raise ConfigError(
            f"{told} {mistake}: add it to extproc_settings.stored_model_hosts in the configuration, and start again."
        )
    return msgspec.structs.replace(wanted, name=destinations.NAMES[wanted.scheme], stored=True)


def _check_reference(found: Deployment, settings: Settings) -> None:
    """Whoever makes models may not have the secrets of the gateway's environment sent to a host of their own."""
    own = found.api_base == registry.HOSTS[found.provider].api_base
    literal = found.credential is None or found.credential.scheme == "literal"
    if not (literal or own or settings.stored_model_hosts.trusts(found.upstream)):
        raise ConfigError(
            f"{found.credential} would be sent to {found.upstream.host}, which no configuration names: write the key "
            "itself, or add the host to extproc_settings.stored_model_hosts."
        )


def _row(model_name: object, parameters: dict[str, Any], info: dict[str, Any]) -> Model:
    try:
        return Model.model_validate({"model_name": model_name, "litellm_params": parameters, "model_info": info})
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False)
    told = ("{}: {}".format(".".join(map(str, mistake["loc"])), mistake["msg"]) for mistake in mistakes[:5])
    raise ConfigError("; ".join(told))


def _given(info: ModelInfo) -> dict[str, Any]:
    return info.model_dump(exclude_unset=True)
