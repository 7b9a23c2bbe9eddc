"""Single values of LiteLLM's tables as ours: dollars, moments, JSON, limits. Pure.

Its money is a float, its moments are naive and in UTC, its JSON comes as text or already decoded, depending on the
driver. A value that is none of what it should be is `None`: an import reports, it does not stop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from extproc.importing.notes import Notes
from extproc.model import NANOS_PER_DOLLAR, Nanos, UnixMs
from extproc.policy import windows

#: Nine million dollars: what a reader of JSON keeps exactly.
_MOST_NANOS = 2**53 - 1
_EPOCH = datetime.fromtimestamp(0, UTC)


def nanos(dollars: Any) -> Nanos | None:
    """Dollars as a float or a text. The shortest decimal form of a float is what was meant."""
    if dollars is None or isinstance(dollars, bool):
        return None
    try:
        amount = Decimal(str(dollars)) * NANOS_PER_DOLLAR
        return min(int(amount.to_integral_value()), _MOST_NANOS) if amount.is_finite() else None
    except InvalidOperation:
        return None


def unix_ms(moment: Any) -> UnixMs | None:
    """A moment as a `datetime` or in ISO 8601; without an offset it is in UTC."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    if not isinstance(moment, datetime):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def decoded(value: Any) -> Any:
    """What a JSON column holds, `None` where it holds no JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def structured(value: Any) -> Any:
    """What a column holds that is JSON in one table and a text in another."""
    return decoded(value) if isinstance(value, str) and value.startswith(("{", "[")) else value


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object, `{}` for anything else."""
    found = decoded(value)
    return found if isinstance(found, dict) else {}


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts: an array, or one in JSON."""
    found = decoded(value)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list | tuple) else ()


def whole(value: Any) -> int | None:
    """A limit: a whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)


def limits_of_models(value: Any) -> dict[str, int]:
    """`model_rpm_limit` and its like: a limit by model."""
    return {model: limit for model, given in mapping(value).items() if (limit := whole(given)) is not None}


def duration(value: Any, notes: Notes, subject: str) -> str | None:
    """A budget's duration, `None` where there is none or where it is none of ours (which is noted)."""
    if not value:
        return None
    try:
        windows.parse(str(value))
    except ValueError:
        notes.add("a budget_duration that cannot be read was dropped: the budget never begins anew", subject)
        return None
    return str(value)


def budgets_of_models(value: Any, notes: Notes, subject: str) -> dict[str, tuple[Nanos, str | None]]:
    """`model_max_budget`, also under LiteLLM's older names and as a bare amount."""
    found = {}
    for model, given in mapping(value).items():
        parts: Mapping[str, Any] = given if isinstance(given, dict) else {"max_budget": given}
        amount = nanos(parts.get("max_budget", parts.get("budget_limit")))
        if amount is not None and amount >= 0:
            length = parts.get("budget_duration", parts.get("time_period"))
            found[model] = (amount, duration(length, notes, subject))
    return found


def windows_of(value: Any, notes: Notes, subject: str) -> tuple[tuple[str, Nanos], ...]:
    """`budget_limits`: several windows at once."""
    found = []
    for given in decoded(value) or ():
        if not isinstance(given, dict):
            continue
        amount = nanos(given.get("max_budget", given.get("budget_limit")))
        length = duration(given.get("budget_duration", given.get("time_period")), notes, subject)
        if amount is not None and amount >= 0 and length:
            found.append((length, amount))
    return tuple(found)
