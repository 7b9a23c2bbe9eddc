"""The file, its shape, its rows: joined into one frozen `Settings`, or told apart into one line per mistake.

Everything wrong is told at once, in the order in which it stands in the file. Secrets stay references. What is not
supported is listed, each with its place and, where a name looks like a slip of the pen, the name that was meant.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from extproc.errors import ConfigError, SecretUnavailable
from extproc.guardrails import Selectors
from extproc.model import Deployment
from extproc.payload_keys import PayloadKey
from extproc.secret_managers.keeping import KeptSecrets
from extproc.secrets import SecretResolver
from extproc.settings import (
    callbacks,
    destinations,
    document,
    guardrails,
    key_bounds,
    limits,
    managers,
    privacy,
    retention,
    sso,
    user_headers,
)
from extproc.settings.checked import MANY, ONE
from extproc.settings.deployments import Rows
from extproc.settings.document import Document, Place
from extproc.settings.model import MEBIBYTE, Settings
from extproc.settings.schema import Configuration, every_field, fields_of, undeclared

#: Pydantic's words for what people get wrong, in ours.
_SENTENCES = {
    "missing": "{name} is missing",
    "string_type": "{name} must be a text",
    "string_too_short": "{name} must not be empty",
    "bool_type": "{name} must be true or false",
    "int_type": "{name} must be a whole number",
    "int_from_float": "{name} must be a whole number",
    "list_type": "{name} must be a list",
    "model_type": "{name} must be a mapping of names to values",
    "greater_than_equal": "{name} must be at least {ge}",
    "greater_than": "{name} must be more than {gt}",
    "less_than_equal": "{name} must be at most {le}",
    "finite_number": "{name} must be a finite number",
    "decimal_type": "{name} must be a number",
    "decimal_parsing": "{name} must be a number",
    "value_error": "{name} must be a number",
    "string_pattern_mismatch": "{name} may have letters, digits and _ . - only",
    "network": "{name} must be an address, or a network such as 10.0.0.0/8",
}
_CLOSE = 0.8
#: Settings that are secrets, or references to what may not stand in a file; resolved late.
_SECRETS = (
    ("general_settings", "master_key"),
    ("general_settings", "encryption_key"),
    ("general_settings", "database_url"),
    ("router_settings", "redis_url"),
    ("router_settings", "redis_host"),
    ("router_settings", "redis_port"),
    ("router_settings", "redis_password"),
    ("extproc_settings", "database_listen_url"),
    ("extproc_settings", "audit_key"),
)

_SECRET_LISTS = (
    ("general_settings", "previous_master_keys"),
    ("general_settings", "previous_encryption_keys"),
)


def load(path: Path | None, *, strict: bool = False) -> Settings:
    """The settings of a file, or the defaults where there is none.

    Raises `ConfigError` with one line for each mistake, `FILE:LINE:COLUMN: …`; with `strict`, for each unsupported
    setting too. From now on every resolver of this process asks the file's managers of secrets.
    """
    if path is None:
        return Settings()
    SecretResolver.managed = None
    found = document.read(path)
    settings = _settings(found, _validated(found), path.absolute().parent)
    if strict and settings.unsupported:
        raise ConfigError("\n".join(settings.unsupported))
    SecretResolver.managed = KeptSecrets(settings.managers)
    return settings


def _validated(found: Document) -> Configuration:
    if not isinstance(found.root, dict):
        raise ConfigError(f"{found.at_value(())}: a configuration is a mapping of names to values")
    try:
        return Configuration.model_validate(found.root)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False)
    raise ConfigError("\n".join(dict.fromkeys(_told(found, mistake) for mistake in mistakes)))


def _told(found: Document, mistake: ErrorDetails) -> str:
    place: Place = tuple(step for step in mistake["loc"] if step not in {ONE, MANY})
    sentence = _SENTENCES.get(mistake["type"], "{name}: " + mistake["msg"].replace("{", "{{").replace("}", "}}"))
    told = sentence.format(name=_dotted(place), **mistake.get("ctx", {}))
    if mistake["type"] == "missing":
        around = _at(found.root, place[:-1])
        meant = _meant(str(place[-1]), {*around} - every_field() if isinstance(around, dict) else ())
        return f"{found.at_value(place[:-1])}: {told}{f'; {meant!r} may be meant to be it' if meant else ''}"
    return f"{found.at_value(place)}: {told}"


def _settings(found: Document, file: Configuration, folder: Path) -> Settings:
    rows, mistakes = Rows(found, folder), _Mistakes()
    listed = sorted(undeclared(file), key=lambda entry: found.keys[entry[0]])
    unsupported = [_not_supported(found, place, kind) for place, kind in listed]
    deployments = tuple(_deployments(rows, file, mistakes, unsupported))
    told: dict[str, Any] = {**_switches(file), **_sizes(file), **limits.of(file), **user_headers.of(file)}
    told |= retention.of(file) | privacy.of(file) | key_bounds.of(file) | destinations.of(file)
    unsupported += user_headers.unsupported(file, found)
    unsupported += callbacks.unsupported(file, found)
    unsupported += privacy.unsupported(file, found)
    unsupported += guardrails.unsupported(file.guardrails, found)
    for section, name in _SECRET_LISTS:
        with mistakes:
            texts = getattr(getattr(file, section), name) or ()
            places = ((section, name, index) for index in range(len(texts)))
            told[name] = tuple(map(rows.required_secret, texts, places))
    for section, name in _SECRETS:
        with mistakes:
            text = getattr(getattr(file, section), name)
            told[name] = rows.secret(None if text is None else str(text), (section, name))
    with mistakes:
        told["payload_encryption"] = tuple(_payload_keys(rows, file))
    with mistakes:
        told["managers"] = managers.of(file, rows)
    with mistakes:
        told["sso"] = sso.of(file, rows)
    told["secret_places"] = rows.places
    for said in (limits, key_bounds, user_headers, retention, privacy, destinations, sso):
        for line in said.mistakes(file, found):
            with mistakes:
                raise ConfigError(line)
    for line in guardrails.mistakes(file.guardrails, found):
        with mistakes:
            raise ConfigError(line)
    mistakes.tell()
    told["guardrails"] = guardrails.of(file.guardrails)
    return Settings(deployments=deployments, unsupported=tuple(unsupported), **told)


def _switches(file: Configuration) -> dict[str, Any]:
    general, litellm = file.general_settings, file.litellm_settings
    return {
        "block_unpriced_models": general.block_unpriced_models or litellm.block_requests_for_models_without_pricing,
        "require_auth_for_metrics_endpoint": litellm.require_auth_for_metrics_endpoint,
        "store_audit_logs": False not in {general.store_audit_logs, litellm.store_audit_logs},
        "store_model_in_db": general.store_model_in_db,
        "redact_user_api_key_info": general.redact_user_api_key_info or litellm.redact_user_api_key_info,
        "allowed_ips": tuple(general.allowed_ips or ()),
        "trusted_proxy_ranges": tuple(general.trusted_proxy_ranges or ()) if general.use_x_forwarded_for else (),
    }


def _sizes(file: Configuration) -> dict[str, Any]:
    """Sizes and times in the program's units; what is not told keeps its default."""
    general, own = file.general_settings, file.extproc_settings
    told = {
        "key_cache_ttl_ms": _scaled(general.user_api_key_cache_ttl, 1000),
        "failed_login_attempts": general.max_failed_login_attempts_per_source,
        "failed_login_window_ms": _scaled(general.failed_login_window_seconds, 1000),
        "failed_login_block_ms": _scaled(general.failed_login_block_seconds, 1000),
        "database_pool_size": general.database_connection_pool_limit,
        "key_cache_size": general.user_api_key_cache_max_size,
        "max_request_bytes": _scaled(general.max_request_size_mb, MEBIBYTE),
        "max_response_bytes": _scaled(general.max_response_size_mb, MEBIBYTE),
        **{name: getattr(own, name) for name in fields_of(type(own)) if name.endswith("_ms")},
    }
    return {name: value for name, value in told.items() if value is not None}


def _payload_keys(rows: Rows, file: Configuration) -> Iterator[PayloadKey]:
    for index, row in enumerate(file.extproc_settings.payload_encryption or ()):
        key = rows.required_secret(row.key, ("extproc_settings", "payload_encryption", index, "key"))
        yield PayloadKey(key, Selectors(*map(tuple, (row.models, row.teams, row.keys, row.paths))))


def _deployments(rows: Rows, file: Configuration, mistakes: _Mistakes, unsupported: list[str]) -> Iterator[Deployment]:
    for index, row in enumerate(file.model_list):
        with mistakes:
            try:
                yield rows.deployment(row, ("model_list", index))
            except SecretUnavailable as error:
                unsupported.append(f"{error}; the model {row.model_name} is left out")


class _Mistakes(contextlib.AbstractContextManager[None]):
    """Collects the `ConfigError`s of its blocks, to tell them together."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if isinstance(error, ConfigError):
            self._lines.append(str(error))
        return isinstance(error, ConfigError)

    def tell(self) -> None:
        if self._lines:
            raise ConfigError("\n".join(self._lines))


def _not_supported(found: Document, place: Place, kind: type[BaseModel]) -> str:
    """One line about a setting that has no effect."""
    meant = _meant(str(place[-1]), fields_of(kind))
    return f"{found.at_key(place)}: {_dotted(place)} is not supported{f'; is {meant!r} meant?' if meant else ''}"


def _meant(name: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, known, 1, _CLOSE)), "")


def _dotted(place: Place) -> str:
    """`model_list[0].litellm_params.model`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".") or "the configuration"


def _at(root: Any, place: Place) -> Any:
    for step in place:
        root = root[step]
    return root


def _scaled(amount: Decimal | None, unit: int) -> int | None:
    return None if amount is None else int(amount * unit)
