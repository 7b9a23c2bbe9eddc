"""What is kept of a request, what the person behind it must have agreed to, and whether what was said is stored.

Whoever turns message logging off gets no messages stored, whatever else is said: that is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from extproc.policy.consent import Demand
from extproc.policy.minimal import Kept
from extproc.settings import retention
from extproc.settings.document import Document
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
        "store_prompts": general.store_prompts_in_spend_logs and not _off(file),
        "heed_no_log": not file.litellm_settings.global_disable_no_log_param,
        "keep_prompts_ms": retention.length(own.stored_prompts_retention_period),
    }


def unsupported(file: Configuration, found: Document) -> Iterator[str]:
    """What has no effect beside something else."""
    if file.general_settings.store_prompts_in_spend_logs and (other := _off(file)):
        place = found.at_key(("general_settings", "store_prompts_in_spend_logs"))
        yield f"{place}: store_prompts_in_spend_logs has no effect beside {other}"


def mistakes(file: Configuration, found: Document) -> Iterator[str]:
    """What has the right type and cannot be meant: one line for each."""
    name = "stored_prompts_retention_period"
    text = getattr(file.extproc_settings, name)
    if text is not None and retention.length(text) is None:
        yield f"{found.at_value(('extproc_settings', name))}: {name} is a duration such as 30d"


def _off(file: Configuration) -> str:
    """The setting that turns message logging off, or nothing."""
    names = ("turn_off_message_logging", "redact_messages_in_logs")
    sections = (file.general_settings, file.litellm_settings)
    return next((name for name in names for section in sections if getattr(section, name)), "")
