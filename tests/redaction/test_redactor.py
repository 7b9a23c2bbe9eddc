"""What is done about what is found: masked, hashed, blocked, counted, and never mixed up."""

import pytest
from redaction.redacting import compiled, redactor

from extproc.redaction import Action, Blocked, Placeholders, Restorer, TextTooLong, recognizer


def test_overlapping_matches_are_replaced_together_and_leave_no_tail():
    rows = (recognizer("FIRST", "aabb"), recognizer("SECOND", "bbcc"))
    both = redactor({"FIRST": Action.MASK, "SECOND": Action.MASK}, custom=rows)

    assert both.redact("xaabbccx", Placeholders()).text == "x<FIRST_1>x"


def test_of_matches_at_one_place_the_longest_counts():
    rows = (recognizer("SHORT", "aa"), recognizer("LONG", "aab"))
    both = redactor({"SHORT": Action.MASK, "LONG": Action.MASK}, custom=rows)

    assert both.redact("aab aa", Placeholders()).text == "<LONG_1> <SHORT_1>"


def test_a_blocked_entity_blocks_also_where_it_only_overlaps():
    rows = (recognizer("MASKED", "aabb"), recognizer("BLOCKED", "bbcc"))
    both = redactor({"MASKED": Action.MASK, "BLOCKED": Action.BLOCK}, custom=rows)

    with pytest.raises(Blocked, match="BLOCKED is not allowed") as blocked:
        both.redact("aabbcc", Placeholders())
    assert blocked.value.entity == "BLOCKED"


def test_what_is_logged_does_not_hide_what_is_masked():
    both = redactor({"URL_CREDENTIALS": Action.LOG, "EMAIL_ADDRESS": Action.MASK})
    found = both.redact("https://joe:x@example.com/", Placeholders())

    assert found.text == "https://joe:<EMAIL_ADDRESS_1>/"
    assert found.findings.counts == {("URL_CREDENTIALS", Action.LOG): 1, ("EMAIL_ADDRESS", Action.MASK): 1}


def test_a_dry_run_counts_and_changes_nothing():
    dry = redactor({"EMAIL_ADDRESS": Action.BLOCK, "CREDIT_CARD": Action.MASK}, dry_run=True)
    text = "joe@example.com 4111 1111 1111 1111 <EMAIL_ADDRESS_1>"
    found = dry.redact(text, Placeholders())

    assert found.text == text
    assert found.findings.counts == {("EMAIL_ADDRESS", Action.BLOCK): 1, ("CREDIT_CARD", Action.MASK): 1}


def test_findings_of_several_texts_add_up():
    one = compiled("EMAIL_ADDRESS").redact("a@example.com", Placeholders()).findings
    one.update(compiled("EMAIL_ADDRESS").redact("b@example.com", Placeholders()).findings)

    assert one.counts == {("EMAIL_ADDRESS", Action.MASK): 2}
    assert len(one.spans) == 2


@pytest.mark.parametrize("method", ["redact", "redact_json_text"])
def test_a_text_that_is_too_long_is_an_error(method):
    short = redactor({"EMAIL_ADDRESS": Action.MASK}, longest_text=10)

    with pytest.raises(TextTooLong, match="of 11 characters is longer than 10") as error:
        getattr(short, method)("x" * 11, Placeholders())
    assert (error.value.length, error.value.limit) == (11, 10)


def test_hashes_are_alike_for_equal_values_under_one_key_only():
    hashing = redactor({"EMAIL_ADDRESS": Action.HASH})
    one, other = (hashing.redact("joe@example.com joe@example.com", Placeholders(key)).text for key in (b"1", b"2"))

    assert len(set(one.split())) == 1
    assert one.startswith("<EMAIL_ADDRESS_")
    assert one != other


def test_an_exchange_never_sees_the_values_of_another():
    shared = compiled("EMAIL_ADDRESS")
    ours, theirs = Placeholders(), Placeholders()
    shared.redact("joe@example.com", ours)
    shared.redact("jim@example.com", theirs)

    assert Restorer(ours).restore("<EMAIL_ADDRESS_1>") == "joe@example.com"
    assert Restorer(theirs).restore("<EMAIL_ADDRESS_1>") == "jim@example.com"
    assert Restorer(Placeholders()).restore("<EMAIL_ADDRESS_1>") == "<EMAIL_ADDRESS_1>"


@pytest.mark.parametrize("method", ["redact", "redact_json_text"])
def test_a_second_policy_leaves_the_placeholders_of_the_first(method):
    first, second, vault = compiled("EMAIL_ADDRESS"), compiled("CREDIT_CARD"), Placeholders()
    text = '["joe@example.com", "<EMAIL_ADDRESS_1>", "4111 1111 1111 1111"]'
    once = getattr(first, method)(text, vault).text
    twice = getattr(second, method)(once, vault, guarded=first.guards).text

    assert twice == '["<EMAIL_ADDRESS_1>", "<LITERAL_1>", "<CREDIT_CARD_1>"]'
    assert Restorer(vault).restore(twice) == text
