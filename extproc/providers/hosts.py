"""The providers: where they are, and how they want their credential. A provider that speaks a known API is one row.

Names are LiteLLM's provider prefixes, so that its `model:` strings keep their meaning. A row says which APIs its host
speaks; nothing is translated. A name that is not here is refused when the settings are read, never guessed.

The subtle thing is Azure: its classic paths hold the deployment and an `api-version`. Its v1 surface takes the
deployment as `model` on OpenAI's own paths below `/openai/v1`, and that surface is the one supported here.
"""

from __future__ import annotations

import re

import msgspec

from extproc.events import Header

OPENAI_APIS = frozenset({"openai_chat", "openai_completions", "openai_embeddings"})
ANTHROPIC_APIS = frozenset({"anthropic_messages"})


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """One provider.

    `api_base` is `None` where the operator must name one. `base_path` is what an operator's `api_base` leaves out, as
    LiteLLM's users write it. `credential` is the header that carries the provider's key and `scheme` what precedes it.
    `stream_options` says whether the provider knows that field; one that does not sends usage in streams unasked.
    `apis` are the names of the APIs it speaks. `headers` are what it must be told where the client does not say it.
    """

    api_base: str | None = None
    base_path: str = ""
    credential: bytes = b"authorization"
    scheme: bytes = b"Bearer "
    stream_options: bool = True
    apis: frozenset[str] = OPENAI_APIS
    headers: tuple[Header, ...] = ()


HOSTS: dict[str, Host] = {
    "openai": Host(api_base="https://api.openai.com/v1"),
    "text-completion-openai": Host(api_base="https://api.openai.com/v1"),
    "anthropic": Host(
        api_base="https://api.anthropic.com/v1",
        base_path="/v1",
        credential=b"x-api-key",
        scheme=b"",
        apis=ANTHROPIC_APIS,
        headers=((b"anthropic-version", b"2023-06-01"),),
    ),
    "azure": Host(base_path="/openai/v1", credential=b"api-key", scheme=b""),
    "cerebras": Host(api_base="https://api.cerebras.ai/v1"),
    "deepinfra": Host(api_base="https://api.deepinfra.com/v1/openai"),
    "deepseek": Host(api_base="https://api.deepseek.com/v1"),
    "fireworks_ai": Host(api_base="https://api.fireworks.ai/inference/v1"),
    "groq": Host(api_base="https://api.groq.com/openai/v1"),
    # Both send usage with the last chunk of every stream; Mistral refuses fields that it does not know.
    "mistral": Host(api_base="https://api.mistral.ai/v1", stream_options=False),
    "perplexity": Host(api_base="https://api.perplexity.ai", stream_options=False),
    "nvidia_nim": Host(api_base="https://integrate.api.nvidia.com/v1"),
    "openrouter": Host(api_base="https://openrouter.ai/api/v1"),
    "sambanova": Host(api_base="https://api.sambanova.ai/v1"),
    "together_ai": Host(api_base="https://api.together.xyz/v1"),
    "xai": Host(api_base="https://api.x.ai/v1"),
    "ollama": Host(api_base="http://127.0.0.1:11434/v1", base_path="/v1"),
    "ollama_chat": Host(api_base="http://127.0.0.1:11434/v1", base_path="/v1"),
    "llamafile": Host(api_base="http://127.0.0.1:8080/v1"),
    "lm_studio": Host(),
    "hosted_vllm": Host(),
    "openai_like": Host(),
    "custom_openai": Host(),
}

#: Names that LiteLLM takes for OpenAI's without a prefix.
_OPENAI_NAMES = re.compile(
    r"(?:ft:)?(?:gpt-|chatgpt-|o[1-9](?:-|\Z)|codex-|text-embedding-|davinci-|babbage-|text-moderation-|omni-moderation-)"
)
_ANTHROPIC_NAMES = re.compile(r"claude-")


def provider_of(model: str) -> tuple[str, str] | None:
    """LiteLLM's `provider/model` taken apart: `groq/llama-3` is `("groq", "llama-3")`, `gpt-4o` is OpenAI's,
    `claude-opus-4-1` Anthropic's.

    `None` where the provider is unknown or the name is no model's; the caller must not go on without an answer.
    """
    prefix, slash, rest = model.partition("/")
    if slash:
        return (prefix, rest) if prefix in HOSTS and rest else None
    if _ANTHROPIC_NAMES.match(model):
        return "anthropic", model
    return ("openai", model) if _OPENAI_NAMES.match(model) else None


def speaks(provider: str, api: str) -> bool:
    """Whether the provider's hosts speak the API of this name. One that has no row is our own, and speaks all."""
    host = HOSTS.get(provider)
    return host is None or api in host.apis


def usual_headers(provider: str) -> tuple[Header, ...]:
    """What the provider must be told where the client does not say it."""
    host = HOSTS.get(provider)
    return () if host is None else host.headers


def api_base(provider: str, configured: str | None) -> str | None:
    """The base URL of a known provider, without a trailing slash; `None` where none is configured and none is usual."""
    host = HOSTS[provider]
    if configured is None:
        return host.api_base
    base = configured.rstrip("/")
    return base if base.endswith(host.base_path) else base + host.base_path


def credential_header(provider: str, secret: str) -> Header:
    """The request header that carries the provider's own key. Raises `KeyError` for an unknown provider."""
    host = HOSTS[provider]
    return host.credential, host.scheme + secret.encode()
