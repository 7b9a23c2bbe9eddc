"""Whether a key may be used at all, and for which models.

LiteLLM's quirk is kept: blocked is told before expired. An empty list of models means every model; `*` stands for any
run of characters, so `openai/*` allows whatever begins so; `all-proxy-models` is LiteLLM's word for every model.
"""

from __future__ import annotations

from datetime import UTC, datetime

from extproc.model import Key, UnixMs
from extproc.policy import refusals
from extproc.policy.refusals import Refusal

EVERY_MODEL = frozenset({"*", "all-proxy-models"})


def check_key(key: Key, now: UnixMs) -> Refusal | None:
    """Refuse a blocked or expired key; a key is expired from the very millisecond of its expiry."""
    if key.blocked:
        return refusals.KEY_BLOCKED
    if key.expires_at is not None and key.expires_at <= now:
        return refusals.expired_key(key.name, _iso(key.expires_at), _iso(now))
    return None


def allows_model(key: Key, model: str) -> bool:
    """Whether the key's own list allows this model name, as the client wrote it."""
    if not key.models or model in key.models:
        return True
    return any(pattern in EVERY_MODEL or matches(pattern, model) for pattern in key.models)


def matches(pattern: str, name: str) -> bool:
    """Whether `name` fits a pattern with at most one `*`; a pattern with more is taken literally after the first."""
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == name
    return len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail)


def _iso(moment: UnixMs) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")
