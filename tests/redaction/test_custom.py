"""An operator's own patterns and lists are checked when they are read, and found like all others."""

import pytest
from redaction.redacting import found, redactor

from extproc.redaction import Action, InvalidPattern, deny_list, recognizer


def custom(row):
    return redactor({row.entity: Action.MASK}, custom=(row,))


def test_a_custom_pattern_is_found():
    row = recognizer("EMPLOYEE", r"\bE-\d{5}\b")

    assert (row.longest, found(custom(row), "ask E-12345.")) == (7, [("EMPLOYEE", "E-12345")])


def test_a_custom_pattern_may_ask_for_a_context():
    row = recognizer("EMPLOYEE", r"\b\d{5}\b", ["employee"], 0.1)

    assert found(custom(row), "12345, employee 12345") == [("EMPLOYEE", "12345")]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"E-\d+", "no upper bound"),
        (r"\d{0,3}", "matches the empty text"),
        ("(?:a{1,900}){3}", "longest match has 2700"),
        ("(?:a{1,50}){1,40}", "RE2 cannot take"),
        ("(", "not closed"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(pattern, said):
    with pytest.raises(InvalidPattern, match=said):
        recognizer("EMPLOYEE", pattern)


@pytest.mark.parametrize(
    ("word", "text", "value"),
    [
        ("Project X", "about project x.", "project x"),
        ("Acme", "ACME's", "ACME"),
        ("\xc9lan", "an \xe9lan vital", "\xe9lan"),
        ("\u041f\u043b\u0430\u043d", "x\u043f\u043b\u0430\u043d", "\u043f\u043b\u0430\u043d"),
        ("\u5317\u4eac", "\u5728\u5317\u4eac\u5e02", "\u5317\u4eac"),
        ("c++", "in C++, yes", "C++"),
    ],
)  # fmt: skip
def test_a_word_is_found_in_any_case_and_any_script(word, text, value):
    assert found(custom(deny_list("SECRET_PROJECT", [word, "other"])), text) == [("SECRET_PROJECT", value)]


def test_a_word_is_not_found_inside_another():
    assert found(custom(deny_list("WORDS", ["art"])), "start party") == []


def test_of_listed_words_the_longest_counts():
    assert found(custom(deny_list("WORDS", ["red", "red team"])), "the red team") == [("WORDS", "red team")]


@pytest.mark.parametrize("words", [[], ["x"] * 0, [str(number) for number in range(1001)]])
def test_a_list_has_words_but_not_too_many(words):
    with pytest.raises(InvalidPattern, match="1 to 1000 words"):
        deny_list("WORDS", words)


@pytest.mark.parametrize("word", [" ", "\u200b", "x" * 201])
def test_a_word_has_characters_but_not_too_many(word):
    with pytest.raises(InvalidPattern, match="1 to 200 visible characters"):
        deny_list("WORDS", [word])
