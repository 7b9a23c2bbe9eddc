"""A text is seen as a reader sees it, and every place in the view leads back to the text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.redaction.view import FIRST_LETTER, LETTERS, OTHER, View, see, unescaped, without_begun_escape


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("joe@x.com", b"joe@x.com"),
        ("\uff4a\uff4f\uff45\uff20", b"joe@"),
        ("j\u200bo\u00ade\ufeff\u2066", b"joe"),
        ("\u0664\u0661\u0967", b"411"),
        ("1\u00a02\u20033", b"1 2 3"),
        ("1\u20112\u22123", b"1-2-3"),
        ("\U0001d4d3oe\u2460", b"Doe1"),
        ("caf\xe9 \xa7", b"caf\xe9 \xa7"),
        ("\x85\u2603", bytes([OTHER, OTHER])),
        ("\ud800", bytes([OTHER])),
    ],
)
def test_forms_of_a_character_are_seen_as_the_character(text, seen):
    assert see(text) == seen


def test_letters_of_other_scripts_are_letters_and_differ():
    seen = see("\u0416\u0436\u65e5\u672c\u0301")

    assert all(FIRST_LETTER <= byte < FIRST_LETTER + LETTERS for byte in seen)
    assert seen[0] == seen[1]
    assert seen[2] != seen[3]


@given(st.text(), st.text())
def test_a_view_can_be_built_piece_by_piece(one, two):
    assert see(one) + see(two) == see(one + two)


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8") | st.sampled_from("\u200b\xad\uff20a")), st.integers(0, 9))
    ),
    st.integers(0, 2),
)
def test_a_view_that_grows_and_forgets_is_the_view_of_what_is_left(pieces, levels):
    view, left = View("", escaped=levels == 2), ""
    for piece, most in pieces:
        come = piece if levels else piece.replace("\\", "")
        for _ in range(levels):
            come = json.dumps(come)[1:-1]
        view.grow(come)
        gone = min(most, len(view.seen))
        left = (left + come)[view.start(gone) :]
        view.drop(gone)

        again = View(left, escaped=levels == 2)
        assert (view.text, view.seen) == (again.text, again.seen)
        places = range(len(view.seen) + 1)
        assert [view.start(place) for place in places] == [again.start(place) for place in places]
        assert [view.end(place) for place in places[1:]] == [again.end(place) for place in places[1:]]


@given(st.text(st.characters() | st.sampled_from("\u200b\xad\uff20 a\\n"), min_size=1))
def test_every_place_of_the_view_leads_to_its_character(text):
    view = View(text)

    for place in range(len(view.seen)):
        assert see(unescaped(text[view.start(place) : view.end(place + 1)])) == view.seen[place : place + 1]
    assert view.start(len(view.seen)) == len(text)


@given(st.text())
def test_an_escaped_text_is_seen_as_what_it_stands_for(text):
    escaped = json.dumps(text)[1:-1]

    assert View(escaped).seen == see(text)
    assert View(escaped, escaped=True).seen == View(text).seen
    assert unescaped(escaped) == text


def test_what_is_no_escape_is_seen_as_it_stands():
    assert View(r"\q\u12 \\u0040").seen == rb"\q\u12 \u0040"
    assert unescaped(r"\q\/") == r"\q/"


def test_places_behind_an_escape_are_places_in_the_text():
    view = View(r"a\u0040b")

    assert view.seen == b"a@b"
    assert (view.start(1), view.end(2), view.start(3)) == (1, 7, 8)


def test_the_table_of_characters_does_not_grow_without_end():
    many = "".join(map(chr, range(0x20000, 0x32000)))

    assert see(many) == see(many)


@pytest.mark.parametrize(
    ("text", "length"),
    [("ab", 2), ("ab\\", 2), ("ab\\u00", 2), ("ab\\\\", 4), ("ab\\\\\\", 4), ("ab\\\\u00", 7), (r"a\\ud835\u", 8)],
)
def test_only_an_escape_that_has_begun_waits(text, length):
    assert without_begun_escape(text) == length
