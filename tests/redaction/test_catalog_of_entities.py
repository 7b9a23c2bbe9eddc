"""Which recognizers find an entity, and which of two equal findings counts."""

import pytest

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
