"""A large list or object is cut where an element ends, and nothing of it is lost."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.framing.pieces import PIECE_BYTES, members, pieces

scalars = st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a,"\\[]{}: \u00e9'), max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner), max_leaves=8
)
repeats = st.sampled_from((1, 7, 600, 3_000))


@given(st.lists(values, max_size=4), repeats, st.booleans(), st.sampled_from((None, 1)))
def test_the_pieces_of_a_list_are_lists_of_all_its_elements(some, repeat, ascii_only, indent):
    value = some * repeat
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    found = [json.loads(piece) for piece in pieces(raw)]

    assert [element for piece in found for element in piece] == value


@given(st.dictionaries(st.text(max_size=3), values, max_size=4), repeats)
def test_the_members_of_an_object_are_all_that_it_has(some, repeat):
    value = {f"{name}{place}": each for place in range(repeat) for name, each in some.items()}

    found = members(json.dumps(value).encode())

    assert {name: json.loads(bytes(raw)) for name, raw in found.items()} == value


def test_of_equal_names_the_last_counts_however_far_apart_they_are():
    between = ",".join(f'"n{place}":0' for place in range(PIECE_BYTES))

    assert bytes(members(f'{{"a":1,{between},"\\u0061":2}}'.encode())["a"]) == b"2"


@pytest.mark.parametrize("element", ["1", '"a"', '{"a":[1,{"b":2}]}', "[]", '"\\",["'])
def test_a_piece_of_many_small_elements_is_small(element):
    raw = b"[%b]" % b",".join([element.encode()] * 100_000)

    assert max(map(len, pieces(raw))) <= PIECE_BYTES + 600 * (len(element) + 1)


def test_an_element_is_never_cut():
    long = ["a" * 3 * PIECE_BYTES, ["b"] * 2 * PIECE_BYTES, "c"]

    assert [json.loads(piece) for piece in pieces(json.dumps(long).encode())] == [[long[0]], [long[1]], [long[2]]]


@pytest.mark.parametrize("raw", [b"", b"1", b'"[]"', b"[1", b'{"a":1'])
def test_what_is_neither_list_nor_object_is_an_error(raw):
    with pytest.raises(ValueError, match="neither a list nor an object"):
        list(pieces(raw))


def test_what_is_in_a_piece_is_not_checked():
    with pytest.raises(msgspec.DecodeError):
        members(b'{"a" 1}')
