"""Patterns are understood before they are used: bounds, widths, and what may still become a match."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.redaction import pattern
from extproc.redaction.pattern import InvalidPattern, beginnings, compiled, parse, render, width


@pytest.mark.parametrize(
    ("pattern", "shortest", "longest"),
    [
        ("abc", 3, 3),
        (r"\ba{2}b?\b", 2, 3),
        ("(?:ab|c){1,3}", 1, 6),
        ("(a|bc)(?i:d)", 2, 3),
        (r"[a-z\d_-]{2,5}.", 3, 6),
        (r"\x41\t[^\]\x80-\xff]", 3, 3),
        ("", 0, 0),
        ("(?i)é{2}", 2, 2),
        ("[]a]", 1, 1),
    ],
)
def test_the_width_of_a_pattern_is_computed(pattern, shortest, longest):
    assert width(parse(pattern)) == (shortest, longest)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a*", "no upper bound"),
        ("a+", "no upper bound"),
        ("a{2,}", "without an upper bound"),
        ("a{1001}", "from 1 to 1000"),
        ("a{3,2}", "n <= m"),
        ("a{0}", "from 1 to 1000"),
        ("a{x}", "must be {n}"),
        ("a{2", "must be {n}"),
        ("a??", "no upper bound|nothing to repeat|at character 3"),
        ("?", "nothing to repeat"),
        (r"\b{2}", "nothing to repeat"),
        ("a{2}{3}", "at character"),
        ("^a", "a stream does not know"),
        ("a$", "a stream does not know"),
        ("(?=a)", "known groups"),
        ("(?P<n>a)", "known groups"),
        ("(a", "not closed"),
        ("a)", "without an opening one"),
        ("[a", "not closed"),
        ("[", "not closed"),
        ("[[:alpha:]]", "named classes"),
        ("[z-a]", "same or a higher"),
        (r"[a-\d]", "same or a higher"),
        (r"[\d-a]", "same or a higher"),
        (r"\1", "not a known escape"),
        ("a\\", "not a known escape"),
        (r"\x4", "two hexadecimal digits"),
        (r"\xzz", "two hexadecimal digits"),
        ("日本", "deny list"),
        ("(" * 41 + "a" + ")" * 41, "more than 40 deep"),
        ("a" * 5000, "more than 4096"),
    ],
)
def test_what_a_pattern_may_not_say_is_refused_with_the_reason(pattern, said):
    with pytest.raises(InvalidPattern, match=said):
        parse(pattern)


def test_a_pattern_that_re2_has_no_room_for_is_refused():
    with pytest.raises(InvalidPattern, match="RE2 cannot take the pattern"):
        compiled(render(parse("(?:(?:a{1,100}){1,100}){1,10}")))


#: Patterns that both RE2 and Python's re read alike.
atoms = st.sampled_from(["a", "b", "[ab]", "[^a]", "(?:a|b)", "(?:ab|b)", "(?i:a)", r"\b", r"\B", "."])
repeated = st.tuples(
    st.sampled_from(["a", "b", "[ab]", "(?:ab)", "(?:a|bb)"]), st.sampled_from(["?", "{2}", "{1,2}", "{0,3}", "{1,10}"])
).map("".join)
sequences = st.lists(atoms | repeated, min_size=1, max_size=4).map("".join)
patterns = st.one_of(sequences, st.lists(sequences, min_size=2, max_size=3).map("|".join))
texts = st.text("abAB \n", max_size=9)


@given(patterns, texts.filter(bool))
def test_what_is_compiled_matches_what_the_pattern_says(pattern, text):
    ours = compiled(render(parse(pattern))).search(text.encode())

    assert (ours and ours.span()) == ((theirs := re.search(pattern, text, re.ASCII)) and theirs.span())


@given(patterns, texts)
def test_no_match_is_longer_or_shorter_than_computed(pattern, text):
    shortest, longest = width(parse(pattern))

    for match in re.finditer(pattern, text):
        assert shortest <= len(match[0]) <= longest


@settings(max_examples=300)
@given(patterns, texts, texts)
def test_whatever_more_text_makes_a_match_has_begun_before(pattern, text, more):
    """What is outside the beginnings is decided: its matches are the same whatever follows."""
    tree = parse(pattern)
    program = compiled(render(tree))
    begun = compiled(rf"(?:{beginnings(tree)})\z").search(text.encode())
    decided = begun.start() if begun else len(text)

    for start in range(decided):
        alone = program.match(text.encode(), start)
        longer = program.match((text + more).encode(), start)
        assert (alone and alone.span()) == (longer and longer.span())


@pytest.mark.parametrize("inside", [None, "Match of another kind", lambda *_: [(7, 7)]])
def test_a_wheel_that_has_changed_inside_is_asked_as_it_says(monkeypatch, inside):
    made = pattern.compiled("b+")

    class Changed:
        search = made.search
        if inside is not None:
            _regexp = type("Regexp", (), {"Match": staticmethod(inside) if callable(inside) else inside})

    monkeypatch.setattr(pattern, "compiled", lambda *_: Changed)
    find = pattern.finder("b+", 1)

    assert [find(b"aabba", start) for start in (0, 3, 4)] == [2, 3, -1]
