"""Which recognizers find an entity, and which of two equal findings counts."""

import pytest
from redaction.redacting import compiled, found

from extproc.redaction import ENTITIES, UnknownEntity, catalog


def test_an_entity_may_have_several_recognizers():
    assert len(catalog.recognizers("US_SSN", {})) == 2


def test_the_check_of_an_extra_is_asked_besides_the_own():
    own, *_ = catalog.recognizers("CREDIT_CARD", {"CREDIT_CARD": lambda text: text.startswith("5")})

    assert own.valid
    assert [own.valid(card) for card in ("5555555555554444", "4111111111111111", "5555555555554445")] == [
        True,
        False,
        False,
    ]


def test_an_entity_of_the_configuration_needs_no_other_recognizer():
    assert catalog.recognizers("EMPLOYEE", {}, required=False) == []
    with pytest.raises(UnknownEntity, match="no recognizer finds 'EMPLOYEE'"):
        catalog.recognizers("EMPLOYEE", {})


def test_entities_of_the_configuration_stand_before_all_others():
    ranks = [catalog.rank(entity) for entity in ("EMPLOYEE", *ENTITIES)]

    assert ranks == sorted(ranks)


def test_a_number_with_a_check_digit_is_named_before_one_without():
    order = ["UK_NHS", "AU_ACN", "ABA_ROUTING_NUMBER"]

    assert max(map(catalog.rank, order)) < min(map(catalog.rank, ["US_SSN", "US_PASSPORT", "PHONE_NUMBER"]))
    assert found(compiled("PHONE_NUMBER", "UK_NHS"), "943 476 5919") == [("UK_NHS", "943 476 5919")]
