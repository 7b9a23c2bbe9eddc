"""LiteLLM's settings about what is logged, in either section."""

from __future__ import annotations

import pytest

from extproc import settings
from extproc.errors import ConfigError


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


def test_prometheus_is_always_told_and_each_other_callback_is_named(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("litellm_settings:\n  success_callback: [langfuse, prometheus]\n  callbacks: sentry\n")

    lines = settings.load(file).unsupported

    assert [line.partition("config.yaml:")[2] for line in lines] == [
        "3:14: litellm_settings.callbacks: sentry is not supported; /metrics is for Prometheus",
        "2:21: litellm_settings.success_callback: langfuse is not supported; /metrics is for Prometheus",
    ]


def test_no_control_of_caches_can_be_allowed(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("router_settings: {allowed_cache_controls: []}\n")
    assert settings.load(file, strict=True) == settings.Settings()

    file.write_text("router_settings: {allowed_cache_controls: [no-store]}\n")
    with pytest.raises(ConfigError, match="allowed_cache_controls"):
        settings.load(file)
