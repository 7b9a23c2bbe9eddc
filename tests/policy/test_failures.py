"""Failed authentications are counted in bounded memory, and slow down unknown keys only."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.failures import TRICKLE_MS, UNKNOWN, Failed, Failures, Pace, Recent, source_of

HERE, THERE = "192.0.2.1:1000", "192.0.2.2:1000"
PACE = Pace(attempts=3, window_ms=1_000, block_ms=5_000)


class Told:
    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.blocked: list[str] = []

    def failures(self, pace: Pace = PACE, capacity: int = 100) -> Failures:
        return Failures(pace, count=lambda reason: self.reasons.update([reason]), blocked=self.blocked.append,
                        capacity=capacity)  # fmt: skip


@pytest.fixture
def told() -> Told:
    return Told()


def guess(failures: Failures, times: int, now: int = 0, address: str = HERE) -> None:
    for number in range(times):
        failures.failed(address, UNKNOWN, now, prefix=f"sk-{number:04}", digest=f"{address}-{now}-{number}")


def test_a_source_is_blocked_with_its_last_attempt_and_told_of_once(told):
    failures = told.failures()
    guess(failures, 2)
    assert failures.wait(HERE, "new", 0) == 0

    guess(failures, 10)

    assert failures.wait(HERE, "new", 100) == 4_900
    assert told.blocked == ["192.0.2.1"]


def test_another_source_is_not_blocked(told):
    failures = told.failures()
    guess(failures, 3)

    assert failures.wait(THERE, "new", 0) == 0


def test_attempts_of_different_windows_are_not_added_up(told):
    failures = told.failures()
    for window in range(10):
        guess(failures, 2, now=window * PACE.window_ms)

    assert told.blocked == []


def test_a_block_ends_by_itself_and_may_begin_again(told):
    failures = told.failures()
    guess(failures, 3)
    assert failures.wait(HERE, "new", PACE.block_ms) == 0

    guess(failures, 3, now=PACE.block_ms)

    assert failures.wait(HERE, "new", PACE.block_ms) == PACE.block_ms
    assert len(told.blocked) == 2


def test_a_key_that_was_found_before_passes_from_a_blocked_source(told):
    failures = told.failures()
    failures.found("good")
    failures.found("good")
    guess(failures, 1_000)

    assert failures.wait(HERE, "good", 1) == 0


def test_a_key_that_was_found_and_is_gone_is_unknown_like_any_other(told):
    failures = told.failures()
    failures.found("gone")
    guess(failures, 3)

    failures.failed(HERE, UNKNOWN, 0, digest="gone")

    assert failures.wait(HERE, "gone", 1) > 0


def test_keys_that_were_never_seen_pass_a_blocked_source_at_a_trickle(told):
    failures = told.failures()
    guess(failures, 3)

    passed = [now for now in range(1_000) if failures.wait(HERE, f"new-{now}", now) == 0]

    assert passed == [*range(TRICKLE_MS, 1_000, TRICKLE_MS)]


def test_requests_that_bring_the_same_new_key_at_once_share_its_turn(told):
    failures = told.failures()
    guess(failures, 3)

    assert [failures.wait(HERE, "new", TRICKLE_MS) for _ in range(10)] == [0] * 10

    failures.failed(HERE, UNKNOWN, TRICKLE_MS, digest="new")
    assert failures.wait(HERE, "new", 2 * TRICKLE_MS) > 0


def test_a_wrong_key_that_is_sent_again_and_again_takes_nothing_of_the_trickle(told):
    failures = told.failures(Pace(attempts=3, window_ms=60_000, block_ms=300_000))
    for now in range(3):
        failures.failed(HERE, UNKNOWN, now, digest="old")

    assert all(failures.wait(HERE, "old", now) for now in range(3, 10_000, 50))
    assert failures.wait(HERE, "good", 10_000) == 0


@pytest.mark.parametrize("reason", ["no_credential", "expired_key", "key_blocked", "too_many_failures"])
def test_other_failures_are_counted_and_block_nobody(told, reason):
    failures = told.failures()
    for _ in range(100):
        failures.failed(HERE, reason, 0)

    assert told.reasons == {reason: 100}
    assert [(each.name, each.failures) for each in failures.sources(10)] == [("192.0.2.1", 100)]
    assert told.blocked == []


def test_without_attempts_nobody_is_ever_blocked(told):
    failures = told.failures(Pace(attempts=0))
    guess(failures, 1_000)

    assert failures.wait(HERE, "new", 0) == 0


def test_who_has_no_address_is_counted_and_not_blocked(told):
    failures = told.failures()
    guess(failures, 100, address="")

    assert failures.wait("", "new", 0) == 0
    assert told.reasons == {UNKNOWN: 100}
    assert failures.sources(1) == []


def test_the_worst_come_first(told):
    failures = told.failures()
    for address, times in (("a:1", 2), ("b:1", 5), ("c:1", 3)):
        guess(failures, times, address=address)

    assert [each.name for each in failures.sources(2)] == ["b", "c"]
    assert [(each.name, each.failures) for each in failures.prefixes(1)] == [("sk-0000", 3)]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 3_000)), max_size=300))
def test_memory_is_bounded_whatever_comes_and_a_good_key_always_passes(attempts):
    failures = Told().failures(capacity=5)
    failures.found("good")
    now = 0
    for source, digest, later in attempts:
        now += later
        failures.failed(f"10.0.0.{source}:1", UNKNOWN, now, prefix=f"sk-{digest}", digest=str(digest))
        assert failures.wait(f"10.0.0.{source}:1", "good", now) == 0

    kept = (len(failures._sources), len(failures._prefixes), len(failures._refused))
    assert max(kept) <= 5


@given(st.lists(st.integers(0, 20), max_size=200), st.integers(1, 10))
def test_the_most_recent_names_are_kept_and_no_others(names, capacity):
    recent: Recent[int] = Recent(capacity)
    for name in names:
        recent.put(str(name), name)

    latest = list(dict.fromkeys(reversed(names)))[:capacity]
    assert [*recent] == latest[::-1]


@pytest.mark.parametrize(("address", "source"), [
    ("192.0.2.1:80", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"),
    ("[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"), ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
    ("[fe80::1%eth0]:80", "fe80::/64"), ("", ""), ("[not:an:address]:1", "not:an:address"), ("x" * 200, "x" * 64),
])  # fmt: skip
def test_a_source_is_an_address_without_its_port_or_the_network_of_one_customer(address, source):
    assert source_of(address) == source


def test_what_is_remembered_of_a_source_says_from_when_to_when(told):
    failures = told.failures()
    guess(failures, 1, now=10)
    guess(failures, 1, now=20)

    assert failures.sources(1) == [
        Failed(name="192.0.2.1", failures=2, first_at=10, last_at=20, attempts=2, window_from=0)
    ]
