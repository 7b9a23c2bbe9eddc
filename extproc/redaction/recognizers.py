"""Personal data and what leads to money: recognizers that need nothing but the text.

One row for each pattern; an entity may have several. Names are Presidio's where it has one. A weak pattern (a plain run
of digits) has a score so low that only a word of its context makes it count. Dashes, spaces, digits and full-width
forms have been made ASCII before (`view.py`), so no row repeats them.
"""

from __future__ import annotations

import ipaddress

from extproc.redaction import checks
from extproc.redaction.recognizer import Recognizer
from extproc.redaction.view import OTHER_LETTERS

#: A weak pattern: nothing without its context.
WEAK = 0.05

_LETTER = f"A-Za-z{OTHER_LETTERS}"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?)"
)
_BIRTH = (
    "born",
    "birth",
    "dob",
    "d.o.b",
    "geboren",
    "geb.",
    "nacid",
    "nacimiento",
    "nascid",
    "nascimento",
    "nata il",
    "nascita",
    "geburt",
    "naissance",
    "urodz",
    "nato il",
)
_PHONE = ("phone", "telephone", "tel", "mobile", "cell", "call", "fax", "sms", "whatsapp", "contact", "handy", "movil")


def _phone_digits(text: str) -> bool:
    """E.164: at most 15 digits; fewer than 7 reach nobody from outside."""
    return 7 <= len(checks.digits(text).removeprefix("00")) <= 15


def _ipv6(text: str) -> bool:
    """RFC 4291, as the standard library reads it, with a digit: `add::face` is the name of something in a program."""
    return any(map(str.isdigit, text)) and _ipv6_of_letters(text)


def _ipv6_of_letters(text: str) -> bool:
    """The same of any digits; `::` alone is nobody's address."""
    try:
        return ipaddress.IPv6Address(text).packed != bytes(16)
    except ValueError:
        return False


RECOGNIZERS = (
    Recognizer(
        "EMAIL_ADDRESS",
        rf"[{_LETTER}0-9_%+\-][{_LETTER}0-9._%+'\-]{{0,63}}@(?:[{_LETTER}0-9\-]{{1,63}}\.){{1,8}}(?:xn--[A-Za-z0-9\-]{{2,59}}|[{_LETTER}]{{2,24}})",
        640,
        score=1.0,
    ),
    Recognizer(
        "PHONE_NUMBER",
        r"(?:\+|\b00)[1-9]\d{0,2}[ ./\-]?(?:\(\d{1,4}\)|\d{1,4})(?:[ ./\-]?\d{2,4}){2,4}\b",
        32,
        _phone_digits,
        score=0.7,
    ),
    Recognizer(
        "PHONE_NUMBER",
        r"(?:\(\d{3}\) ?\d{3}[ .\-]\d{4}|\b(?:1[ .\-])?[2-9]\d{2}[ .\-][2-9]\d{2}[ .\-]\d{4}"
        r"|\b0[1-9](?:[ .\-]\d{2}){4})\b",
        14,
        score=0.6,
    ),
    Recognizer(
        "PHONE_NUMBER",
        r"(?:\b0\d{1,4}[ /\-]|\(0\d{1,4}\) ?)\d{3,4}(?:[ \-]?\d{2,4}){1,2}\b",
        22,
        context=_PHONE,
        score=0.4,
    ),
    Recognizer("PHONE_NUMBER", r"\b\d{3,4}[ \-]\d{4}\b|\b\d{9,12}\b", 12, context=_PHONE, score=WEAK),
    Recognizer(
        "CREDIT_CARD",
        # Also over a line's end. No card begins with 20 or 21, but years do.
        r"\b(?:(?:2[2-7]|[3-6]\d)\d{2}(?:[\s\-]{0,2}\d{4}){3}|3[47]\d{2}[\s\-]{0,2}\d{6}[\s\-]{0,2}\d{5}"
        r"|3[068]\d{2}[\s\-]{0,2}\d{6}[\s\-]{0,2}\d{4})\b",
        22,
        checks.luhn,
        score=1.0,
    ),
    Recognizer(
        "CREDIT_CARD", r"\b[2-6]\d{12,18}\b", 19, checks.luhn, context=("card", "credit", "debit", "visa"), score=WEAK
    ),
    Recognizer(
        "IBAN_CODE",
        r"(?i)\b[a-z]{2}\d{2}(?:[\s\-]?[a-z0-9]{4}){2,7}(?:[\s\-]?[a-z0-9]{1,4})?\b",
        44,
        checks.iban,
        score=1.0,
    ),
    Recognizer("US_SSN", r"\b\d{3}[\s.\-]\d{2}[\s.\-]\d{4}\b", 11, checks.us_ssn, score=0.6),
    Recognizer("US_SSN", r"\b\d{9}\b", 9, checks.us_ssn, ("ssn", "social security", "ssid"), WEAK),
    Recognizer(
        "US_ITIN",
        r"\b9\d{2}[ \-](?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])[ \-]\d{4}\b",
        11,
        context=("itin", "tax"),
        score=0.5,
    ),
    Recognizer(
        "US_ITIN", r"\b9\d{2}(?:5\d|6[0-5]|7\d|8[0-8]|9[0-24-9])\d{4}\b", 9, context=("itin", "taxpayer"), score=WEAK
    ),
    Recognizer("US_PASSPORT", r"(?i)\b[a-z]?\d{8,9}\b", 10, context=("passport", "travel document"), score=WEAK),
    Recognizer(
        "US_BANK_NUMBER", r"\b\d{8,17}\b", 17, context=("account", "acct", "bank", "checking", "savings"), score=WEAK
    ),
    Recognizer("ABA_ROUTING_NUMBER", r"\b[0-3678]\d{8}\b", 9, checks.aba, ("routing", "aba", "rtn"), WEAK),
    Recognizer(
        "US_DRIVER_LICENSE",
        r"(?i)\b(?:[a-z]{1,2}\d{3,14}|[a-z]\d{3}[ \-]\d{4}[ \-]\d{4}|\d{6,14})\b",
        16,
        context=("driver", "licence", "license", "dl#", "dl no"),
        score=WEAK,
    ),
    Recognizer("UK_NHS", r"\b\d{3}[ \-]\d{3}[ \-]\d{4}\b", 12, checks.uk_nhs, ("nhs", "national health"), 0.5),
    Recognizer("UK_NHS", r"\b\d{10}\b", 10, checks.uk_nhs, ("nhs", "national health"), WEAK),
    Recognizer(
        "UK_NINO",
        r"(?i)\b[a-ceghj-pr-tw-z][a-ceghj-npr-tw-z] ?\d{2} ?\d{2} ?\d{2} ?[a-d]\b",
        13,
        context=("national insurance", "nino"),
        score=0.5,
    ),
    Recognizer("IP_ADDRESS", rf"\b(?:{_OCTET}\.){{3}}{_OCTET}\b", 15, score=0.6),
    Recognizer(
        "IP_ADDRESS",
        r"(?i)(?:\b[0-9a-f]{1,4}|\B:)(?::[0-9a-f]{0,4}){0,6}:[0-9a-f]{1,4}\b",
        39,
        _ipv6,
        score=0.6,
    ),
    Recognizer("IP_ADDRESS", r"(?i)\b[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){1,6}::", 36, _ipv6, score=0.6),
    Recognizer(
        "IP_ADDRESS",
        # Without a digit it is one only where it is local (RFC 4193), and no name within another: `std::face::add`.
        r"(?i)\bf[cd][a-f]{0,2}(?::[a-f]{0,4}){0,6}(?::[a-f]{1,4}\b|::)",
        39,
        _ipv6_of_letters,
        score=0.6,
        not_behind="::",
    ),
    Recognizer(
        "MAC_ADDRESS",
        r"(?i)\b(?:[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4})\b",
        17,
        score=0.8,
    ),
    Recognizer(
        "DATE_OF_BIRTH",
        r"\b(?:\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}|\d{4}[./\-]\d{1,2}[./\-]\d{1,2}|\d{1,2}\. ?\d{1,2}\. ?\d{4})\b",
        12,
        context=_BIRTH,
        score=WEAK,
    ),
    Recognizer(
        "DATE_OF_BIRTH",
        rf"(?i)\b(?:{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
        rf"|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH}\.?,? \d{{4}})\b",
        24,
        context=_BIRTH,
        score=WEAK,
    ),
    Recognizer("CRYPTO", r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", 35, checks.base58check, score=1.0),
    Recognizer("CRYPTO", r"(?i)\bbc1[02-9ac-hj-np-z]{11,87}\b", 90, checks.bech32, score=1.0),
    Recognizer("CRYPTO", r"(?i)\b0x[0-9a-f]{40}\b", 42, score=0.8),
    Recognizer(
        "URL_CREDENTIALS",
        r"""(?i)\b(?:https?|ftps?|sftp|ssh|git|wss?)://[^\s:/@"'<>]{0,128}:[^\s/@"'<>]{1,256}@[^\s/"'<>]{1,253}""",
        647,
        score=0.9,
    ),
)
