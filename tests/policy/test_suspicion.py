"""Which keys behave as a stolen one would."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.activity import Activity
from extproc.policy.suspicion import judge

DOLLAR = 1_000_000_000
NOW = 1_790_000_000_000
DAY = 86_400_000


def judged(hours: int = 1, most_spend: int = 100 * DOLLAR, **facts: Any):
    activity = Activity(**{"key_digest": "d", "requests": 1, "failures": 0, "spend": 0, **facts})
    return judge(activity, hours, most_spend, NOW)


@pytest.mark.parametrize(
    ("facts", "score", "reason"),
    [
        ({"spend": 101 * DOLLAR}, 5, "spent $101.00"),
        ({"spend": 6 * DOLLAR, "usual_spend": DOLLAR}, 3, "spent 6 times as much as usual"),
        ({"requests": 600, "usual_requests": 100.0}, 2, "6 times as many requests as usual"),
        ({"used_before": NOW - 30 * DAY}, 3, "used again after 29 days"),
        ({"used_before": NOW - DAY, "addresses": 1, "new_addresses": ("10.0.0.1",)}, 2,
         "used from 10.0.0.1, as never before"),
        ({"used_before": NOW - DAY, "addresses": 6, "new_addresses": ("a", "b", "c", "d", "e")}, 2,
         "also used from a, b, c and 2 more, as never before"),
        ({"requests": 20, "failures": 10}, 1, "10 of 20 requests failed"),
    ],
)  # fmt: skip
def test_each_sign_has_a_weight_and_a_sentence(facts, score, reason):
    found = judged(**facts)

    assert (found.score, found.reasons) == (score, (reason,))


@pytest.mark.parametrize(
    "facts",
    [
        {"spend": 100 * DOLLAR},
        {"spend": 5 * DOLLAR, "usual_spend": DOLLAR},
        {"spend": DOLLAR // 100, "usual_spend": 1},
        {"spend": DOLLAR},
        {"requests": 19, "usual_requests": 1},
        {"requests": 500, "usual_requests": 100.0},
        {"used_before": NOW - 13 * DAY},
        {"addresses": 1, "new_addresses": ("10.0.0.1",)},
        {"used_before": NOW - DAY, "addresses": 3},
        {"requests": 9, "failures": 9},
        {"requests": 100, "failures": 40},
    ],
)
def test_what_is_usual_or_little_or_new_altogether_is_no_sign(facts):
    assert judged(**facts).score == 0


def test_signs_add_up_and_longer_times_have_more_that_is_usual():
    many = judged(spend=200 * DOLLAR, usual_spend=DOLLAR, used_before=NOW - 30 * DAY)

    assert (many.score, len(many.reasons)) == (11, 3)
    assert judged(hours=24, spend=24 * DOLLAR, usual_spend=DOLLAR).score == 0
