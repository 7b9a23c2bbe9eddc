"""Which API speaks on a path. A new API is one module and one line in `APIS`.

A path is looked up as it is first; only then as a pattern with the model in one of its segments. A pattern's model is
percent-decoded, since that is what the client named. Paths are exact: no trailing slash, no query.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from extproc.providers import anthropic_messages, openai_chat, openai_completions, openai_embeddings
from extproc.providers.api import Api
from extproc.providers.hosts import HOSTS, Host, api_base, credential_header, provider_of, speaks, usual_headers

__all__ = [
    "APIS", "HOSTS", "Host", "api_base", "credential_header", "find", "provider_of", "speaks", "usual_headers",
]  # fmt: skip

APIS: tuple[Api, ...] = (openai_chat, openai_completions, openai_embeddings, anthropic_messages)

_MODEL = "{model}"

_EXACT: dict[str, tuple[Api, None]] = {path: (api, None) for api in APIS for path in api.PATHS if _MODEL not in path}

_PATTERNS: tuple[tuple[re.Pattern[str], Api], ...] = tuple(
    (re.compile(re.escape(path).replace(re.escape(_MODEL), "([^/]+)")), api)
    for api in APIS
    for path in api.PATHS
    if _MODEL in path
)


def find(path: str) -> tuple[Api, str | None] | None:
    """The API of a path and the model that the path names, if it names one; `None` for a path of no API."""
    return _EXACT.get(path) or _find_pattern(path)


def _find_pattern(path: str) -> tuple[Api, str] | None:
    for pattern, api in _PATTERNS:
        if match := pattern.fullmatch(path):
            return api, unquote(match[1])
    return None
