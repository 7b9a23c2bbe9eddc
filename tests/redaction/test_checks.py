"""Sums are those that python-stdnum computes, for any number."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import bitcoin, iban, luhn, numdb
from stdnum.gb import nhs
from stdnum.us import rtn

from extproc.redaction import checks


def numbers(*lengths):
    """Digits, not all of them alike, of these lengths."""
    made = st.sampled_from(lengths).flatmap(lambda length: st.text("0123456789", min_size=length, max_size=length))
    return made.filter(lambda text: len(set(text)) > 1)


@given(numbers(13, 14, 15, 16, 19))
def test_cards(number):
    assert checks.luhn(number) == luhn.is_valid(number)


@given(numbers(15))
def test_a_card_with_its_check_digit_is_one(number):
    assert checks.luhn(number + luhn.calc_check_digit(number))


@given(numbers(9))
def test_nhs_numbers(number):
    for digit in "0123456789":
        assert checks.uk_nhs(number + digit) == nhs.is_valid(number + digit)


@given(numbers(8))
def test_routing_numbers(number):
    assert checks.aba(number + str(rtn.calc_check_digit(number)))
    assert not checks.aba(number + str((int(rtn.calc_check_digit(number)) + 1) % 10))


@given(st.text("0123456789", min_size=18, max_size=18))
def test_ibans(account):
    number = iban.calc_check_digits(f"DE00{account}")

    assert checks.iban(f"DE{number}{account}")
    assert not checks.iban(f"DE{number}{account}0")
    assert not checks.iban(f"XX{number}{account}")


def test_lengths_of_ibans_are_those_of_the_registry():
    registry = numdb.get("iban")
    for country, length in checks._IBAN_LENGTHS.items():
        (_, properties), *_ = registry.info(country)
        if properties:
            assert length == 4 + sum(map(int, re.findall(r"(\d+)!", properties["bban"]))), country


@pytest.mark.parametrize(
    "address",
    [
        "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
    ],
)
def test_addresses_of_bitcoin(address):
    check = checks.bech32 if address.lower().startswith("bc1") else checks.base58check
    other = "P" if address.isupper() else "p"

    assert bitcoin.is_valid(address)
    assert check(address)
    assert not check(address[:-2] + other + address[-1])


def test_entropy_is_counted_in_bits():
    assert (checks.entropy("aaaa"), checks.entropy("abab"), checks.entropy("abcd")) == (0, 1, 2)
    assert checks.mixed("a1b2c3d4e5")
    assert not checks.mixed("abcdefghij")
    assert not checks.mixed("a1a1a1a1a1")
