"""From a row of `model_list` to a `Deployment`: which provider, which host, whose credential, which price.

Everything that a row can get wrong is said here, with the place of the field at fault. The one thing that is not an
error is an `api_base` whose variable is not set: as with a key that is not set, the model cannot be used, the others
can, and the operator is told.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from decimal import Decimal
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

import msgspec

from extproc import secrets
from extproc.errors import ConfigError, SecretUnavailable
from extproc.model import Deployment, PriceOverride, SecretRef, Upstream
from extproc.providers import registry
from extproc.secrets import SecretResolver
from extproc.settings.document import Document, Place
from extproc.settings.schema import Model, plain

_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?"
)
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.]+")
#: Where LiteLLM's variable for a provider's key is not the provider's name and `_API_KEY`.
_VARIABLES = {
    "text-completion-openai": "OPENAI_API_KEY",
    "perplexity": "PERPLEXITYAI_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
}
#: A model or a provider's name that ends up in headers, logs and metrics.
MAX_NAME_LENGTH = 256


class Rows:
    """Reads the rows of one file. `folder` is where relative paths of secrets count from."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder
        self._resolver = SecretResolver()
        self._ids: dict[str, int] = {}
        self._upstreams: dict[str, Upstream] = {}
        #: Where each reference stood first.
        self.places: dict[str, str] = {}

    def deployment(self, row: Model, place: Place) -> Deployment:
        """The deployment of a row. Raises `ConfigError`, and `SecretUnavailable` for an `api_base` that is not set."""
        parameters, inside = row.litellm_params, (*place, "litellm_params")
        self._check_name(row.model_name, (*place, "model_name"))
        provider, provider_model = self._provider(row, inside)
        api_base = self._api_base(row, provider, inside)
        credential = self.secret(parameters.api_key, (*inside, "api_key")) or _usual_credential(row, provider)
        return Deployment(
            id=self._id(row, provider, provider_model, api_base, credential),
            model_name=row.model_name,
            provider=provider,
            provider_model=provider_model,
            upstream=self._upstreams[api_base],
            api_base=api_base,
            credential=credential,
            prices=_prices(row),
            model_info=plain(dict(row.model_info.model_extra or {})),
        )

    def secret(self, text: str | None, place: Place) -> SecretRef | None:
        """The reference that a field holds. Raises `ConfigError` for one that can never be resolved."""
        return None if text is None else self.required_secret(text, place)

    def required_secret(self, text: str, place: Place) -> SecretRef:
        """The same, of a field that is there."""
        reference = secrets.parse_reference(text, self._folder)
        if not secrets.is_supported(reference):
            self._refuse(place, f"{reference.scheme}/… is not supported yet: write os.environ/NAME or file/PATH")
        if reason := secrets.mistake(reference):
            self._refuse(place, f"{_named(place)} {reason}")
        if reference.scheme != "literal":
            self.places.setdefault(str(reference), self._document.at_value(place))
        return reference

    def _check_name(self, name: str, place: Place) -> None:
        if len(name) > MAX_NAME_LENGTH or not name.isprintable():
            self._refuse(place, f"a model name has at most {MAX_NAME_LENGTH} characters, all printable")
        if name.count("*") > 1:
            self._refuse(place, "a model name may hold one * only")

    def _provider(self, row: Model, place: Place) -> tuple[str, str]:
        """LiteLLM's rule: `custom_llm_provider` if given, else the prefix of `model`, else OpenAI's known names."""
        model, told = row.litellm_params.model, row.litellm_params.custom_llm_provider
        self._check_name(model, (*place, "model"))
        if told is not None and told not in registry.HOSTS:
            self._refuse((*place, "custom_llm_provider"), _unknown_provider(told))
        found = (told, model.removeprefix(f"{told}/")) if told else registry.provider_of(model)
        if found is None:
            prefix, slash, _ = model.partition("/")
            self._refuse((*place, "model"), _unknown_provider(prefix) if slash else _no_provider(model))
        if "*" in found[1] and "*" not in row.model_name:
            self._refuse((*place, "model"), "a * here needs one in model_name, whose match takes its place")
        return found

    def _api_base(self, row: Model, provider: str, place: Place) -> str:
        """The base URL, its upstream kept; one upstream for each distinct URL."""
        name = "base_url" if row.litellm_params.api_base is None and row.litellm_params.base_url else "api_base"
        configured: str | None = getattr(row.litellm_params, name)
        told = None if configured is None else self._text(configured, (*place, name))
        base = registry.api_base(provider, told)
        if base is None:
            self._refuse(place, f"the provider {provider} has no usual address: api_base is missing")
        if base not in self._upstreams:
            upstream = self._upstream(base, (*place, name))
            taken = {each.name for each in self._upstreams.values()}
            if upstream.name in taken:
                upstream = msgspec.structs.replace(upstream, name=f"{upstream.name}-{_digest(base)[:8]}")
            self._upstreams[base] = upstream
        return base

    def _text(self, text: str, place: Place) -> str:
        """A setting that is no secret but may be a reference."""
        reference = secrets.parse_reference(text, self._folder)
        if reference.scheme == "literal":
            return text.strip()
        self.secret(text, place)
        try:
            return self._resolver.resolve(reference).get_secret_value()
        except SecretUnavailable as error:
            raise SecretUnavailable(f"{self._document.at_value(place)}: {error}") from None

    def _upstream(self, base: str, place: Place) -> Upstream:
        """The host behind a base URL. What is no plain URL is refused without being quoted: it may hold a password."""
        url = self._split(base, place)
        host, port = (url.hostname or "").lower(), url.port or _PORTS[url.scheme]
        if not _is_host(host):
            self._refuse(place, f"{place[-1]} names no host")
        if not _BASE_PATH.fullmatch(url.path):
            self._refuse(place, f"{place[-1]} has a path that no provider has")
        usual = port == _PORTS[url.scheme]
        name = _NOT_IN_NAMES.sub("-", host if usual else f"{host}-{port}").strip("-")
        return Upstream(name, url.scheme, host, port, url.path)

    def _split(self, base: str, place: Place) -> SplitResult:
        try:
            url = urlsplit(base)
            _ = url.port
        except ValueError:
            self._refuse(place, f"{place[-1]} is no URL")
        if url.scheme not in _PORTS:
            self._refuse(place, f"{place[-1]} must begin with https:// or http://")
        if url.username is not None or url.password is not None:
            self._refuse(place, f"{place[-1]} must hold no user and no password")
        if url.query or url.fragment or url.port == 0:
            self._refuse(place, f"{place[-1]} must be a scheme, a host and a path, nothing else")
        return url

    def _id(self, row: Model, provider: str, model: str, api_base: str, credential: SecretRef | None) -> str:
        """LiteLLM's `model_id`: the operator's own, or a digest of everything but secrets. Unique."""
        own = row.model_info.id or _digest("\n".join((row.model_name, provider, model, api_base, str(credential))))
        self._ids[own] = self._ids.get(own, 0) + 1
        return own if self._ids[own] == 1 else f"{own}-{self._ids[own]}"

    def _refuse(self, place: Place, reason: str) -> NoReturn:
        raise ConfigError(f"{self._document.at_value(place)}: {reason}")


def _usual_credential(row: Model, provider: str) -> SecretRef | None:
    """LiteLLM's variable for a provider's key, for the provider's own host only: no other host is sent it unasked."""
    told = row.litellm_params.api_base or row.litellm_params.base_url
    base = registry.HOSTS[provider].api_base
    if told is not None or base is None or not base.startswith("https://"):
        return None
    return SecretRef("env", _VARIABLES.get(provider, f"{provider.upper()}_API_KEY"))


def _prices(row: Model) -> PriceOverride | None:
    """`litellm_params` before `model_info`, price by price; `None` where nothing is said."""
    told = {
        name: value
        for name in PriceOverride.__struct_fields__
        if (value := _first(getattr(row.litellm_params, name), getattr(row.model_info, name))) is not None
    }
    return PriceOverride(**told) if told else None


def _first(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one


def _named(place: Place) -> str:
    """The setting's own name; an entry of a list is called by the list's."""
    return str(place[-1] if isinstance(place[-1], str) else place[-2])


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(_HOST_NAME.fullmatch(host))
    return True


def _unknown_provider(name: str) -> str:
    return f"the provider {name!r} is not known; known are {', '.join(sorted(registry.HOSTS))}"


def _no_provider(model: str) -> str:
    return f"it is not known which provider serves {model!r}: write PROVIDER/MODEL, such as openai/{model}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
