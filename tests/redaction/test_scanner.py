"""What is decided in a text that is still coming, and what is not."""

import pytest

from extproc.redaction import InvalidPattern, Recognizer, scanner
from extproc.redaction.recognizer import scored_in_context
from extproc.redaction.scanner import Action, Rule, Scanner


def scan(row, seen, start=0, *, final=False):
    matches, open_from = Scanner([Rule(row, Action.MASK, 0.4)]).scan(seen, start, final=final)
    return [(match.start, match.end) for match in matches], open_from


def test_a_match_that_could_grow_is_not_decided():
    row = Recognizer("A", "ab{1,3}", 4)

    assert scan(row, b"xab") == ([], 1)
    assert scan(row, b"xabbb") == ([(1, 5)], 5)
    assert scan(row, b"xab", final=True) == ([(1, 3)], 3)


def test_a_match_that_waits_for_what_follows_is_not_decided():
    row = Recognizer("A", r"\bab\b", 2)

    assert scan(row, b"ab") == ([], 0)
    assert scan(row, b"ab ") == ([(0, 2)], 3)
    assert scan(row, b"abc") == ([], 3)
    assert scan(row, b"xab ", 1) == ([], 4)


def test_a_refused_match_is_tried_shorter_but_not_for_ever():
    row = Recognizer("A", "a{1,20}", 20, lambda text: len(text) == 1)

    assert scan(row, b"a" * 5, final=True)[0] == [(place, place + 1) for place in range(5)]
    assert scan(row, b"a" * 20, final=True)[0][0] == (12, 13)


def test_what_waits_for_the_end_of_a_block_is_searched_no_second_time():
    """A stream may bring a block in thousands of pieces, each with all that waits."""
    asked = []

    def valid(text):
        asked.append(text)
        return True

    block = Recognizer("A", "<", 10_000, until=">", block_characters="a-z0-9>")
    inside = Recognizer("B", "[0-9]{2}", 2, valid)
    rules = Scanner([Rule(row, Action.MASK, 0.4) for row in (inside, block)])

    for size in range(500):
        assert rules.scan(b"77 <" + b"a1122b" * size, 3, final=False) == ([], 3)
    assert asked == []
    matches, open_from = rules.scan(b"77 <" + b"a1122b" * 100 + b">", 3, final=False)
    assert [(match.start, match.end) for match in matches] == [(3, 605)]
    assert open_from == 605


def test_a_block_waits_for_its_end():
    row = Recognizer("A", "<", 8, until=">", block_characters="a-z>")

    assert scan(row, b"x<abc") == ([], 1)
    assert scan(row, b"x<abc>d") == ([(1, 6)], 7)
    assert scan(row, b"x<abc d") == ([(1, 5)], 7)
    assert scan(row, b"x<abcdefghijk") == ([(1, 9)], 13)


def test_a_whole_block_never_begins_behind_its_own_characters():
    row = Recognizer("A", "[ab]{2}", 99, lambda text: text != "aa", block_characters="ab", whole=True)

    assert scan(row, b"-abab-") == ([(1, 5)], 6)
    assert scan(row, b"-aa-") == ([], 4)
    assert scan(row, b"-abab-", 3) == ([], 6)


def test_a_word_of_the_context_makes_a_weak_match_count():
    row = Recognizer("A", r"\b\d{3}\b", 3, context=("key",), score=0.05)

    assert scan(row, b"api_key 123 ")[0] == [(8, 11)]
    assert scan(row, b"monkey 123 ")[0] == []
    assert scan(row, b"key " + b"x" * 61 + b" 123 ")[0] == []


def test_a_context_is_worth_what_presidio_gives_it():
    assert [scored_in_context(score) for score in (0.0, 0.05, 0.5, 0.9)] == [0.4, 0.4, 0.85, 1.0]


def test_a_context_does_not_help_below_the_threshold():
    row = Recognizer("A", r"\b\d{3}\b", 3, context=("key",), score=0.05)

    assert Scanner([Rule(row, Action.MASK, 0.9)]).scan(b"key 123 ", 0, final=True)[0] == []


def test_patterns_that_have_no_room_together_are_refused(monkeypatch):
    monkeypatch.setattr(scanner, "_MAX_TABLE_BYTES", 1000)

    with pytest.raises(InvalidPattern, match="no room for all patterns together"):
        scan(Recognizer("A", "a{1,900}", 900), b"")


def test_what_may_have_begun_began_no_longer_ago_than_a_match_is_long():
    row = Recognizer("A", "[ab]{2,20}x", 21)
    block = Recognizer("B", "<", 500, block_characters="a-z")

    assert scan(row, b"ab" * 100) == ([], 200 - 21)
    assert Scanner([Rule(row, Action.MASK, 0), Rule(block, Action.MASK, 0)]).scan(b"ab" * 100, 0, final=False)[1] == 179
