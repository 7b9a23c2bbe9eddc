"""What is kept of a request, and what consent it needs."""

from __future__ import annotations

import pytest

from extproc.errors import ConfigError
from extproc.policy.consent import Demand
from extproc.policy.minimal import Kept


def test_by_default_all_is_kept_and_no_consent_is_needed(load):
    found = load("model_list: []")

    assert (found.kept, found.consent) == (Kept(), Demand())


def test_addresses_programs_and_metadata_are_left_out_where_that_is_said(load):
    text = """\
general_settings:
  disable_requester_ip_address_logging: true
  spend_logs_metadata_fields: [user_consent, consent_date]
extproc_settings:
  disable_user_agent_logging: true
"""
    fields = frozenset({"user_consent", "consent_date"})

    assert load(text, strict=True).kept == Kept(requester_ip=False, user_agent=False, metadata_fields=fields)


def test_an_empty_list_of_fields_keeps_none(load):
    assert load("general_settings: {spend_logs_metadata_fields: []}").kept == Kept(metadata_fields=frozenset())


def test_purposes_are_demanded_in_their_order(load):
    text = "extproc_settings: {required_consent: [storage, analytics, storage], consent_max_age_days: 365}"

    assert load(text, strict=True).consent == Demand(("storage", "analytics"), 365)


def test_nothing_that_is_said_is_stored_unless_that_is_asked_for(load):
    assert not load("general_settings: {}").store_prompts
    found = load(
        "general_settings: {store_prompts_in_spend_logs: true}\n"
        "litellm_settings: {global_disable_no_log_param: true}\n"
        "extproc_settings: {stored_prompts_retention_period: 30d}",
        strict=True,
    )

    assert (found.store_prompts, found.heed_no_log, found.keep_prompts_ms) == (True, False, 30 * 86_400_000)


@pytest.mark.parametrize("section", ["general_settings", "litellm_settings"])
@pytest.mark.parametrize("setting", ["turn_off_message_logging", "redact_messages_in_logs"])
def test_whoever_turns_message_logging_off_gets_nothing_stored_and_is_told(load, section, setting):
    other = f"litellm_settings: {{{setting}: true}}" if section == "litellm_settings" else f"  {setting}: true"
    found = load(f"general_settings:\n  store_prompts_in_spend_logs: true\n{other}\n")

    assert not found.store_prompts
    assert [line.partition(": ")[2] for line in found.unsupported] == [
        f"store_prompts_in_spend_logs has no effect beside {setting}"
    ]


def test_a_period_that_is_none_is_refused_with_its_place(load):
    with pytest.raises(ConfigError, match=r":1:\d+: stored_prompts_retention_period is a duration such as 30d"):
        load("extproc_settings: {stored_prompts_retention_period: soon}")


@pytest.mark.parametrize("purpose", ["a:true", "a,b", "a b", ""])
def test_a_purpose_that_no_consent_can_name_is_refused(load, purpose):
    with pytest.raises(ConfigError, match=r"required_consent\[0\]"):
        load(f'extproc_settings: {{required_consent: ["{purpose}"]}}')
