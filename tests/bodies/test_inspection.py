"""Which texts others are asked about, and how their findings come back into a payload."""

from __future__ import annotations

import json

import pytest

from extproc.bodies.inspection import Collected, Inspection, Replaced, Restored
from extproc.redaction import Action, Direction, Placeholders
from extproc.redaction.outside import Found, Outside

MASKS = Outside({"PERSON": Action.MASK})


def collected(*texts: str) -> tuple[str, ...]:
    found = Collected()
    assert [found.text(text) for text in texts] == [*texts]
    return found.texts


def replaced(text: str, name: str = "Ann") -> str:
    seen = Collected()
    assert seen.json_text(text) == text
    found = {
        each: [Found(each.index(name), each.index(name) + len(name), "PERSON", 1.0)]
        for each in seen.texts
        if name in each
    }
    return Replaced(MASKS, found, Placeholders()).json_text(text)


def test_a_text_is_asked_about_once_and_white_space_never():
    assert collected("Ann", "", " \n", "Bob", "Ann") == ("Ann", "Bob")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('{"to": "Ann"}', '{"to": "<PERSON_1>"}'),
        ('{"Ann": 1.50, "n": 12345678901234567890}', '{"<PERSON_1>": 1.50, "n": 12345678901234567890}'),
        ('{"a": "Ann", "a": "Ann"}', '{"a": "<PERSON_1>", "a": "<PERSON_1>"}'),
        (r'{"a": "\u0041nn says \"hi\""}', r'{"a": "<PERSON_1> says \"hi\""}'),
        ('["\\ud83d\\ude00 Ann"]', '["\\ud83d\\ude00 <PERSON_1>"]'),
        ('"Ann"', '"<PERSON_1>"'),
    ],
)
def test_json_inside_a_string_stays_json_and_its_strings_are_read_through_escapes(given, expected):
    assert replaced(given) == expected
    json.loads(replaced(given))


def test_what_is_no_json_is_a_text():
    assert replaced('{"to": "Ann" and more') == '{"to": "<PERSON_1>" and more'


def test_what_was_masked_is_put_back_in_texts_and_in_json():
    vault = Placeholders()
    vault.mask("PERSON", 'Ann "A" Lee', restorable=True)

    assert Restored(vault).text("<PERSON_1>!") == 'Ann "A" Lee!'
    assert json.loads(Restored(vault).json_text('{"to": "<PERSON_1>"}')) == {"to": 'Ann "A" Lee'}


def test_where_nothing_is_to_be_found_nobody_is_asked():
    inspection = Inspection(None, MASKS, Outside({"PERSON": Action.ALLOW}))  # type: ignore[arg-type]

    assert inspection.acting(Direction.REQUEST) is MASKS
    assert inspection.acting(Direction.RESPONSE) is None


def test_names_and_ids_are_texts_that_others_are_asked_about_and_are_put_back():
    vault, seen = Placeholders(), Collected()
    vault.mask("PERSON", "Ann", restorable=True)
    replaced = Replaced(MASKS, {"id of Ann": [Found(6, 9, "PERSON", 1.0)]}, vault)

    assert seen.name("id of Ann") == "id of Ann"
    assert seen.texts == ("id of Ann",)
    assert replaced.name("id of Ann") == "id of <PERSON_1>"
    assert Restored(vault).name("id of <PERSON_1>") == "id of Ann"
