"""The limits that a file sets itself: for all requests together, for model names, for deployments.

Keys, teams and users bring their own; those stand in the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from extproc.model import NANOS_PER_DOLLAR, Allowance, Nanos
from extproc.policy import windows
from extproc.settings.document import Document
from extproc.settings.schema import Configuration

#: What `dry_run` may name.
DRY_RUN = (
    "*", "max_budget", "soft_budget", "model_max_budget", "budget_limits", "max_parallel_requests", "rpm_limit",
    "tpm_limit", "tpd_limit", "model_rpm_limit", "model_tpm_limit",
)  # fmt: skip


def of(file: Configuration) -> dict[str, Any]:
    """The fields of `Settings` about limits; what the file does not say keeps its default."""
    general, litellm, router, own = (
        file.general_settings,
        file.litellm_settings,
        file.router_settings,
        file.extproc_settings,
    )
    told = {
        "everybody": Allowance(
            max_budget=nanos(litellm.max_budget),
            budget_duration=litellm.budget_duration,
            max_parallel_requests=general.global_max_parallel_requests,
            rpm_limit=router.rpm_limit,
            tpm_limit=router.tpm_limit,
        ),
        "per_deployment": Allowance(max_parallel_requests=general.max_parallel_requests),
        "model_rates": _model_rates(file),
        "apply_user_budget_to_team_keys": general.apply_user_budget_to_team_keys,
        "budget_exceeded_status": litellm.budget_exceeded_status_code,
        "timezone": litellm.timezone,
        "on_outage": own.on_outage,
        "dry_run": None if own.dry_run is None else tuple(own.dry_run),
    }
    return {name: value for name, value in told.items() if value is not None}


def mistakes(file: Configuration, found: Document) -> Iterator[str]:
    """What has the right type and cannot be meant: one line for each."""
    litellm = file.litellm_settings
    if litellm.budget_duration is not None:
        try:
            windows.parse(litellm.budget_duration)
        except ValueError as error:
            yield f"{found.at_value(('litellm_settings', 'budget_duration'))}: budget_duration: {error}"
    for index, name in enumerate(file.extproc_settings.dry_run or ()):
        if name not in DRY_RUN:
            place = found.at_value(("extproc_settings", "dry_run", index))
            yield f"{place}: {name!r} is no limit; limits are {', '.join(DRY_RUN)}"
    if litellm.timezone is not None and not _is_zone(litellm.timezone):
        place = found.at_value(("litellm_settings", "timezone"))
        yield f"{place}: timezone is not known here: write a name of the tz database, such as Europe/Berlin"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _model_rates(file: Configuration) -> dict[str, Allowance]:
    """Rates of a model name: the sum over its deployments, none where one of them has none."""
    names = dict.fromkeys(row.model_name for row in file.model_list)
    rates = {name: Allowance(rpm_limit=_sum(file, name, "rpm"), tpm_limit=_sum(file, name, "tpm")) for name in names}
    return {name: allowance for name, allowance in rates.items() if allowance != Allowance()}


def _sum(file: Configuration, name: str, field: str) -> int | None:
    told = [getattr(row.litellm_params, field) for row in file.model_list if row.model_name == name]
    return None if None in told else sum(told)


def nanos(dollars: Decimal | None) -> Nanos | None:
    """What is finer than a nano is left out."""
    return None if dollars is None else int(dollars * NANOS_PER_DOLLAR)
