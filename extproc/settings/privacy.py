"""What is kept of a request, and what the person behind it must have agreed to."""

from __future__ import annotations

from typing import Any

from extproc.policy.consent import Demand
from extproc.policy.minimal import Kept
from extproc.settings.schema import Configuration


def of(file: Configuration) -> dict[str, Any]:
    """The fields of `Settings` about privacy."""
    general, own = file.general_settings, file.extproc_settings
    fields = general.spend_logs_metadata_fields
    return {
        "kept": Kept(
            requester_ip=not general.disable_requester_ip_address_logging,
            user_agent=not own.disable_user_agent_logging,
            metadata_fields=None if fields is None else frozenset(fields),
        ),
        "consent": Demand(tuple(dict.fromkeys(own.required_consent)), own.consent_max_age_days),
    }
