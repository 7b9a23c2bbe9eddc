"""For whom a request is made, as a header says it, and which headers may say it."""

from __future__ import annotations

import pytest

from extproc.policy import end_users, hygiene
from extproc.policy.credentials import CREDENTIAL_HEADERS
from extproc.policy.end_users import MAX_LENGTH

MAPPED = (b"x-user", b"x-customer")


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ([], None),
        ([(b"x-other", b"anna")], None),
        ([(b"x-customer", b"anna")], "anna"),
        ([(b"x-customer", b"anna"), (b"x-user", b"ben")], "ben"),
        ([(b"x-user", b"  "), (b"x-customer", b" anna ")], "anna"),
        ([(b"x-user", "Jörg".encode())], "Jörg"),
    ],
)
def test_the_first_mapped_header_that_says_something_counts(headers, name):
    assert end_users.named(headers, MAPPED) == name
    assert end_users.check(headers, MAPPED) is None


def test_without_a_mapping_no_header_says_anything():
    headers = [(b"x-user", b"anna"), (b"x-user", b"ben")]

    assert end_users.named(headers, ()) is None
    assert end_users.check(headers, ()) is None


@pytest.mark.parametrize("second", [b"anna", b"ben", b""])
def test_a_mapped_header_that_is_there_twice_is_refused_whatever_it_says(second):
    refusal = end_users.check([(b"x-user", b"anna"), (b"x-user", second)], MAPPED)

    assert refusal is not None
    assert (refusal.status, refusal.reason, refusal.param) == (400, "malformed_header", "x-user")


@pytest.mark.parametrize("value", [b"a" * (MAX_LENGTH + 1), b"\xff\xfe", b"a\tb", b"a\x00b"])
def test_what_is_no_text_of_that_length_is_refused(value):
    assert end_users.check([(b"x-user", value)], MAPPED) is not None
    assert end_users.check([(b"x-user", b"a" * MAX_LENGTH)], MAPPED) is None


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("x-openwebui-user-id", True),
        ("x-litellm-end-user-id", True),
        ("", False),
        ("x user", False),
        ("jörg", False),
        (":path", False),
        ("x-extproc-user", False),
        ("x-envoy-original-path", False),
        ("cookie", False),
        ("content-type", False),
        *((name.decode(), False) for name in sorted(CREDENTIAL_HEADERS)),
    ],
)
def test_a_header_with_a_meaning_of_its_own_cannot_be_mapped(name, may):
    assert end_users.may_be_mapped(name) is may


def test_no_mapped_header_goes_upstream_whether_or_not_it_was_seen():
    for seen in ([], [(b"x-user", b"anna"), (b"x-litellm-tags", b"a")]):
        _, removed = hygiene.upstream_headers(seen, None, "u", 2, MAPPED)

        assert set(MAPPED) <= set(removed)
