"""A policy says what to look for and what to do, and asks for nothing that cannot be found."""

import pytest
from redaction.redacting import found, redactor

from extproc.redaction import ENTITIES, Action, Direction, Placeholders, Policy, UnknownEntity, recognizer, validators


def test_each_direction_has_its_own_actions():
    policy = Policy(request={"EMAIL_ADDRESS": Action.MASK}, response={"US_SSN": Action.MASK})

    assert found(policy.compile(Direction.REQUEST), "a@example.com 536-90-4399") == [("EMAIL_ADDRESS", "a@example.com")]
    assert found(policy.compile(Direction.RESPONSE), "a@example.com 536-90-4399") == [("US_SSN", "536-90-4399")]


def test_what_is_allowed_is_not_looked_for():
    assert redactor({"EMAIL_ADDRESS": Action.ALLOW}).idle


@pytest.mark.parametrize("entity", ["PERSON_OF_INTEREST", "email", "LITERAL", "A-B", ""])
def test_an_entity_that_nothing_finds_is_refused(entity):
    with pytest.raises(UnknownEntity):
        redactor({entity: Action.MASK})


def test_every_entity_can_be_found_with_the_extras():
    policy = Policy(request=dict.fromkeys(ENTITIES, Action.MASK))

    assert not policy.compile(Direction.REQUEST, validators()).idle


def test_a_threshold_asks_for_more_certainty():
    text = "536-90-4399, ssn 536904399"

    assert len(found(redactor({"US_SSN": Action.MASK}), text)) == 2
    assert len(found(redactor({"US_SSN": Action.MASK}, threshold=0.5), text)) == 1
    assert len(found(redactor({"US_SSN": Action.MASK}, thresholds={"US_SSN": 0.9}), text)) == 0


def test_an_operator_may_add_words_of_context():
    added = redactor({"US_PASSPORT": Action.MASK}, context={"US_PASSPORT": ("reisepass",)})

    assert found(added, "Reisepass C12345678") == [("US_PASSPORT", "C12345678")]


def test_a_custom_recognizer_adds_to_one_that_is_built_in():
    added = redactor({"EMAIL_ADDRESS": Action.MASK}, custom=(recognizer("EMAIL_ADDRESS", r"\bhome:\d{3}\b"),))

    assert len(found(added, "a@example.com home:123")) == 2


def test_of_equal_matches_the_more_certain_kind_counts():
    policy = {"GATEWAY_KEY": Action.MASK, "OPENAI_API_KEY": Action.MASK}
    text = redactor(policy).redact("sk-proj-abcdefghijklmnopqrstuvwxyz", Placeholders()).text

    assert text == "<OPENAI_API_KEY_1>"


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        ("my ssn is secret. passport# 487263417", "US_PASSPORT"),
        ("passport, no: the ssn: 487263417", "US_SSN"),
        ("ssn: 524-29-2339, passport: no, license 487263417", "US_DRIVER_LICENSE"),
        ("license, and my bank account 487263417", "US_BANK_NUMBER"),
        # A check digit says more than a word.
        ("routing number of my account 021000021", "ABA_ROUTING_NUMBER"),
        # A number that counts without a context is not asked for one.
        ("passport 536-90-4399", "US_SSN"),
    ],
)
def test_what_only_its_context_tells_is_what_the_nearest_word_says(text, entity):
    entities = ("US_SSN", "US_PASSPORT", "US_BANK_NUMBER", "US_DRIVER_LICENSE", "ABA_ROUTING_NUMBER")

    assert found(redactor(dict.fromkeys(entities, Action.MASK)), text)[-1][0] == entity


def test_a_run_beside_a_password_is_no_secret_where_it_is_something_else():
    policy = redactor({"SECRET": Action.MASK, "MX_CURP": Action.MASK})

    assert [name for name, _ in found(policy, "password, CURP BOXW310820HNERXN09")] == ["MX_CURP"]
