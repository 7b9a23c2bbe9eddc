"""Each recognizer finds what it is for, and not what only looks like it."""

import pytest
from redaction.redacting import compiled, found

from extproc.redaction import pattern
from extproc.redaction.catalog import PLACEHOLDER
from extproc.redaction.national_ids import NATIONAL_IDS
from extproc.redaction.recognizers import RECOGNIZERS
from extproc.redaction.secrets_recognizers import SECRETS_RECOGNIZERS

ROWS = [*RECOGNIZERS, *SECRETS_RECOGNIZERS, *(row.recognizer for row in NATIONAL_IDS), PLACEHOLDER]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.entity} {row.pattern[:30]}")
def test_a_row_says_how_long_its_matches_are(row):
    shortest, longest = pattern.width(pattern.parse(row.pattern))

    assert shortest > 0
    assert row.longest == longest or (row.block_characters and row.longest > longest)


@pytest.mark.parametrize(
    ("entity", "text", "value"),
    [
        ("EMAIL_ADDRESS", "write to Joe.O'Neil+x@mail.example.co.uk.", "Joe.O'Neil+x@mail.example.co.uk"),
        ("EMAIL_ADDRESS", "'ann@example.com'", "ann@example.com"),
        ("EMAIL_ADDRESS", "j\xf6rg@m\xfcller.de, at home", "j\xf6rg@m\xfcller.de"),
        ("EMAIL_ADDRESS", "\uff4a\uff4f\uff45\uff20ex\u200bample.com", "\uff4a\uff4f\uff45\uff20ex\u200bample.com"),
        ("PHONE_NUMBER", "call +1 415 555 2671 2024 times", "+1 415 555 2671"),
        ("PHONE_NUMBER", "call 0044 20 7946 0958", "0044 20 7946 0958"),
        ("PHONE_NUMBER", "or (415) 555-2671.", "(415) 555-2671"),
        ("PHONE_NUMBER", "au 01 42 68 53 00", "01 42 68 53 00"),
        ("PHONE_NUMBER", "unter 030 1234 567", "030 1234 567"),
        ("PHONE_NUMBER", "at (020) 7946 0958", "(020) 7946 0958"),
        ("PHONE_NUMBER", "my mobile: 4155552671", "4155552671"),
        ("CREDIT_CARD", "card 4111-1111-1111-1111 23", "4111-1111-1111-1111"),
        ("CREDIT_CARD", "card 4111\n1111\t1111  1111", "4111\n1111\t1111  1111"),
        ("CREDIT_CARD", "amex 3782 822463 10005", "3782 822463 10005"),
        ("CREDIT_CARD", "credit card 6304000000000000018", "6304000000000000018"),
        ("IBAN_CODE", "to ES91 2100 0418 4502 0005 1332 then", "ES91 2100 0418 4502 0005 1332"),
        ("IBAN_CODE", "DE89 3704 0044\n0532 0130 00", "DE89 3704 0044\n0532 0130 00"),
        ("IBAN_CODE", "gb29nwbk60161331926819", "gb29nwbk60161331926819"),
        ("US_SSN", "it is 536-90-4399", "536-90-4399"),
        ("US_SSN", "it is 536\n90\n4399", "536\n90\n4399"),
        ("US_SSN", "SSN: 536904399", "536904399"),
        ("US_ITIN", "911-70-1234", "911-70-1234"),
        ("US_ITIN", "his ITIN 911701234", "911701234"),
        ("US_PASSPORT", "passport no. C12345678", "C12345678"),
        ("US_BANK_NUMBER", "account number 1234567890", "1234567890"),
        ("ABA_ROUTING_NUMBER", "routing 021000021", "021000021"),
        ("US_DRIVER_LICENSE", "driver's license D1234567", "D1234567"),
        ("UK_NHS", "943 476 5919", "943 476 5919"),
        ("UK_NHS", "NHS number 9434765919", "9434765919"),
        ("UK_NINO", "AB 12 34 56 C", "AB 12 34 56 C"),
        ("IP_ADDRESS", "at 10.1.2.3, or", "10.1.2.3"),
        ("IP_ADDRESS", "at 2001:db8::1: no", "2001:db8::1"),
        ("IP_ADDRESS", "at ::1", "::1"),
        ("IP_ADDRESS", "at fdab::c", "fdab::c"),
        ("IP_ADDRESS", "net 2001:db8::", "2001:db8::"),
        ("IP_ADDRESS", "net fdab:cd::", "fdab:cd::"),
        ("IP_ADDRESS", "ip:FDAB::c", "FDAB::c"),
        ("IP_ADDRESS", "x::fd00::1", "fd00::1"),
        ("MAC_ADDRESS", "00:1A:2b:3c:4D:5e", "00:1A:2b:3c:4D:5e"),
        ("MAC_ADDRESS", "001a.2b3c.4d5e", "001a.2b3c.4d5e"),
        ("DATE_OF_BIRTH", "born 12/03/1980", "12/03/1980"),
        ("DATE_OF_BIRTH", "Geburtsdatum: 12.03.1980", "12.03.1980"),
        ("DATE_OF_BIRTH", "DOB: March 3rd, 1980", "March 3rd, 1980"),
        ("DATE_OF_BIRTH", "geboren am 3. 12. 1980", "3. 12. 1980"),
        ("CRYPTO", "pay 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        ("CRYPTO", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
        (
            "CRYPTO",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ),
        ("CRYPTO", "0x52908400098527886E0F7030069857D2E4169EE7", "0x52908400098527886E0F7030069857D2E4169EE7"),
        ("URL_CREDENTIALS", "see https://joe:pa55@example.com/x", "https://joe:pa55@example.com"),
    ],
)
def test_it_finds(entity, text, value):
    assert found(compiled(entity), text) == [(entity, value)]


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("EMAIL_ADDRESS", "a@b, @handle, x@, user@localhost"),
        ("PHONE_NUMBER", "+999 999 999 999, 12345678, 2024-01-01"),
        ("CREDIT_CARD", "4111 1111 1111 1112, 4444444444444444444444"),
        ("CREDIT_CARD", "4444 4444 4444 4444 or 6304000000000000018"),
        ("CREDIT_CARD", "2015 2016 2017 2012"),
        ("IP_ADDRESS", "std::cafe::add"),
        ("IP_ADDRESS", "use std::face::add; in std::fdab::c(x)"),
        ("IP_ADDRESS", "cafe::fd"),
        ("IBAN_CODE", "DE89 3704 0044 0532 0130 01, XX00 1234 5678 9012"),
        ("IBAN_CODE", "GB29 NWBK 6016 1331 9268"),
        ("US_SSN", "000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000, 078-05-1120, 536904399"),
        ("US_ITIN", "911-49-1234"),
        ("US_PASSPORT", "order C12345678"),
        ("US_BANK_NUMBER", "the number 1234567890"),
        ("ABA_ROUTING_NUMBER", "routing 021000022 000000000"),
        ("UK_NHS", "943 476 5918, 111 111 1111, 000 000 0000"),
        ("IP_ADDRESS", "std::add(x), 12:30, 1.2.3, 256.1.1.1, a ::"),
        ("MAC_ADDRESS", "00:1A:2b:3c:4D"),
        ("DATE_OF_BIRTH", "on 12/03/1980"),
        ("CRYPTO", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3 zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"),
        ("CRYPTO", "3zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"),
        ("CRYPTO", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp bc1Qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
        ("URL_CREDENTIALS", "https://example.com/a:b@c and https://example.com:8080/"),
    ],
)
def test_it_does_not_find(entity, text):
    assert found(compiled(entity), text) == []
