"""What is above a bound, and what is not."""

from __future__ import annotations

import pytest

from extproc.policy.key_bounds import Bounds, Defaults, exceeded, exceeded_for_a_time

#: 31 January 2026, midnight UTC: a month from then on has 28 days.
NOW = 1_769_817_600_000
BOUNDS = Bounds(max_budget=100, budget_duration="10d", duration="30d", rpm_limit=0, tpm_limit=5)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"max_budget": 100, "tpm_limit": 5, "rpm_limit": 0, "budget_duration": "10d", "duration": "720h"},
        {"max_budget": None, "max_parallel_requests": 1_000_000},
        {"duration": "1mo"},
    ],
)
def test_what_is_at_its_bound_or_has_none_is_not_above_it(asked):
    assert exceeded(BOUNDS, asked, NOW) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_budget", 101), ("rpm_limit", 1), ("tpm_limit", 6), ("budget_duration", "241h"), ("duration", "31d"),
        ("duration", "-1"),
    ],
)  # fmt: skip
def test_what_is_above_its_bound_is_named(name, value):
    assert exceeded(BOUNDS, {name: value}, NOW) == name


def test_a_text_that_is_no_duration_is_no_duration():
    with pytest.raises(ValueError, match="a duration is"):
        exceeded(BOUNDS, {"duration": "soon"}, NOW)


@pytest.mark.parametrize(
    ("budget", "increase", "is_above"),
    [(60, 40, False), (60, 41, True), (None, 1_000, False), (60, None, False), (101, None, True)],
)
def test_a_temporary_increase_counts_with_its_budget(budget, increase, is_above):
    assert exceeded_for_a_time(BOUNDS, budget, increase) is is_above
    assert exceeded_for_a_time(Bounds(), budget, increase) is False


def test_what_is_not_told_is_no_bound_and_no_default():
    assert Bounds().told == {}
    assert Defaults(models=("a",), rpm_limit=0).told == {"models": ("a",), "rpm_limit": 0}
