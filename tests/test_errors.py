"""What errors say of themselves."""

from __future__ import annotations

from extproc.errors import AlreadyExists


def test_a_name_that_is_taken_says_which_and_of_what():
    taken = AlreadyExists("key_alias", "billing")

    assert str(taken) == "key_alias 'billing' exists already"
    assert (taken.field, taken.value) == ("key_alias", "billing")
