"""An outage means what the operator said, and an unknown key is never admitted."""

from __future__ import annotations

import pytest

from extproc.policy import refusals
from extproc.policy.outages import OnOutage, Store, verdict


@pytest.mark.parametrize("on_outage", OnOutage)
@pytest.mark.parametrize("limited", [True, False])
def test_without_the_keys_nobody_unknown_passes(on_outage, limited):
    assert verdict(Store.KEYS, on_outage, limited=limited) is refusals.STORE_UNAVAILABLE


def test_without_the_counters_whoever_is_limited_is_refused_by_default():
    assert verdict(Store.COUNTERS, OnOutage.REFUSE, limited=True) is refusals.COUNTERS_UNAVAILABLE


def test_without_the_counters_whoever_is_limited_passes_where_the_operator_says_so():
    assert verdict(Store.COUNTERS, OnOutage.ALLOW, limited=True) is None


@pytest.mark.parametrize("on_outage", OnOutage)
def test_whoever_meets_no_limit_needs_no_counters(on_outage):
    assert verdict(Store.COUNTERS, on_outage, limited=False) is None
