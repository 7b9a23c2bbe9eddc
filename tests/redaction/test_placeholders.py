"""What stands for what: one number for a value."""

import pytest

from extproc.redaction import Placeholders, TooManyValues, placeholders


def test_equal_values_have_one_placeholder_and_others_another():
    vault = Placeholders()
    made = [
        vault.mask(entity, value, restorable=True) for entity, value in (("A", "x"), ("A", "y"), ("A", "x"), ("B", "x"))
    ]

    assert made == ["<A_1>", "<A_2>", "<A_1>", "<B_1>"]
    assert len(vault) == 3
    assert list(vault.values()) == [("A", "x", "<A_1>"), ("A", "y", "<A_2>"), ("B", "x", "<B_1>")]


def test_a_value_of_the_answer_becomes_restorable_once_the_client_sends_it():
    vault = Placeholders()

    assert vault.value(vault.mask("A", "x", restorable=False)) is None
    assert vault.value(vault.mask("A", "x", restorable=True)) == "x"


def test_a_hash_needs_a_key():
    with pytest.raises(ValueError, match="hashes need a key"):
        Placeholders().hash("A", "x")


def test_a_map_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(placeholders, "MAX_VALUES", 2)
    vault = Placeholders()
    vault.mask("A", "1", restorable=True)
    vault.mask("A", "2", restorable=True)

    with pytest.raises(TooManyValues, match="more than 2 values"):
        vault.mask("A", "3", restorable=True)
    assert vault.mask("A", "2", restorable=True) == "<A_2>"
