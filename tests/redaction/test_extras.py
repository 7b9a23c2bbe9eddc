"""Checks that optional packages bring are used where they are installed, and missed nowhere else."""

from redaction.redacting import found, redactor

from extproc.redaction import Action, Direction, Policy, validators


def test_without_the_extra_phone_numbers_are_taken_by_their_form():
    unchecked = Policy(request={"PHONE_NUMBER": Action.MASK}).compile(Direction.REQUEST)

    assert found(unchecked, "+999 999 999 999") == [("PHONE_NUMBER", "+999 999 999 999")]
    assert found(redactor({"PHONE_NUMBER": Action.MASK}), "+999 999 999 999") == []


def test_a_number_that_no_library_can_parse_is_none():
    assert not validators()["PHONE_NUMBER"]("+0")
    assert validators()["PHONE_NUMBER"]("415-555-2671")


def test_an_extra_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert validators() == {}
