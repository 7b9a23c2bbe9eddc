"""Where texts are: the walk over a payload, and what it does with what no table names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.errors import UnknownShape
from extproc.providers.texts import DROP, FREE, JSON, KEEP, TEXT, TOKENS, Fields, Media, Parts, walk


class Shouting:
    """`Rewrite`: texts in capitals, and what was met of media."""

    def __init__(self) -> None:
        self.met: list[str] = []

    def text(self, text: str) -> str:
        return text.upper()

    def json_text(self, text: str) -> str:
        return json.dumps(_shouted(json.loads(text)))

    def name(self, text: str) -> str:
        return text.upper()

    def media(self, what: str) -> None:
        self.met.append(what)


def _shouted(value: Any) -> Any:
    if isinstance(value, str):
        return value.upper()
    if isinstance(value, list):
        return [_shouted(each) for each in value]
    return {key.upper(): _shouted(each) for key, each in value.items()} if isinstance(value, dict) else value


def walked(value, spec):
    return walk(value, spec, Shouting())


@pytest.mark.parametrize(
    ("value", "spec", "expected"),
    [
        (None, TEXT, None),
        (True, FREE, True),
        (7, FREE, 7),
        (0.5, TEXT, 0.5),
        ("a", TEXT, "A"),
        ("a", FREE, "A"),
        ("a", KEEP, "a"),
        ({"a": 1}, KEEP, {"a": 1}),
        ("a", DROP, None),
        ("a", TOKENS, "A"),
        (["a", "b"], TOKENS, ["A", "B"]),
        (["a"], TEXT, ["A"]),
        ('{"a": "b"}', JSON, '{"A": "B"}'),
        ({"a": ["b", 1]}, FREE, {"A": ["B", 1]}),
        ({"a": "b"}, JSON, {"A": "B"}),
        ({"a": "b", "c": "d"}, Fields({"a": KEEP}), {"a": "b", "c": "D"}),
        ([{"a": "b"}, {"c": "d"}], Fields({"a": KEEP}), [{"a": "b"}, {"c": "D"}]),
        ("a", Fields({}), "A"),
        ("a", Parts({}), "A"),
        (["a", {"type": "t", "x": "b"}], Parts({"t": Fields({"type": KEEP})}), ["A", {"type": "t", "x": "B"}]),
    ],
)
def test_each_kind_of_value_is_rewritten_as_its_table_says(value, spec, expected):
    assert walked(value, spec) == expected


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ([1, 2], TOKENS),
        ({"a": 1}, TOKENS),
        ([["a"]], TEXT),
        ([{"type": "hologram"}], Parts({})),
        ([{"no": "type"}], Parts({})),
        ([{"type": ["t"]}], Parts({})),
        ([7], Parts({})),
        (7, Fields({})),
        ({"type": "t"}, Parts({"t": FREE})),
    ],
)
def test_content_of_a_shape_that_nobody_knows_is_an_error(value, spec):
    with pytest.raises(UnknownShape):
        walked(value, spec)


def test_media_is_told_of_and_stays():
    shouting = Shouting()

    assert walk({"url": "x"}, Media("image"), shouting) == {"url": "x"}
    assert shouting.met == ["image"]


@pytest.mark.parametrize(
    ("value", "spec", "expected"),
    [
        ({"Ann@x": 1, "role": "r"}, Fields({"role": KEEP}), {"ANN@X": 1, "role": "r"}),
        ({"r": {"Ann@x": ["a@b"]}}, Fields({"r": KEEP}), {"r": {"ANN@X": ["A@B"]}}),
        ("call_1aB-.:/+=", KEEP, "call_1aB-.:/+="),
        ("a b", KEEP, "A B"),
        ([1, True, None], KEEP, [1, True, None]),
    ],
)
def test_names_of_fields_and_ids_that_are_none_are_texts(value, spec, expected):
    assert walked(value, spec) == expected


def test_a_number_as_long_as_a_card_is_searched_wherever_it_stands():
    class Masking(Shouting):
        def name(self, text: str) -> str:
            return "masked" if text == "4111111111111111" else text

    number = 4111111111111111
    assert [walk(number, spec, Masking()) for spec in (FREE, TEXT, KEEP)] == ["masked"] * 3
    assert [walk(other, FREE, Masking()) for other in (1700000000, 10**18)] == [1700000000, 10**18]
