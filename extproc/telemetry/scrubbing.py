"""The last door of every log line: what looks like a secret does not pass it.

Nothing here is supposed to log a secret. This is for what nobody foresaw: the text of an exception, a library's own
line, a client that sends its key as the name of a model. Two steps: fields that are named for secrets lose their value
before a line is made; and of the finished line, whoever made it, what has the shape of a secret is replaced.

One pass of RE2 says that there is nothing, which is nearly always so, in about a microsecond for a line. The patterns
take no quote and no backslash, so that a line of JSON stays one.
"""

from __future__ import annotations

import re
from typing import Any

import re2

HIDDEN = "***"
_SECRET_FIELD = re.compile(
    r"(?i)(?:x[-_])?api[-_]?key|(?:proxy[-_])?authorization|(?:set[-_])?cookie|.*(?:password|passwd|secret|credential)"
    r"|(?:.*_)?(?:token|master_key|provider_key|private_key|encryption_key)"
)
#: The characters of a secret inside a line.
_INSIDE = r"[^\s\"'\\,;&]"
#: A pattern's first group stays, the rest is replaced.
_PATTERNS = (
    # Keys of this gateway, of OpenAI, Anthropic, Groq, Hugging Face, xAI, Perplexity, Replicate; of GitHub and Slack.
    r"()\b(?:sk|pk|gsk|xai|pplx|r8|hf|tvly|fw)[-_][A-Za-z0-9_-]{12,}",
    r"()\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|hv[sbr]\.|s\.)[A-Za-z0-9_-]{20,}",
    # Package registries, NVIDIA, SendGrid, Google.
    r"()\bnpm_[A-Za-z0-9]{36,}",
    r"()\b(?:pypi-AgEI|nvapi-|ya29\.|SG\.[A-Za-z0-9_-]{16,}\.)[A-Za-z0-9_.-]{16,}",
    # Amazon, Google, JSON web tokens.
    r"()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"()\bAIza[A-Za-z0-9_-]{30,}",
    r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?",
    r"()-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[^\"'\\]|\\+n)*",
    # Headers, and passwords in addresses and in what is told as NAME=VALUE.
    rf"(\b(?i:bearer|basic)(?:\s|%20|\\t)+){_INSIDE}{{8,}}",
    rf"(://[^\s\"'\\/:@]*:){_INSIDE}+@",
    rf"((?i:(?:\b|_)(?:(?:api|access|secret|account|private)[-_]?key|pwd|token)|password|passwd|secret)=){_INSIDE}{{4,}}",
    rf"((?i:password|passwd|secret|authorization|x-api-key)[\"']?\s?:\s?[\"']?){_INSIDE}{{8,}}",
    # A limit is told as `api_key:rpm`, so a colon alone makes no key.
    rf"((?i:api[-_]?key)(?:[\"']\s?:\s?|:\s)[\"']?){_INSIDE}{{8,}}",
)
_any = re2.compile("|".join(_PATTERNS).encode())
_each = [(re.compile(pattern), r"\g<1>" + HIDDEN) for pattern in _PATTERNS]


def scrubbed(text: str) -> str:
    """One line or several, without what looks like a secret."""
    if _any.search(text.encode("utf-8", "surrogatepass")) is None:
        return text
    for pattern, hidden in _each:
        text = pattern.sub(hidden + "@" if "://" in pattern.pattern else hidden, text)
    return text


def hide_secret_fields(_: object, __: str, line: Any) -> Any:
    """A structlog processor: fields that are named for secrets lose their value, in mappings inside the line too."""
    return {name: _hidden(name, value) for name, value in line.items()}


def _hidden(name: object, value: Any) -> Any:
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    if isinstance(name, str) and _SECRET_FIELD.fullmatch(name) and isinstance(value, str | bytes):
        return HIDDEN
    if isinstance(value, dict):
        return {inner: _hidden(inner, each) for inner, each in value.items()}
    if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str | bytes):
        return [value[0], _hidden(value[0], value[1])]
    return [_hidden("", each) for each in value] if isinstance(value, list | tuple) else value
