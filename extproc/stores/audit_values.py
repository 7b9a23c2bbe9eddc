"""How rows are shown in the audit trail: in LiteLLM's names and units, without secrets, and only what changed.

Values as the tables hold them go in (nanos, milliseconds), JSON comes out (dollars as exact numbers, ISO 8601). What
looks like a secret, by its name or by itself, is a star. A key's digest is the row's `object_id` and stands nowhere
else. The texts that come out are hashed as they are, so the same values always give the same text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from extproc.model import NANOS_PER_DOLLAR

MASK = "***"
#: LiteLLM's names of the tables.
TABLES = {
    "keys": "LiteLLM_VerificationToken",
    "teams": "LiteLLM_TeamTable",
    "users": "LiteLLM_UserTable",
    "memberships": "LiteLLM_TeamMembership",
    "end_users": "LiteLLM_EndUserTable",
    "tags": "LiteLLM_TagTable",
    "budgets": "LiteLLM_BudgetTable",
    "models": "LiteLLM_ProxyModelTable",
}
_NAMES: Mapping[str, Mapping[str, str]] = {
    "keys": {"name": "key_name", "alias": "key_alias", "expires_at": "expires"},
    "teams": {"id": "team_id", "alias": "team_alias"},
    "users": {"id": "user_id", "email": "user_email", "alias": "user_alias", "role": "user_role"},
    "end_users": {"id": "user_id"},
    "tags": {"name": "tag_name"},
    "budgets": {"id": "budget_id"},
    "models": {"id": "model_id", "parameters": "litellm_params", "info": "model_info"},
}
#: The digest is told by `object_id`; what is booked is no change of anybody's.
_LEFT_OUT = frozenset({"digest", "booked", "last_active", "fields"})
_DOLLARS = frozenset({"max_budget", "soft_budget", "spend", "temp_budget_increase", "spend_set_to"})
_MOMENTS = frozenset({"budget_reset_at", "expires_at", "temp_budget_expiry", "rotate_at", "spend_set_at"})
#: When and by whom: the entry itself says it.
STAMPS = frozenset({"created_at", "created_by", "updated_at", "updated_by"})
#: The action of an entry that tells of no change.
READ = "read"
_SECRET_NAME = re.compile(
    r"api_?key|secret|passw|credential|authorization|private_key|(^|_)(token|key|salt|auth)$", re.IGNORECASE
)
_SECRET_TEXT = re.compile(r"(sk|pk|rk)-[A-Za-z0-9_-]{8,}|(?i:bearer\s+)\S{8,}|://[^/\s:@]*:[^/\s@]+@")
_ENCODER = msgspec.json.Encoder(decimal_format="number", order="sorted")


def of_customer(name: str) -> str:
    """A customer as the object of a reading: there a bare name is a user's, or an exchange."""
    return f"end_user:{name}"


def shown(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in LiteLLM's names and units, empty columns left out; `fields` are LiteLLM's names already."""
    names = _NAMES.get(table, {})
    values = {names.get(name, name): _value(name, value) for name, value in row.items() if name not in _LEFT_OUT}
    values |= row.get("fields") or {}
    return {name: masked(value, name) for name, value in values.items() if value not in (None, {}, [], ())}


def difference(table: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, str]:
    """What was changed, as it was and as it is; empty objects where nothing was."""
    old, new = shown(table, before), shown(table, after)
    names = [name for name in {**old, **new} if name not in STAMPS and text(old.get(name)) != text(new.get(name))]
    return text({name: old.get(name) for name in names}), text({name: new.get(name) for name in names})


def text(value: object) -> str:
    """Canonical JSON: names in their order, no space."""
    return _ENCODER.encode(value).decode()


def masked(value: Any, name: str = "") -> Any:
    """A value without secrets, however deep they are."""
    if isinstance(value, Mapping):
        return {str(key): masked(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each, name) for each in value]
    if not isinstance(value, str) or not value:
        return value
    return MASK if _SECRET_NAME.search(name) else _SECRET_TEXT.sub(MASK, value)


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _DOLLARS:
        return dollars(value)
    if name in _MOMENTS or (name in STAMPS and isinstance(value, int)):
        return moment(value)
    if name == "model_max_budget":
        return {
            model: {"max_budget": dollars(budget), "budget_duration": duration}
            for model, (budget, duration) in value.items()
        }
    if name == "budget_limits":
        return [{"budget_duration": duration, "max_budget": dollars(budget)} for duration, budget in value]
    return value


def dollars(nanos: int) -> Decimal:
    """Exact, without zeros at the end."""
    amount = Decimal(nanos) / NANOS_PER_DOLLAR
    return amount.normalize() if amount % 1 else amount.quantize(Decimal(1))


def moment(at: int) -> str:
    """`2026-11-23T20:08:00.123Z`."""
    return datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
