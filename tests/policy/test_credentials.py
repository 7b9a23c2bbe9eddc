"""Exactly one API key, in one of the known headers."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy import credentials, refusals
from extproc.policy.credentials import CREDENTIAL_HEADERS, Credential

KEY = "sk-0123456789abcdefghij"
EXPECTED = Credential(hashlib.sha256(KEY.encode()).hexdigest())


@pytest.mark.parametrize("name", sorted(CREDENTIAL_HEADERS))
def test_every_known_header_carries_a_bearer_key(name):
    assert credentials.read([(b":path", b"/"), (name, b"Bearer " + KEY.encode())]) == EXPECTED


@pytest.mark.parametrize("name", sorted(CREDENTIAL_HEADERS - {b"authorization"}))
def test_every_header_but_authorization_carries_a_bare_key(name):
    assert credentials.read([(name, KEY.encode())]) == EXPECTED


def test_the_scheme_is_read_without_regard_to_case():
    assert credentials.read([(b"authorization", b"bEaReR  " + KEY.encode())]) == EXPECTED


def test_no_credential_is_refused():
    assert credentials.read([(b"accept", b"*/*")]) == refusals.NO_CREDENTIAL


@pytest.mark.parametrize("second", sorted(CREDENTIAL_HEADERS))
def test_a_second_credential_is_refused_even_if_it_is_the_same(second):
    headers = [(b"authorization", b"Bearer " + KEY.encode()), (second, b"Bearer " + KEY.encode())]

    assert credentials.read(headers) == refusals.AMBIGUOUS_CREDENTIAL


@pytest.mark.parametrize(
    "value",
    [
        KEY.encode(),
        b"Basic " + KEY.encode(),
        b"Bearer ",
        b"Bearer",
        b"",
        b"Bearer sk-with space",
        b"Bearer sk-\x00null",
        "Bearer sk-ключ".encode(),
        b"Bearer sk-" + b"x" * 600,
        b"Bearer " + KEY.encode() + b"," + KEY.encode() + b" x",
    ],
)
def test_a_malformed_authorization_is_refused(value):
    assert credentials.read([(b"authorization", value)]) == refusals.MALFORMED_CREDENTIAL


def test_an_empty_bare_header_is_refused():
    assert credentials.read([(b"x-api-key", b"")]) == refusals.MALFORMED_CREDENTIAL


def test_what_is_not_a_virtual_key_is_shown_by_its_ends_only():
    refusal = credentials.read([(b"x-api-key", b"abcd-secret-secret-wxyz")])

    assert refusal == refusals.not_a_virtual_key("abcd****wxyz")


def test_nothing_is_shown_of_what_is_short():
    assert credentials.read([(b"x-api-key", b"hunter2")]) == refusals.not_a_virtual_key("****")


def test_a_digest_is_not_a_credential():
    refusal = credentials.read([(b"authorization", b"Bearer " + EXPECTED.digest.encode())])

    assert not isinstance(refusal, Credential)


def test_a_short_key_shows_nothing_of_itself():
    assert credentials.masked("sk-short") == "sk-..."


def test_the_master_key_is_known_by_its_digest():
    master = credentials.digest(KEY)

    assert credentials.is_master(EXPECTED, master)
    assert not credentials.is_master(Credential(credentials.digest("sk-other")), master)


@given(st.lists(st.tuples(st.sampled_from([*sorted(CREDENTIAL_HEADERS), b"accept"]), st.binary(max_size=64))))
def test_any_headers_give_a_credential_or_a_refusal_with_status_401(headers):
    answer = credentials.read(headers)

    assert isinstance(answer, Credential) or answer.status == 401
