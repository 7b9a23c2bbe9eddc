"""Which limits an exchange meets, in which order, and what is said of one that is full."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from extproc.holds import Amounts, Full, Level, Limit, Measure, Scope, Span
from extproc.model import (
    Allowance,
    Budget,
    Deployment,
    EndUser,
    Key,
    Membership,
    Receipt,
    Tag,
    Team,
    Upstream,
    Usage,
    User,
)
from extproc.policy import limits
from extproc.policy.credentials import MASTER_KEY
from extproc.policy.limits import House

#: Monday, 23 November 2026, 15:04:05.678 UTC, and the beginnings of its month and of the next.
NOW = 1_795_446_245_678
NOVEMBER, DECEMBER = 1_793_491_200_000, 1_796_083_200_000
DEPLOYMENT = Deployment("id-1", "gpt", "openai", "gpt-4o", Upstream("u", "https", "h", 443, "/v1"), "https://h/v1")
NOTHING = House()


def key(**fields: Any) -> Key:
    return Key(digest="d1", name="sk-...last", **fields)


def met(house: House, one: Key, *, end_user: EndUser | None = None, tags: tuple[Tag, ...] = ()) -> list[Limit]:
    who = limits.subjects(house, one, DEPLOYMENT, end_user, tags)
    return [*limits.of(house, who, "gpt", NOW)]


def told(found: list[Limit]) -> list[tuple[str, str, int]]:
    return [(limit.scope.kind, limit.setting, limit.maximum) for limit in found]


def test_whoever_has_no_limits_meets_none():
    assert met(NOTHING, key()) == []


def test_zero_is_a_limit():
    assert told(met(NOTHING, key(rpm_limit=0, max_budget=0))) == [
        ("api_key", "max_budget", 0),
        ("api_key", "rpm_limit", 0),
    ]


def test_everyone_is_asked_in_order_and_budgets_come_before_rates():
    one = key(
        max_budget=2, rpm_limit=20, team_id="t", user_id="u",
        team=Team(id="t", max_budget=3, rpm_limit=30),
        user=User(id="u", max_budget=4, rpm_limit=40),
        membership=Membership(user_id="u", team_id="t", max_budget=1, rpm_limit=10),
    )  # fmt: skip
    house = House(
        everybody=Allowance(max_budget=7, rpm_limit=70, tpm_limit=71),
        deployments={"gpt": Allowance(rpm_limit=60)},
        per_deployment=Allowance(max_parallel_requests=9),
        apply_user_budget_to_team_keys=True,
    )

    found = met(
        house, one, end_user=EndUser(id="e", max_budget=6, rpm_limit=50), tags=(Tag(name="blue", max_budget=5),)
    )

    assert told(found) == [
        ("team_member", "max_budget", 1), ("api_key", "max_budget", 2), ("team", "max_budget", 3),
        ("user", "max_budget", 4), ("tag", "max_budget", 5), ("end_user", "max_budget", 6), ("global", "max_budget", 7),
        ("team_member", "rpm_limit", 10), ("api_key", "rpm_limit", 20), ("team", "rpm_limit", 30),
        ("user", "rpm_limit", 40), ("end_user", "rpm_limit", 50), ("model", "rpm_limit", 60),
        ("deployment", "max_parallel_requests", 9), ("global", "rpm_limit", 70), ("global", "tpm_limit", 71),
    ]  # fmt: skip


def test_a_users_budget_only_counts_the_keys_of_a_team_but_their_rates_bind():
    one = key(team_id="t", user_id="u", user=User(id="u", max_budget=4, budget_limits=(("1d", 3),), rpm_limit=40))

    counted, also_counted, rate = met(NOTHING, one)
    assert [(limit.setting, limit.enforced) for limit in (counted, also_counted)] == [
        ("max_budget", False), ("budget_limits:1d", False),
    ]  # fmt: skip
    assert min(counted.maximum, also_counted.maximum) == limits.BOUNDLESS
    assert told([rate]) == [("user", "rpm_limit", 40)]
    own = msgspec.structs.replace(one, team_id=None)
    assert [counted.counter, also_counted.counter] == [limit.counter for limit in met(NOTHING, own)[:2]]


def test_a_users_budget_binds_their_own_keys_and_those_of_a_team_where_the_operator_says_so():
    one = key(team_id="t", user_id="u", user=User(id="u", max_budget=4, rpm_limit=40))

    for found in (
        met(House(apply_user_budget_to_team_keys=True), one),
        met(NOTHING, msgspec.structs.replace(one, team_id=None)),
    ):
        assert told(found)[0] == ("user", "max_budget", 4)
        assert found[0].enforced


def test_the_master_key_meets_the_limits_of_everybody_only():
    assert told(met(House(everybody=Allowance(rpm_limit=3)), MASTER_KEY)) == [("global", "rpm_limit", 3)]


def test_every_kind_of_limit_has_its_measure_and_its_span():
    one = key(max_parallel_requests=1, rpm_limit=2, tpm_limit=3, tpd_limit=4, max_budget=5)

    assert [(limit.setting, limit.measure, limit.span) for limit in met(NOTHING, one)] == [
        ("max_budget", Measure.SPEND, Span.WINDOW),
        ("max_parallel_requests", Measure.PARALLEL, Span.GAUGE),
        ("rpm_limit", Measure.REQUESTS, Span.ROLLING),
        ("tpm_limit", Measure.TOKENS, Span.ROLLING),
        ("tpd_limit", Measure.TOKENS, Span.WINDOW),
    ]


def test_limits_of_a_model_are_counted_for_that_model_only():
    team = Team(id="t", model_rpm_limit={"gpt": 5})
    one = key(
        team=team, team_id="t", model_rpm_limit={"gpt": 1, "other": 9}, model_tpm_limit={"gpt": 2},
        model_max_budget={"gpt": (3, "30d"), "other": (9, None)},
    )  # fmt: skip

    found = met(NOTHING, one)

    assert told(found) == [
        ("model_per_key", "model_max_budget", 3),
        ("model_per_key", "model_rpm_limit", 1),
        ("model_per_key", "model_tpm_limit", 2),
        ("model_per_team", "model_rpm_limit", 5),
    ]
    assert found[0].scope.id == "d1:gpt"
    assert found[-1].scope.id == "t:gpt"


def test_a_budget_without_a_duration_is_for_ever_and_one_with_a_duration_has_its_window():
    forever, monthly = met(NOTHING, key(max_budget=1)), met(NOTHING, key(max_budget=1, budget_duration="30d"))

    assert (forever[0].since, forever[0].until) == (0, None)
    assert (monthly[0].since, monthly[0].until) == (NOVEMBER, DECEMBER)
    assert forever[0].counter != monthly[0].counter


def test_windows_follow_the_time_zone():
    berlin = House(zone=ZoneInfo("Europe/Berlin"))

    assert met(berlin, key(max_budget=1, budget_duration="30d"))[0].since == NOVEMBER - 3_600_000
    assert met(berlin, key(tpd_limit=1))[0].since % 86_400_000 == 82_800_000


def test_several_windows_at_once_are_several_limits():
    found = met(NOTHING, key(budget_limits=(("1h", 10), ("30d", 100))))

    assert told(found) == [("api_key", "budget_limits:1h", 10), ("api_key", "budget_limits:30d", 100)]
    assert len({limit.counter for limit in found}) == 2


@pytest.mark.parametrize(("expiry", "maximum"), [(NOW + 1, 15), (NOW, 10), (None, 10)])
def test_a_temporary_increase_counts_until_its_expiry(expiry, maximum):
    one = key(max_budget=10, temp_budget_increase=5, temp_budget_expiry=expiry)

    assert met(NOTHING, one)[0].maximum == maximum


def test_a_soft_budget_is_counted_beside_the_hard_one_and_refuses_nobody():
    hard, soft = met(NOTHING, key(max_budget=10, soft_budget=5, budget_duration="1d"))

    assert (hard.enforced, soft.enforced) == (True, False)
    assert hard.counter == soft.counter


def test_a_budget_row_fills_what_the_key_leaves_open():
    one = key(rpm_limit=1, budget=Budget(id="b", rpm_limit=9, tpm_limit=2, max_budget=3))

    assert told(met(NOTHING, one)) == [
        ("api_key", "max_budget", 3),
        ("api_key", "rpm_limit", 1),
        ("api_key", "tpm_limit", 2),
    ]


@pytest.mark.parametrize(
    ("house", "metadata", "enforced"),
    [
        (House(), {}, [True, True, True]),
        (House(dry_run=frozenset({"rpm_limit"})), {}, [True, True, False]),
        (House(), {"dry_run": True}, [False, False, False]),
        (House(), {"dry_run": ["max_budget"]}, [False, True, True]),
        (House(), {"dry_run": ["budget_limits"]}, [True, False, True]),
        (House(dry_run=frozenset({"*"})), {}, [False, False, False]),
        (House(), {"dry_run": "yes"}, [True, True, True]),
    ],
)
def test_a_limit_may_be_tried_out_without_refusing(house, metadata, enforced):
    one = key(max_budget=1, budget_limits=(("1h", 2),), rpm_limit=3, metadata=metadata)

    assert [limit.enforced for limit in met(house, one)] == enforced


def test_every_limited_scope_is_one_that_receipts_count_for():
    """Or a counter could not be made anew from the ledger. A gauge needs no ledger."""
    one = key(
        max_budget=1, team_id="t", user_id="u", model_rpm_limit={"gpt": 1},
        team=Team(id="t", max_budget=1, model_rpm_limit={"gpt": 1}), user=User(id="u", rpm_limit=1),
        membership=Membership(user_id="u", team_id="t", max_budget=1),
    )  # fmt: skip
    house = House(
        everybody=Allowance(rpm_limit=1),
        deployments={"gpt": Allowance(rpm_limit=1)},
        per_deployment=Allowance(max_parallel_requests=1),
    )
    found = met(house, one, end_user=EndUser(id="e", rpm_limit=1), tags=(Tag(name="blue", max_budget=1),))
    receipt = Receipt(
        event_id="", call_id="", key_digest="d1", started_at=0, ended_at=0, operation="", path="", model_group="gpt",
        model="", model_id="id-1", provider="", api_base="", http_status=200, status="", stream=False, usage=Usage(),
        spend=0, user_id="u", team_id="t", end_user="e", tags=("blue",),
    )  # fmt: skip

    counted = {limit.scope for limit in found if limit.span is not Span.GAUGE}

    assert counted <= set(limits.scopes(receipt))
    assert len(counted) == 10


def refused(limit: Limit, settled: int, held: int, asked: int, frees_at: int | None = None):
    one = key(alias="front", team=Team(id="t"))
    names = limits.names(limits.subjects(NOTHING, one, DEPLOYMENT, None, ()), "gpt")
    return limits.refusal(limit, Full(0, Level(settled, held), asked, frees_at), names, NOW, 422)


BUDGET = Limit(Scope("api_key", "d1"), Measure.SPEND, Span.WINDOW, 1_000_000_000, setting="max_budget")


def test_a_spent_budget_is_told_in_litellms_words_and_never_with_a_digest():
    refusal = refused(BUDGET, 1_050_000_000, 0, 1)

    assert (refusal.status, refusal.kind, refusal.reason) == (422, "budget_exceeded", "budget_exceeded")
    assert refusal.message == ("Budget has been exceeded! Key=front (sk-...last) Current cost: 1.05, Max budget: 1.0")


def test_a_budget_with_too_little_left_is_told_with_what_the_request_may_cost():
    assert refused(BUDGET, 400_000_000, 0, 600_010_000).message == (
        "Budget has been exceeded! Key=front (sk-...last) Current cost: 0.4, Max budget: 1.0. "
        "What was asked for may cost 0.60001 more, which is not left"
    )


def test_a_window_among_several_is_told_as_such():
    limit = msgspec.structs.replace(BUDGET, setting="budget_limits:1h", maximum=40_000_000)

    assert refused(limit, 50_000_000, 0, 1).message == "ExceededBudget: Key over 1h budget. Spend=$0.05, Limit=$0.04"


def test_a_budget_that_is_only_held_is_another_refusal_with_a_short_wait():
    refusal = refused(BUDGET, 400_000_000, 600_000_000, 100_000_000)

    assert (refusal.status, refusal.reason) == (429, "budget_held")
    assert (b"retry-after", b"1") in refusal.headers


@pytest.mark.parametrize(
    ("frees_at", "wait"), [(NOW + 1, b"1"), (NOW + 59_001, b"60"), (NOW + 3_000, b"3"), (None, b"1")]
)
def test_a_rate_is_told_with_the_time_when_it_will_work(frees_at, wait):
    limit = Limit(Scope("api_key", "d1"), Measure.REQUESTS, Span.ROLLING, 10, setting="rpm_limit")

    refusal = refused(limit, 10, 0, 1, frees_at)

    assert (refusal.status, refusal.kind) == (429, "throttling_error")
    assert dict(refusal.headers)[b"retry-after"] == wait
    assert refusal.message.startswith(
        "Rate limit exceeded for api_key: front (sk-...last). Limit type: requests. Current limit: 10, Remaining: 0."
    )


def test_requests_are_never_given_back_so_those_that_are_held_are_a_minutes_too():
    limit = Limit(Scope("api_key", "d1"), Measure.REQUESTS, Span.ROLLING, 10, setting="rpm_limit")
    places = Limit(Scope("api_key", "d1"), Measure.PARALLEL, Span.GAUGE, 10, setting="max_parallel_requests")

    assert dict(refused(limit, 4, 6, 1).headers)[b"retry-after"] == b"60"
    assert dict(refused(places, 0, 10, 1).headers)[b"retry-after"] == b"1"


def test_the_explanation_names_scope_setting_and_every_amount():
    why = refused(BUDGET, 900_000_000, 90_000_000, 500_000_000).explanation

    assert why is not None
    assert (why.kind, why.who, why.setting) == ("api_key", "front (sk-...last)", "max_budget")
    assert (why.maximum, why.settled, why.held, why.asked) == (1_000_000_000, 900_000_000, 90_000_000, 500_000_000)


@pytest.mark.parametrize(
    ("measure", "asked"), [(Measure.REQUESTS, 1), (Measure.PARALLEL, 1), (Measure.TOKENS, 30), (Measure.SPEND, 7)]
)
def test_a_limit_counts_its_own_measure(measure, asked):
    assert limits.asked_of(Limit(limits.GLOBAL, measure, Span.ROLLING, 1), Amounts(tokens=30, nanos=7)) == asked


def test_a_receipt_of_a_key_alone_counts_for_that_key_its_model_and_everybody():
    receipt = Receipt(
        event_id="", call_id="", key_digest="d1", started_at=0, ended_at=0, operation="", path="", model_group="gpt",
        model="", model_id="id-1", provider="", api_base="", http_status=200, status="", stream=False, usage=Usage(),
        spend=0,
    )  # fmt: skip

    assert [scope.kind for scope in limits.scopes(receipt)] == ["api_key", "model_per_key", "model", "global"]
