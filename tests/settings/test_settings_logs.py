"""LiteLLM's settings about what is logged, in either section."""

from __future__ import annotations

import pytest

from extproc import settings


@pytest.mark.parametrize("section", ["general_settings", "litellm_settings"])
def test_whose_a_request_was_may_be_kept_out_of_logs(tmp_path, section):
    file = tmp_path / "config.yaml"
    file.write_text(f"{section}: {{redact_user_api_key_info: true}}\n")

    assert settings.load(file, strict=True).redact_user_api_key_info
    assert not settings.Settings().redact_user_api_key_info


@pytest.mark.parametrize("section", ["general_settings", "litellm_settings"])
def test_what_is_never_logged_may_be_turned_off(tmp_path, section):
    told = "redact_messages_in_logs: true, redact_messages_in_exceptions: true, turn_off_message_logging: true"
    file = tmp_path / "config.yaml"
    file.write_text(f"{section}: {{{told}, drop_params: true}}\n")

    assert settings.load(file, strict=True) == settings.Settings()
