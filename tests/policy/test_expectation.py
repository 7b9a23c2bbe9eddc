"""What is expected of an answer follows the answers before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.expectation import COLD_STREAM_TOKENS, COLD_TOKENS, REMEMBERED, Expectations, Expected

ANSWERS = st.lists(st.integers(0, 10_000), min_size=1, max_size=100)


def test_nothing_known_is_a_guess_within_the_ceiling():
    nothing = Expectations()

    assert nothing.expect("key", "model", None, stream=False) == Expected(COLD_TOKENS, learned=False)
    assert nothing.expect("key", "model", None, stream=True) == Expected(COLD_STREAM_TOKENS, learned=False)
    assert nothing.expect("key", "model", 7, stream=False) == Expected(7, learned=False)


@given(ANSWERS)
def test_nine_of_ten_answers_are_no_longer_than_expected(answers):
    seen = Expectations()
    for tokens in answers:
        seen.observe("key", "model", tokens)
    last = answers[-REMEMBERED:]

    expected = seen.expect("key", "model", None, stream=False).tokens

    assert expected in last
    assert sum(tokens <= expected for tokens in last) * 10 >= len(last) * 9
    assert sum(tokens < expected for tokens in last) * 10 < len(last) * 9


@given(ANSWERS, st.integers(0, 20_000))
def test_the_ceiling_is_never_exceeded(answers, ceiling):
    seen = Expectations()
    for tokens in answers:
        seen.observe("key", "model", tokens)

    assert seen.expect("key", "model", ceiling, stream=False).tokens <= ceiling


def test_a_key_without_answers_is_guessed_to_be_like_the_others():
    seen = Expectations()
    seen.observe("other", "model", 40)

    assert seen.expect("key", "model", None, stream=True) == Expected(40, learned=True)
    assert seen.expect("key", "another model", None, stream=False) == Expected(COLD_TOKENS, learned=False)


def test_a_keys_own_answers_count_before_those_of_others():
    seen = Expectations()
    seen.observe("key", "model", 5)
    for _ in range(50):
        seen.observe("other", "model", 4_000)

    assert seen.expect("key", "model", None, stream=False).tokens == 5


def test_the_memory_is_bounded_and_keeps_what_was_used_last():
    seen = Expectations(pairs=4)
    for number in range(100):
        seen.observe(f"key {number}", "model", number)

    assert len(seen._seen) == 4
    assert seen.expect("key 99", "model", None, stream=False).tokens == 99
