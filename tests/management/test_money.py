"""Dollars become nanos and back without losing any."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from extproc.management.money import to_dollars, to_nanos


@given(st.integers(0, 10**15))
def test_what_is_shown_is_read_back(nanos):
    """Up to a million dollars a float tells every nano."""
    assert to_nanos(to_dollars(nanos)) == nanos


@given(st.decimals(min_value=-1000, max_value=1000, places=9))
def test_nine_decimals_are_exact_as_number_and_as_text(dollars):
    assert to_nanos(str(dollars)) == to_nanos(float(dollars)) == int(dollars * 10**9)


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=15))
def test_more_decimals_are_rounded_to_the_nearest_nano(dollars):
    assert abs(to_nanos(str(dollars)) - dollars * 10**9) <= Decimal("0.5")


@pytest.mark.parametrize(
    "value", [True, None, [], {}, "", "a", "nan", "inf", "-inf", 1e9 + 1, 10**10, "1e999999", "1" * 65]
)
def test_anything_else_is_no_money(value):
    with pytest.raises(PydanticCustomError):
        to_nanos(value)


def test_no_amount_stays_no_amount():
    assert to_dollars(None) is None
