"""What is remembered of limits is what would be found anew, at every moment and for exactly those who ask."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from extproc.model import Allowance, Deployment, EndUser, Key, Tag, Team, Upstream
from extproc.policy import limits
from extproc.policy.limits import House
from extproc.policy.met import Meetings

#: Monday, 23 November 2026, 15:04:05.678 UTC.
NOW = 1_795_446_245_678
HOUR = 3_600_000
DEPLOYMENT = Deployment("id-1", "gpt", "openai", "gpt-4o", Upstream("u", "https", "h", 443, "/v1"), "https://h/v1")
HOUSE = House(everybody=Allowance(max_budget=9, budget_duration="7d", rpm_limit=90), zone=ZoneInfo("Europe/Berlin"))
EXTRA: dict[str, Any] = {"temp_budget_increase": 5, "temp_budget_expiry": NOW + 3 * HOUR}
KEYS = (
    Key(digest="d1", name="sk-1", max_budget=1, budget_duration="2h", rpm_limit=10, **EXTRA),
    Key(digest="d2", name="sk-2", tpd_limit=7, team_id="t", team=Team(id="t", max_budget=3, budget_duration="30d")),
    Key(digest="d3", name="sk-3", model_max_budget={"gpt": (4, "1d")}, budget_limits=(("1h", 2), ("1d", 5))),
)
END_USERS = (None, EndUser(id="e", max_budget=6, budget_duration="24h"))
TAGS = ((), (Tag(name="blue", max_budget=5),), (Tag(name="red", rpm_limit=8), Tag(name="blue", rpm_limit=7)))


def anew(key: Key, model: str, end_user: EndUser | None, tags: tuple[Tag, ...], now: int) -> tuple[Any, Any]:
    who = limits.subjects(HOUSE, key, DEPLOYMENT, end_user, tags)
    return who, limits.of(HOUSE, who, model, now)


ASKED = st.tuples(
    st.sampled_from(KEYS),
    st.sampled_from(["gpt", "other"]),
    st.sampled_from(END_USERS),
    st.sampled_from(TAGS),
    st.sampled_from([*range(-3, 40)]).map(lambda hours: NOW + hours * HOUR) | st.integers(NOW, NOW + 40 * 24 * HOUR),
)


@given(asked=st.lists(ASKED, max_size=40), kept=st.integers(1, 5))
def test_whoever_asks_and_whenever_the_limits_are_those_of_that_moment(asked, kept):
    meetings = Meetings(kept)

    for key, model, end_user, tags, now in asked:
        met = meetings.of(HOUSE, key, model, DEPLOYMENT, end_user, tags, now)

        assert (met.who, met.limits) == anew(key, model, end_user, tags, now)
        assert met.since <= now < met.until


def test_what_is_still_true_is_the_same_object():
    meetings = Meetings()
    first = meetings.of(HOUSE, KEYS[1], "gpt", DEPLOYMENT, None, (), NOW)

    assert meetings.of(HOUSE, KEYS[1], "gpt", DEPLOYMENT, None, (), NOW + 1) is first


def test_a_key_that_was_changed_is_another_one():
    meetings = Meetings()
    meetings.of(HOUSE, KEYS[0], "gpt", DEPLOYMENT, None, (), NOW)
    changed = msgspec.structs.replace(KEYS[0], rpm_limit=0)

    found = meetings.of(HOUSE, changed, "gpt", DEPLOYMENT, None, (), NOW)

    assert [limit.maximum for limit in found.limits if limit.setting == "rpm_limit"] == [0, 90]


def test_an_increase_of_a_budget_ends_at_its_millisecond():
    meetings = Meetings()
    end = NOW + 3 * HOUR

    found = [meetings.of(HOUSE, KEYS[0], "gpt", DEPLOYMENT, None, (), now).limits[0] for now in (NOW, end - 1, end)]

    assert [limit.maximum for limit in found] == [6, 6, 1]


def test_only_the_latest_are_kept():
    meetings = Meetings(2)
    first, *_ = [meetings.of(HOUSE, key, "gpt", DEPLOYMENT, None, (), NOW) for key in KEYS]

    assert meetings.of(HOUSE, KEYS[0], "gpt", DEPLOYMENT, None, (), NOW) is not first
