"""What the requests of OpenAI's three APIs have in common: the facts that decide, and the edits before forwarding.

A request is read field by field from its top level, each by a decoder for exactly the type it may have, so that nothing
which decides is ever coerced or guessed; large values (messages, prompts) stay raw. What a gateway must not let a
client decide, where the request goes and whose credential pays for it, is refused by name as LiteLLM does. What only
the gateway understands is taken out, since providers refuse fields they do not know.

`metadata` belongs to both: LiteLLM's clients send tags and user ids in it, OpenAI stores it with a completion. It is
forwarded only as OpenAI defines it, a map of strings, and only with `store: true`, without which OpenAI refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from extproc.errors import MalformedBody
from extproc.providers.api import Document, RequestFacts

#: More tokens than this were never meant.
MAX_TOKENS = 2**31 - 1
#: Of any field that is decoded, as JSON.
MAX_FIELD_BYTES = 64 * 1024
MAX_TAGS = 64
MAX_TAG_LENGTH = 256

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Count = Annotated[int, Meta(ge=0, le=MAX_TOKENS)] | None
_Choices = Annotated[int, Meta(ge=1, le=128)] | None
_EndUser = Annotated[str, Meta(max_length=1024)] | None


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


#: Every field that decides something, and the only type it may have. `null` is the same as absent, except for `model`.
_FIELDS: dict[str, msgspec.json.Decoder[Any]] = {
    "model": _decoder(_Name),
    "stream": _decoder(bool | None),
    "stream_options": _decoder(dict[str, Any] | None),
    "max_tokens": _decoder(_Count),
    "max_completion_tokens": _decoder(_Count),
    "n": _decoder(_Choices),
    "best_of": _decoder(_Choices),
    "user": _decoder(_EndUser),
    "safety_identifier": _decoder(_EndUser),
    "store": _decoder(bool | None),
    "metadata": _decoder(dict[str, Any] | None),
    "litellm_metadata": _decoder(dict[str, Any] | None),
    "tags": _decoder(Any),
}

#: Fields that would decide where a request goes, or on whose account (LiteLLM: "body safety").
REFUSED = frozenset(
    {
        "api_base", "api_key", "api_version", "azure_ad_token", "base_url", "client", "custom_llm_provider",
        "extra_body", "extra_headers", "extra_query", "headers", "litellm_credential_name", "litellm_params",
        "model_list", "organization", "project", "proxy_server_request", "region_name", "secret_fields", "ssl_verify",
        "user_config",
    }
)  # fmt: skip
REFUSED_PREFIXES = ("aws_", "azure_", "vertex_")

#: Fields that mean something to LiteLLM and nothing to a provider.
REMOVED = frozenset(
    {
        "allowed_openai_params", "cache", "context_window_fallbacks", "content_policy_fallbacks", "drop_params",
        "fallbacks", "guardrails", "mock_response", "no-log", "num_retries", "policies", "request_timeout",
        "tags", "timeout",
    }
)  # fmt: skip
REMOVED_PREFIX = "litellm_"

_FILLED_LIST = re.compile(rb"\[\s*+[^\]\s]")
_ABSENT = Raw(b"null")


def read_facts(document: Document, path: str, texts: tuple[str, ...]) -> RequestFacts:
    """The facts of a request. `path` names the API in messages, `texts` the fields that hold the prompt.

    Raises `MalformedBody` naming the first field at fault.
    """
    refuse_unsafe(document)
    if "model" not in document:
        raise MalformedBody(
            f"{path}: Invalid model name passed in model=None. "
            "Call `/v1/models` to view available models for your key.",
            param="model",
        )
    fields = {name: _field(name, raw) for name, raw in document.items() if name in _FIELDS}
    metadata = (fields.get("metadata") or {}) | (fields.get("litellm_metadata") or {})
    return RequestFacts(
        model=_printable(fields["model"]),
        stream=bool(fields.get("stream")),
        max_output_tokens=_max_output_tokens(fields),
        choices=fields.get("n") or 1,
        wants_usage=_wants_usage(fields.get("stream_options")),
        end_user=_end_user(fields, metadata),
        tags=_tags(fields.get("tags")) or _tags(metadata.get("tags")),
        metadata=metadata,
        texts=tuple(document[name] for name in texts if name in document),
    )


def refuse_unsafe(document: Document) -> None:
    """Raise `MalformedBody` for a field that would choose the upstream or its credential."""
    for name in document:
        if name in REFUSED or name.startswith(REFUSED_PREFIXES):
            raise MalformedBody(f"Rejected Request: {name} is not allowed in request body.", param=name)


def require(document: Document, path: str, name: str) -> None:
    """Raise `MalformedBody` in LiteLLM's words where a field is absent or null."""
    if bytes(document.get(name, _ABSENT)) == b"null":
        raise MalformedBody(f"{path}: Missing required parameter: '{name}'.", param=name)


def require_list(document: Document, path: str, name: str) -> None:
    """Raise `MalformedBody` where a field is absent, or no list, or an empty one. Looks at its first bytes only."""
    if name not in document:
        raise MalformedBody(f"{path}: Missing required parameter: '{name}'.", param=name)
    if not _FILLED_LIST.match(memoryview(document[name])):
        raise MalformedBody(f"{path}: Invalid '{name}': expected a list with at least one item.", param=name)


def write_common(document: Document, facts: RequestFacts, provider_model: str, *, ask_usage: bool) -> None:
    """Edit the document in place: the provider's model name, no field of the gateway's, usage asked for in streams.

    `stream_options` is written from what was decoded, so that the provider reads what was read here.
    """
    for name in [name for name in document if name in REMOVED or name.startswith(REMOVED_PREFIX)]:
        del document[name]
    _write_metadata(document)
    document["model"] = Raw(msgspec.json.encode(provider_model))
    if facts.stream and ask_usage:
        options = _field("stream_options", document.get("stream_options", _ABSENT)) or {}
        document["stream_options"] = Raw(msgspec.json.encode(options | {"include_usage": True}))
    elif not ask_usage:
        document.pop("stream_options", None)


def error_body(message: str, kind: str, param: str | None, status: int) -> bytes:
    """OpenAI's error envelope as LiteLLM sends it: `code` is the status as a string."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": str(status)}})


def error_event(message: str, kind: str, param: str | None, status: int) -> bytes:
    """A chunk with `error`, which OpenAI's SDKs raise as an `APIError`."""
    return b"data: " + error_body(message, kind, param, status) + b"\n\n"


def _field(name: str, raw: Raw) -> Any:
    if memoryview(raw).nbytes > MAX_FIELD_BYTES:
        raise MalformedBody(f"Invalid '{name}': longer than {MAX_FIELD_BYTES} bytes", param=name)
    try:
        return _FIELDS[name].decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedBody(f"Invalid '{name}': {error}", param=name) from None


def _printable(model: str) -> str:
    """Model names end up in headers and logs."""
    if not model.isprintable():
        raise MalformedBody("Invalid 'model': only printable characters are allowed", param="model")
    return model


def _max_output_tokens(fields: Mapping[str, Any]) -> int | None:
    """The bound on the whole answer: the larger of the two spellings, as often as the provider generates one."""
    told = (fields.get("max_tokens"), fields.get("max_completion_tokens"))
    bounds: list[int] = [bound for bound in told if bound is not None]
    if not bounds:
        return None
    generated: int = max(fields.get("n") or 1, fields.get("best_of") or 1)
    return max(bounds) * generated


def _wants_usage(options: dict[str, Any] | None) -> bool:
    wanted = (options or {}).get("include_usage")
    if not isinstance(wanted, bool | None):
        raise MalformedBody("Invalid 'stream_options.include_usage': expected a boolean", param="stream_options")
    return bool(wanted)


def _end_user(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    """Who the client's own user is: `user`, else `metadata.user_id` as in LiteLLM, else OpenAI's newer field."""
    if user := fields.get("user"):
        return str(user)
    named = metadata.get("user_id")
    if isinstance(named, str | int) and not isinstance(named, bool) and named != "":
        return str(named)[:1024]
    return fields.get("safety_identifier") or None


def _tags(value: object) -> tuple[str, ...]:
    """Tags are taken from a list of short strings; anything else is no tag."""
    if not isinstance(value, list):
        return ()
    tags = (tag for tag in value if isinstance(tag, str) and 0 < len(tag) <= MAX_TAG_LENGTH)
    return tuple(dict.fromkeys(tags))[:MAX_TAGS]


def _write_metadata(document: Document) -> None:
    if "metadata" not in document:
        return
    metadata = _field("metadata", document.pop("metadata"))
    stored = _field("store", document.get("store", _ABSENT))
    if stored and metadata and all(isinstance(value, str) for value in metadata.values()):
        document["metadata"] = Raw(msgspec.json.encode(metadata))
