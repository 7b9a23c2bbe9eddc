"""Placeholders become values again, however a model writes them and however they arrive."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redaction.redacting import compiled, cut, redactor
from redaction.test_streaming import sizes, streamed

from extproc.redaction import Action, Direction, Placeholders, Restorer

VALUE = 'joe "j\\o"\n@example.com'


@pytest.fixture
def vault():
    made = Placeholders()
    made.mask("EMAIL_ADDRESS", VALUE, restorable=True)
    made.mask("EMAIL_ADDRESS", "of-an-answer@example.com", restorable=False)
    return made


@pytest.mark.parametrize(
    "written", ["<EMAIL_ADDRESS_1>", "<email_address_1>", "<Email_Address_1>", r"<EMAIL\_ADDRESS\_1>"]
)
def test_a_placeholder_is_read_as_models_write_it(vault, written):
    restorer = Restorer(vault)

    assert restorer.restore(f"to {written}, <") == f"to {VALUE}, <"
    assert restorer.restored == 1


@pytest.mark.parametrize(
    "text",
    ["<EMAIL_ADDRESS_2>", "<EMAIL_ADDRESS_3>", "<EMAIL_ADDRESS_11>", "EMAIL_ADDRESS_1", "<EMAIL ADDRESS_1>", "<<>"],
)
def test_what_is_none_of_the_clients_values_stays(vault, text):
    assert Restorer(vault).restore(text) == text
    assert streamed(Restorer(vault), list(text)) == text


@pytest.mark.parametrize("written", ["<EMAIL_ADDRESS_1>", r"\u003cEMAIL_ADDRESS_1\u003E", r"<EMAIL\\_ADDRESS\\_1>"])
def test_inside_json_a_value_is_escaped(vault, written):
    text = f'{{"to": "{written}"}}'

    assert json.loads(Restorer(vault, escaped=True).restore(text)) == {"to": VALUE}
    assert json.loads(streamed(Restorer(vault, escaped=True), list(text))) == {"to": VALUE}


def test_an_escaped_backslash_begins_no_escape(vault):
    text = r"\\u003cEMAIL_ADDRESS_1>"

    assert Restorer(vault, escaped=True).restore(text) == text


def test_half_a_character_is_escaped_in_json():
    vault = Placeholders()
    vault.mask("NAME", "\ud800", restorable=True)

    assert Restorer(vault, escaped=True).restore("<NAME_1>") == r"\ud800"


pieces = st.sampled_from(
    [
        "<EMAIL_ADDRESS_1>",
        "<email_",
        "address",
        "_1>",
        "<",
        ">",
        "\\",
        "\\\\",
        r"\u003c",
        "u003e",
        "_",
        "1",
        "x",
        '"',
        r"\_",
    ]
)


@given(st.lists(pieces, max_size=20).map("".join), sizes, st.booleans())
def test_any_pieces_give_what_the_whole_gives(text, sizes, escaped):
    vault = Placeholders()
    vault.mask("EMAIL_ADDRESS", VALUE, restorable=True)

    assert streamed(Restorer(vault, escaped=escaped), cut(text, sizes)) == Restorer(vault, escaped=escaped).restore(
        text
    )


def test_only_what_may_be_a_placeholder_waits(vault):
    restorer = Restorer(vault)

    assert restorer.feed("to <EMAIL_AD") == "to "
    assert restorer.held == len("<EMAIL_AD")
    assert restorer.feed("!") == "<EMAIL_AD!"
    assert restorer.feed("a < b") == "a < b"
    assert restorer.held == 0


def test_a_placeholder_that_the_client_wrote_comes_back_as_it_was_written():
    vault = Placeholders()
    text = "the token <email_address_1> stands for joe@example.com"
    masked = compiled("EMAIL_ADDRESS").redact(text, vault)

    assert masked.text == "the token <LITERAL_1> stands for <EMAIL_ADDRESS_1>"
    assert masked.findings.counts == {("EMAIL_ADDRESS", Action.MASK): 1}
    assert Restorer(vault).restore(masked.text) == text


def test_without_restoring_placeholders_of_the_client_stay():
    masking = redactor({"EMAIL_ADDRESS": Action.MASK}, restore=False)

    assert masking.redact("<EMAIL_ADDRESS_1>", Placeholders()).text == "<EMAIL_ADDRESS_1>"


def test_what_an_answer_says_by_itself_is_masked_for_good():
    vault = Placeholders()
    compiled("EMAIL_ADDRESS").redact("joe@example.com", vault)
    answers = redactor({"EMAIL_ADDRESS": Action.MASK}, Direction.RESPONSE)
    masked = answers.redact("<EMAIL_ADDRESS_1>, or jim@example.com", vault).text

    assert masked == "<EMAIL_ADDRESS_1>, or <EMAIL_ADDRESS_2>"
    assert Restorer(vault).restore(masked) == "joe@example.com, or <EMAIL_ADDRESS_2>"
