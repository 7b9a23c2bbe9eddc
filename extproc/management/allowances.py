"""Limits and budgets, which keys, teams, users, members, end users, tags and budgets all have under the same names.

What a request says of them becomes fields of `Allowance` here, and what we hold is shown again in LiteLLM's shape.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from extproc.management.errors import bad_request
from extproc.management.fields import Id, Limit, Limits, Text
from extproc.management.moments import iso
from extproc.management.money import Dollars, SomeDollars, to_dollars
from extproc.model import Allowance, UnixMs
from extproc.policy import windows

_MONEY = ("spend", "max_budget", "soft_budget", "temp_budget_increase")


class ModelBudget(BaseModel):
    """A budget for one model, also under LiteLLM's older names. Without a duration it never begins anew."""

    model_config = ConfigDict(extra="ignore")

    max_budget: Annotated[SomeDollars, Field(validation_alias=AliasChoices("max_budget", "budget_limit"))]
    budget_duration: Annotated[Text | None, Field(validation_alias=AliasChoices("budget_duration", "time_period"))] = (
        None
    )


class BudgetWindow(BaseModel):
    """One of several budgets at the same time, each within its own window."""

    model_config = ConfigDict(extra="ignore")

    max_budget: Annotated[SomeDollars, Field(validation_alias=AliasChoices("max_budget", "budget_limit"))]
    budget_duration: Annotated[Text, Field(validation_alias=AliasChoices("budget_duration", "time_period"))]


class AllowanceFields(BaseModel):
    """Limits and budgets: 0 is a limit, null is none."""

    model_config = ConfigDict(extra="ignore")

    max_budget: Dollars | None = None
    soft_budget: Dollars | None = None
    budget_duration: Annotated[
        Id,
        Field(description="When the budget begins anew, by the calendar in UTC: 1d at midnight, 30d with the month."),
    ] = None
    max_parallel_requests: Limit | None = None
    rpm_limit: Limit | None = None
    tpm_limit: Limit | None = None
    tpd_limit: Limit | None = None
    model_rpm_limit: Limits | None = None
    model_tpm_limit: Limits | None = None
    model_max_budget: dict[Text, ModelBudget] | None = {}
    budget_limits: Annotated[list[BudgetWindow], Field(max_length=16)] | None = None
    temp_budget_increase: SomeDollars | None = None
    temp_budget_expiry: datetime | None = None

    @model_validator(mode="after")
    def _temporary_increase_is_whole(self) -> Self:
        given = self.model_fields_set & {"temp_budget_increase", "temp_budget_expiry"}
        if len(given) == 1:
            raise PydanticCustomError(
                "value_error", "temp_budget_increase and temp_budget_expiry must be given together"
            )
        return self


class AllowanceColumns(BaseModel):
    """Limits and budgets as they are shown: 0 is a limit, null is none."""

    max_budget: float | None
    soft_budget: float | None
    budget_duration: str | None
    budget_reset_at: str | None
    max_parallel_requests: int | None
    rpm_limit: int | None
    tpm_limit: int | None
    tpd_limit: int | None
    model_rpm_limit: dict[str, int] | None
    model_tpm_limit: dict[str, int] | None
    model_max_budget: dict[str, dict[str, Any]]
    budget_limits: list[dict[str, Any]] | None
    temp_budget_increase: float | None
    temp_budget_expiry: str | None


def shown(allowance: Allowance) -> dict[str, Any]:
    """The columns of `AllowanceColumns`."""
    return {
        "max_budget": to_dollars(allowance.max_budget),
        "soft_budget": to_dollars(allowance.soft_budget),
        "budget_duration": allowance.budget_duration,
        "budget_reset_at": iso(allowance.budget_reset_at),
        "max_parallel_requests": allowance.max_parallel_requests,
        "rpm_limit": allowance.rpm_limit,
        "tpm_limit": allowance.tpm_limit,
        "tpd_limit": allowance.tpd_limit,
        "model_rpm_limit": allowance.model_rpm_limit or None,
        "model_tpm_limit": allowance.model_tpm_limit or None,
        "model_max_budget": {
            model: {"max_budget": to_dollars(nanos), "budget_duration": duration}
            for model, (nanos, duration) in allowance.model_max_budget.items()
        },
        "budget_limits": [
            {"max_budget": to_dollars(nanos), "budget_duration": duration}
            for duration, nanos in allowance.budget_limits
        ]
        or None,
        "temp_budget_increase": to_dollars(allowance.temp_budget_increase),
        "temp_budget_expiry": iso(allowance.temp_budget_expiry),
    }


def settle_allowance(changes: dict[str, Any], now: UnixMs, zone: tzinfo) -> None:
    """Turn what a request says of an allowance into what `Allowance` holds, in place. Raises `Refused` (400)."""
    for name in _MONEY:
        if (changes.get(name) or 0) < 0:
            raise bad_request(f"{name} cannot be negative.", name)
    if "budget_duration" in changes:
        length = changes["budget_duration"]
        changes["budget_reset_at"] = (
            windows.next_reset(duration(length, "budget_duration"), now, zone) if length else None
        )
    if budgets := changes.get("model_max_budget"):
        changes["model_max_budget"] = {model: _of_model(budget) for model, budget in budgets.items()}
    if given := changes.get("budget_limits"):
        changes["budget_limits"] = tuple((_checked(window.budget_duration), window.max_budget) for window in given)
    if expiry := changes.get("temp_budget_expiry"):
        changes["temp_budget_expiry"] = _unix_ms(expiry)


def duration(text: str, param: str) -> windows.Duration:
    """A duration, or a 400 that names the field."""
    try:
        return windows.parse(text)
    except ValueError as error:
        raise bad_request(f"Invalid {param}: {error}.", param) from None


def _of_model(budget: ModelBudget) -> tuple[int, str | None]:
    return budget.max_budget, _checked(budget.budget_duration) if budget.budget_duration else None


def _checked(text: str) -> str:
    duration(text, "budget_duration")
    return text


def _unix_ms(moment: datetime) -> UnixMs:
    """A moment without an offset is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
