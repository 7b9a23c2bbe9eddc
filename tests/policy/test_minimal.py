"""What of a request is written down."""

from __future__ import annotations

import pytest

from extproc.policy.minimal import MOST_METADATA_BYTES, TOO_LARGE, TOO_LONG, Kept

TOLD = {"user_consent": "storage:true", "patient": "Ann", "trace": {"id": 1}}


def test_all_of_the_metadata_is_kept_unless_fields_are_named():
    assert Kept().metadata(TOLD) == TOLD


def test_only_the_fields_that_are_named_are_kept():
    assert Kept(metadata_fields=frozenset({"user_consent", "absent"})).metadata(TOLD) == {
        "user_consent": "storage:true"
    }
    assert Kept(metadata_fields=frozenset()).metadata(TOLD) == {}


def test_metadata_as_long_as_a_document_is_left_out_and_that_is_told():
    fits = {"a": "x" * (MOST_METADATA_BYTES - len('{"a":""}'))}

    assert Kept().metadata(fits) == fits
    assert Kept().metadata({"a": fits["a"] + "x"}) == TOO_LONG


def test_what_is_left_out_does_not_count():
    assert Kept(metadata_fields=frozenset({"a"})).metadata({"a": "b", "c": "x" * MOST_METADATA_BYTES}) == {"a": "b"}


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_a_number_that_no_receipt_can_hold_is_left_out_and_that_is_told(number):
    assert Kept().metadata({"a": [{"b": number}]}) == TOO_LARGE
    assert Kept(metadata_fields=frozenset({"c"})).metadata({"a": number, "c": 1}) == {"c": 1}


def test_other_numbers_are_kept():
    told = {"a": [2**64 - 1, -(2**63), 1.5e300, True, None]}

    assert Kept().metadata(told) == told
