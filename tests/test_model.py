"""What follows from the nouns' own fields."""

from __future__ import annotations

import pytest

from extproc.model import Allowance, Budget, Key

BUDGET = Budget(
    id="b", max_budget=5, soft_budget=4, budget_duration="30d", budget_reset_at=9, rpm_limit=1,
    model_rpm_limit={"m": 1}, budget_limits=(("1h", 2),),
)  # fmt: skip


def key(**fields) -> Key:
    return Key(digest="d", name="sk-...", **fields)


def test_without_a_budget_an_allowance_is_itself():
    own = key(rpm_limit=3)

    assert own.with_defaults(None) is own


def test_what_has_no_limits_has_those_of_its_budget():
    assert key().with_defaults(BUDGET) == Allowance(
        max_budget=5, soft_budget=4, budget_duration="30d", budget_reset_at=9, rpm_limit=1, model_rpm_limit={"m": 1},
        budget_limits=(("1h", 2),),
    )  # fmt: skip


@pytest.mark.parametrize("zero", [0, 7])
def test_own_limits_come_first_and_nothing_is_a_limit_too(zero):
    found = key(rpm_limit=zero, model_rpm_limit={"n": zero}, budget_limits=(("1d", zero),)).with_defaults(BUDGET)

    assert (found.rpm_limit, found.model_rpm_limit, found.budget_limits) == (zero, {"n": zero}, (("1d", zero),))


@pytest.mark.parametrize(
    ("own", "budget"),
    [
        ({"max_budget": 0}, (0, None, None)),
        ({"max_budget": 8, "budget_duration": "1d", "budget_reset_at": 3}, (8, "1d", 3)),
        ({"budget_duration": "1d", "budget_reset_at": 3}, (5, "30d", 9)),
    ],
)
def test_a_budget_and_its_window_are_taken_together(own, budget):
    found = key(**own).with_defaults(BUDGET)

    assert (found.max_budget, found.budget_duration, found.budget_reset_at) == budget
