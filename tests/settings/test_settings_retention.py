"""How long the ledger is kept is told in LiteLLM's words or in days, and not in both."""

from __future__ import annotations

import pytest

from extproc.errors import ConfigError

DAY = 86_400_000


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("{}", (None, DAY)),
        ("{maximum_spend_logs_retention_period: 30d}", (30 * DAY, DAY)),
        (
            "{maximum_spend_logs_retention_period: 36h, maximum_spend_logs_retention_interval: 1h}",
            (1.5 * DAY, DAY / 24),
        ),
        ("{log_retention_days: 90}", (90 * DAY, DAY)),
    ],
    ids=["for ever", "a period", "and how often", "days"],
)
def test_rows_are_kept_as_long_as_the_file_says(load, told, expected):
    found = load(f"general_settings: {told}\n")

    assert (found.keep_ledger_ms, found.purge_interval_ms) == expected
    assert found.unsupported == ()


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ("{maximum_spend_logs_retention_period: soon}", "retention_period is a duration such as 30d"),
        ("{maximum_spend_logs_retention_interval: 0d}", "retention_interval is a duration such as 30d"),
        ("{log_retention_days: 0}", "log_retention_days must be at least 1"),
        (
            "{log_retention_days: 9, maximum_spend_logs_retention_period: 9d}",
            "log_retention_days and maximum_spend_logs_retention_period say the same thing: leave one out",
        ),
    ],
    ids=["no duration", "no time", "no day", "both"],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_mistake(load, told, line):
    with pytest.raises(ConfigError, match=line):
        load(f"general_settings: {told}\n")
