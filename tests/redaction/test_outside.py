"""What others found, made one with what the engine did."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import Blocked
from extproc.redaction import Action, Findings, Placeholders
from extproc.redaction.outside import Found, Outside

MASKS = Outside({"PERSON": Action.MASK, "LOCATION": Action.MASK, "NRP": Action.ALLOW})


def redact(text: str, *found: Found, outside: Outside = MASKS, vault: Placeholders | None = None) -> str:
    return outside.redact(text, found, Placeholders(b"key") if vault is None else vault, Findings())


def person(start: int, end: int, score: float = 0.9) -> Found:
    return Found(start, end, "PERSON", score)


def test_findings_are_masked_in_any_order_and_equal_values_look_alike():
    assert redact("Ann, Bob, Ann", person(10, 13), person(0, 3), person(5, 8)) == "<PERSON_1>, <PERSON_2>, <PERSON_1>"


def test_what_has_no_action_or_is_allowed_passes():
    assert redact("Ann", Found(0, 3, "NRP", 1.0), Found(0, 3, "ORGANIZATION", 1.0)) == "Ann"
    assert MASKS.entities == ("PERSON", "LOCATION")


@pytest.mark.parametrize(("score", "expected"), [(0.39, "Ann"), (0.4, "<PERSON_1>")])
def test_a_weak_finding_is_none(score, expected):
    assert redact("Ann", person(0, 3, score)) == expected


def test_an_entity_may_have_a_threshold_of_its_own():
    outside = Outside({"PERSON": Action.MASK, "LOCATION": Action.MASK}, threshold=0.2, thresholds={"PERSON": 0.95})

    assert redact("Ann Bonn", person(0, 3), Found(4, 8, "LOCATION", 0.3), outside=outside) == "Ann <LOCATION_1>"


def test_findings_that_overlap_become_one_and_no_tail_is_left():
    assert redact("Ann Lee Bonn!", person(0, 7), Found(4, 12, "LOCATION", 0.9)) == "<PERSON_1>!"


def test_what_blocks_gives_its_name_to_what_it_overlaps():
    outside = Outside({"PERSON": Action.MASK, "LOCATION": Action.BLOCK})

    with pytest.raises(Blocked, match="LOCATION"):
        redact("Ann Lee Bonn", person(0, 7), Found(4, 12, "LOCATION", 0.9), outside=outside)


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        ("<EMAIL_ADDRESS_1>", person(0, 17), "<EMAIL_ADDRESS_1>"),
        ("<EMAIL_ADDRESS_1>", person(1, 6), "<EMAIL_ADDRESS_1>"),
        ("Ann <EMAIL_ADDRESS_1> Lee", person(0, 25), "<PERSON_1> <EMAIL_ADDRESS_1> <PERSON_2>"),
        ("Ann<CREDIT_CARD_0123456789abcdef>", person(0, 8), "<PERSON_1><CREDIT_CARD_0123456789abcdef>"),
    ],
)
def test_a_finding_is_cut_around_placeholders(text, found, expected):
    assert redact(text, found) == expected


def test_a_dry_run_counts_and_changes_nothing():
    findings = Findings()
    outside = Outside({"PERSON": Action.BLOCK}, dry_run=True)

    assert outside.redact("Ann", [person(0, 3)], Placeholders(), findings) == "Ann"
    assert findings.counts == {("PERSON", Action.BLOCK): 1}


def test_what_is_found_in_answers_is_not_put_back():
    vault = Placeholders()

    redact("Ann", person(0, 3), outside=Outside({"PERSON": Action.MASK}, restorable=False), vault=vault)

    assert vault.value("<PERSON_1>") is None
    redact("Ann", person(0, 3), vault=vault)
    assert vault.value("<PERSON_1>") == "Ann"


@given(
    st.text(alphabet="ab <>_1P", max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)
)
def test_whatever_is_found_what_was_found_is_gone_and_the_rest_stays(text, places):
    found = [person(start, min(end, len(text))) for start, end in places if start < min(end, len(text))]
    outside, findings = Outside({"PERSON": Action.HASH}), Findings()

    redacted = outside.redact(text, found, Placeholders(b"key"), findings)

    kept, at = [], 0
    for span in findings.spans:
        assert at <= span.start < span.end <= len(text)
        kept.append(text[at : span.start])
        at = span.end
    kept.append(text[at:])
    rest = redacted
    for part in kept:
        assert part in rest
        rest = rest[rest.index(part) + len(part) :]
    covered = {place for span in findings.spans for place in range(span.start, span.end)}
    missed = {place for one in found for place in range(one.start, one.end)} - covered
    ours = {place for match in re.finditer("<P+_1+>", text) for place in range(*match.span())}
    assert all(text[place].isspace() or place in ours for place in missed)


def test_a_placeholder_elsewhere_is_nothing_to_a_finding():
    assert redact("<EMAIL_ADDRESS_1> is Ann", person(21, 24)) == "<EMAIL_ADDRESS_1> is <PERSON_1>"
