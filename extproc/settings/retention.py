"""How long the rows of the ledger are kept: LiteLLM's names for it, and a plain number of days."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extproc.policy import windows
from extproc.settings.document import Document
from extproc.settings.schema import Configuration

_PERIOD, _INTERVAL = "maximum_spend_logs_retention_period", "maximum_spend_logs_retention_interval"
_DAY_MS = 86_400_000


def of(file: Configuration) -> dict[str, Any]:
    """The fields of `Settings` about retention; what the file does not say keeps its default."""
    general = file.general_settings
    keep, interval = map(length, (getattr(general, _PERIOD), getattr(general, _INTERVAL)))
    days = general.log_retention_days
    told = {"keep_ledger_ms": days * _DAY_MS if days else keep, "purge_interval_ms": interval}
    return {name: value for name, value in told.items() if value is not None}


def mistakes(file: Configuration, found: Document) -> Iterator[str]:
    """What has the right type and cannot be meant: one line for each."""
    general = file.general_settings
    for name in (_PERIOD, _INTERVAL):
        text = getattr(general, name)
        if text is not None and length(text) is None:
            yield f"{found.at_value(('general_settings', name))}: {name} is a duration such as 30d"
    if general.log_retention_days is not None and general.maximum_spend_logs_retention_period is not None:
        place = found.at_key(("general_settings", "log_retention_days"))
        yield f"{place}: log_retention_days and {_PERIOD} say the same thing: leave one out"


def length(text: str | None) -> int | None:
    """Milliseconds; `None` also for what is no duration."""
    try:
        return None if text is None else windows.expiry(windows.parse(text), 0)
    except ValueError:
        return None
