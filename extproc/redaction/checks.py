"""Check digits and other sums by which a number shows that it is one.

Each takes a match as the recognizer saw it and says whether it holds. Sources are named at each.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter

_B58 = {
    character: value for value, character in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
_BECH32 = {character: value for value, character in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
#: Lengths of IBANs by country: SWIFT's IBAN registry, release 99.
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d{2})",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27"
        "GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22"
        "MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28"
        "TL23TN24TR26UA29VA22VG24XK20YE30",
    )
}


def digits(text: str) -> str:
    """Only the digits of a number."""
    return "".join(filter(str.isdigit, text))


def luhn(text: str) -> bool:
    """ISO/IEC 7812-1, annex B: bank cards. Repetitions of one digit are no card."""
    number = digits(text)
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return len(set(number)) > 1 and (doubled + sum(map(int, number[-1::-2]))) % 10 == 0


def iban(text: str) -> bool:
    """ISO 13616: the country's length, and the remainder of 97 that ISO 7064 asks for."""
    number = "".join(text.replace("-", " ").split()).upper()
    if len(number) != _IBAN_LENGTHS.get(number[:2]):
        return False
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def us_ssn(text: str) -> bool:
    """20 CFR 422.103 and SSA's POMS RM 10201.035: areas, groups and serials that are given out."""
    number = digits(text)
    area, group, serial = number[:3], number[3:5], number[5:]
    known = number not in {"078051120", "219099999", "123456789"}
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000" and known


def uk_nhs(text: str) -> bool:
    """NHS Data Dictionary, NHS NUMBER: the remainder of 11."""
    number = digits(text)
    check = 11 - sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=False)) % 11
    return len(set(number)) > 1 and check % 11 == int(number[9])


def aba(text: str) -> bool:
    """ABA Key to Routing Numbers: the weights 3, 7, 1."""
    number = digits(text)
    return int(number) > 0 and sum(int(digit) * (3, 7, 1)[place % 3] for place, digit in enumerate(number)) % 10 == 0


def base58check(text: str) -> bool:
    """Bitcoin's older addresses: a version, 20 bytes, and 4 of their double SHA-256."""
    number = 0
    for character in text:
        number = number * 58 + _B58[character]
    if number >= 1 << 200:
        return False
    data = number.to_bytes(25, "big")
    return data[21:] == hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4]


def bech32(text: str) -> bool:
    """BIP 173 and BIP 350: segregated witness addresses."""
    prefix, _, data = text.lower().rpartition("1")
    values = [*(ord(character) >> 5 for character in prefix), 0, *(ord(character) & 31 for character in prefix)]
    values += [_BECH32[character] for character in data]
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_BECH32_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum in {1, 0x2BC830A3} and text in {text.lower(), text.upper()}


def mixed(text: str) -> bool:
    """Whether a text looks drawn by chance: letters and digits, and at least 3 bits for each character."""
    kinds = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    return kinds and entropy(text) >= 3.0


def entropy(text: str) -> float:
    """Shannon's, in bits for each character."""
    shares = (count / len(text) for count in Counter(text).values())
    return -sum(share * math.log2(share) for share in shares)
