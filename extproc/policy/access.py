"""Whether a key may be used at all, for whom, and for which models.

LiteLLM's quirks are kept: blocked is told before expired, and the key before its team. An empty list of models means
every model; `*` stands for any run of characters, so `openai/*` allows whatever begins so. `all-proxy-models` is
LiteLLM's word for every model, `all-team-models` for those of the key's team: none where there is no such team.

A model must be allowed by every list that binds the key: its own, its team's and its membership's, or, where it has no
team, its user's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from extproc.model import EndUser, Key, UnixMs
from extproc.policy import refusals
from extproc.policy.refusals import Refusal

EVERY_MODEL = frozenset({"*", "all-proxy-models"})
TEAM_MODELS = "all-team-models"
#: LiteLLM's names of all routes that lead to models, and of those of the management API (`roles.groups`).
MODEL_ROUTES = frozenset({"llm_api_routes", "openai_routes", "anthropic_routes"})
GROUPS = MODEL_ROUTES | {"management_routes", "info_routes", "spend_tracking_routes"}


def check_key(key: Key, now: UnixMs) -> Refusal | None:
    """Refuse a blocked or expired key, or one of a blocked team or user.

    A key is expired from its expiry's millisecond on. A credential that the key no longer has is nobody's.
    """
    if key.revoked_at is not None and key.revoked_at <= now:
        return refusals.UNKNOWN_KEY
    if key.blocked:
        return refusals.KEY_BLOCKED
    if key.expires_at is not None and key.expires_at <= now:
        return refusals.expired_key(key.name, _iso(key.expires_at), _iso(now))
    if key.team is not None and key.team.blocked:
        return refusals.team_blocked(key.team.id)
    if key.user is not None and key.user.blocked:
        return refusals.user_blocked(key.user.id)
    return None


def check_route(key: Key, path: str, groups: Collection[str]) -> Refusal | None:
    """Refuse a path that the key's `allowed_routes` do not hold: by one of the groups that it is in, or literally.

    A route that ends with `*` is a prefix. A key without a list may call every route that its role may.
    """
    allowed = key.fields.get("allowed_routes")
    if not allowed or any(route in groups or matches(route, path) for route in allowed):
        return None
    return refusals.ROUTE_NOT_ALLOWED


def is_route(text: str) -> bool:
    """Whether this may stand in `allowed_routes`."""
    return text in GROUPS or (text.startswith("/") and "*" not in text[:-1])


def check_end_user(end_user: EndUser, model: str) -> Refusal | None:
    """Refuse a blocked end user, or a model that is not theirs."""
    if end_user.blocked:
        return refusals.end_user_blocked(end_user.id)
    if not _listed(end_user.models, model):
        return refusals.model_not_allowed(model, "customer")
    return None


def check_model(key: Key, model: str) -> Refusal | None:
    """Refuse a model name, as the client wrote it, that a list which binds the key does not hold."""
    if not _own_list_allows(key, model):
        return refusals.model_not_allowed(model)
    if key.team is not None:
        if not _listed(key.team.models, model):
            return refusals.model_not_allowed(model, "team")
        if key.membership is not None and not _listed(key.membership.models, model):
            return refusals.model_not_allowed(model, "team")
    if key.team_id is None and key.user is not None and not _listed(key.user.models, model):
        return refusals.model_not_allowed(model)
    return None


def allows_model(key: Key, model: str) -> bool:
    """Whether every list that binds the key allows this model name."""
    return check_model(key, model) is None


def _own_list_allows(key: Key, model: str) -> bool:
    """What the team allows is asked of the team."""
    return _listed(key.models, model) or (TEAM_MODELS in key.models and key.team is not None)


def lists_model(models: Sequence[str], model: str) -> bool:
    """Whether a list of models, where it names any, holds this name or pattern."""
    return _listed(models, model)


def _listed(models: Sequence[str], model: str) -> bool:
    if not models or model in models:
        return True
    return any(pattern in EVERY_MODEL or matches(pattern, model) for pattern in models)


def matches(pattern: str, name: str) -> bool:
    """Whether `name` fits a pattern with at most one `*`; a pattern with more is taken literally after the first."""
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == name
    return len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail)


def _iso(moment: UnixMs) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")
