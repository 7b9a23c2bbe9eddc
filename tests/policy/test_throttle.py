"""How often something that anyone may ask for is done."""

from __future__ import annotations

from extproc.policy.throttle import Throttle


def test_a_source_may_so_often_in_a_window_and_again_in_the_next():
    throttle = Throttle(each=2, all_together=100, window_ms=1_000)

    assert [throttle.take("192.0.2.1:5", now) for now in (0, 10, 20, 999)] == [0, 0, 980, 1]
    assert throttle.take("192.0.2.1:6", 1_000) == 0


def test_one_source_does_not_slow_down_another():
    throttle = Throttle(each=1, all_together=100)
    throttle.take("192.0.2.1", 0)

    assert throttle.take("192.0.2.1", 1) > 0
    assert throttle.take("192.0.2.2", 1) == 0


def test_all_sources_together_may_so_often():
    throttle = Throttle(each=1, all_together=3, window_ms=1_000)

    assert [throttle.take(f"192.0.2.{last}", 0) for last in range(5)] == [0, 0, 0, 1_000, 1_000]


def test_what_is_refused_is_not_counted():
    throttle = Throttle(each=1, all_together=2, window_ms=1_000)
    for _ in range(5):
        throttle.take("192.0.2.1", 0)

    assert throttle.take("192.0.2.2", 0) == 0


def test_the_networks_of_one_customer_are_one_source():
    throttle = Throttle(each=1, all_together=100)
    throttle.take("[2001:db8::1]:5", 0)

    assert throttle.take("[2001:db8::2]:6", 0) > 0


def test_memory_is_bounded_by_the_sources_seen_last():
    throttle = Throttle(each=1, all_together=100, capacity=2)
    for last in range(3):
        throttle.take(f"192.0.2.{last}", 0)

    assert throttle.take("192.0.2.2", 1) > 0
    assert throttle.take("192.0.2.0", 1) == 0


def test_a_clock_that_goes_back_begins_a_new_window():
    throttle = Throttle(each=1, all_together=100)
    throttle.take("192.0.2.1", 1_000_000)

    assert throttle.take("192.0.2.1", 0) == 0
