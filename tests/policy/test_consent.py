"""What a person has agreed to, and what a gateway may demand."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.model import Key, User
from extproc.policy.consent import Demand, forbids_storage, grants, told_of

#: 2024-06-15, noon.
NOW = 1_718_452_800_000


def key(metadata: Any = None, user: Any = None) -> Key:
    return Key(digest="d", name="k", metadata=metadata or {}, user=User(id="u", metadata=user) if user else None)


def refused(demand: Demand, metadata: dict[str, object], whose: Key | None = None) -> str | None:
    refusal = demand.check(whose or key(), metadata, NOW)
    if refusal is not None:
        assert (refusal.status, refusal.kind) == (403, "consent_required")
    return refusal.reason if refusal else None


@pytest.mark.parametrize(
    "consent",
    ["storage:true", "analytics:true,storage:true", " Storage : TRUE ", {"storage": True}, "a,storage:true,,:"],
)
def test_a_purpose_is_granted_where_that_is_plainly_said(consent):
    assert grants({"user_consent": consent}, "storage")


@pytest.mark.parametrize(
    "consent",
    [
        None, "", "storage", "storage:", "storage:false", "storage:yes", "storage:1", "storages:true", "storage:true:x",
        "storage:true,storage:false", "storage:false,STORAGE:true", True, ["storage:true"], {"storage": "true"},
        {"storage": 1}, {"storage": True, "Storage": False},
    ],
)  # fmt: skip
def test_anything_else_grants_nothing(consent):
    assert not grants({"user_consent": consent}, "storage")


def test_without_a_demand_nobody_is_refused():
    assert refused(Demand(), {}) is None


def test_every_purpose_that_is_demanded_must_be_granted():
    demand = Demand(("storage", "analytics"))

    assert refused(demand, {"user_consent": "storage:true,analytics:true"}) is None
    assert refused(demand, {"user_consent": "storage:true"}) == "consent_missing"
    assert refused(demand, {}) == "consent_missing"


def test_the_refusal_says_what_to_send():
    refusal = Demand(("storage", "analytics")).check(key(), {"user_consent": "storage:true"}, NOW)

    assert refusal is not None
    assert "'analytics:true'" in refusal.message
    assert refusal.param == "metadata.user_consent"


@pytest.mark.parametrize("day", ["2024-06-15", "2024-06-16", "2024-05-16", "2024-06-15T23:00:00Z"])
def test_a_consent_of_the_last_days_is_recent(day):
    assert refused(Demand(max_age_days=30), {"user_consent": "a:true", "consent_date": day}) is None


@pytest.mark.parametrize(
    "day", ["2024-05-15", "2024-06-17", "2024-13-01", "yesterday", "", None, 20240615, ["2024-06-15"]]
)
def test_a_consent_that_is_old_or_of_no_day_is_out_of_date(day):
    demand = Demand(("a",), max_age_days=30)

    assert refused(demand, {"user_consent": "a:true", "consent_date": day}) == "consent_out_of_date"


def test_where_the_request_tells_nothing_the_key_and_then_its_user_do():
    demand = Demand(("a",))

    assert refused(demand, {}, key({"user_consent": "a:true"})) is None
    assert refused(demand, {}, key(user={"user_consent": "a:true"})) is None
    assert refused(demand, {}, key({"user_consent": "a:false"}, {"user_consent": "a:true"})) == "consent_missing"
    assert refused(demand, {"user_consent": "a:false"}, key({"user_consent": "a:true"})) == "consent_missing"


def test_the_date_is_that_of_the_same_consent():
    """A date alone says nothing of what was agreed to."""
    demand = Demand(("a",), max_age_days=30)

    assert refused(demand, {"consent_date": "2024-06-15"}, key({"user_consent": "a:true"})) == "consent_out_of_date"


def test_storage_is_forbidden_only_by_a_consent_without_it():
    assert not forbids_storage(told_of(key(), {}))
    assert not forbids_storage({"user_consent": "storage:true"})
    assert forbids_storage({"user_consent": "analytics:true"})
