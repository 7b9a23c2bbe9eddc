"""Values for the corpus of redaction, made from the specifications of their formats.

Each maker takes a seeded `random.Random` and returns a value as people write it. They were written from the documents
that are named beside them, not from the patterns that look for them; check digits are computed here, not by the
library that checks them there.
"""

from __future__ import annotations

import hashlib
import ipaddress
import string
from collections.abc import Callable
from random import Random

Maker = Callable[[Random], str]

UPPER, LOWER, DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
ALNUM = UPPER + LOWER + DIGITS
#: Names in people's addresses; none is anybody's.
NAMES = (
    *("ann", "jose", "li", "fatima", "olga", "pierre", "sven", "giulia", "kofi", "yuki", "marta", "ravi", "zoe"),
    *("okafor", "lindqvist", "novak", "moreau", "schmidt", "garcia", "rossi", "tanaka", "khan", "nowak", "silva"),
)
#: Domains of the second level, and endings of IANA's root zone and the public suffix list.
HOSTS = ("acme", "blue-river", "northwind", "contoso", "fabrikam", "4sale", "tailspin", "globex", "initech", "mail")
ENDINGS = ("com", "org", "net", "io", "de", "fr", "es", "it", "pl", "nl", "co.uk", "com.au", "co.in", "museum", "dev")


def text(rng: Random, alphabet: str, length: int) -> str:
    """Characters of an alphabet."""
    return "".join(rng.choice(alphabet) for _ in range(length))


def digits(rng: Random, length: int) -> str:
    """Decimal digits."""
    return text(rng, DIGITS, length)


def _grouped(value: str, sizes: tuple[int, ...], separator: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(value[at : at + size])
        at += size
    return separator.join(part for part in [*parts, value[at:]] if part)


def domain(rng: Random) -> str:
    """A host name: RFC 1123."""
    labels = [rng.choice(HOSTS), rng.choice(ENDINGS)]
    if rng.random() < 0.2:
        labels.insert(0, rng.choice(("mail", "eu", "corp", "dept-7")))
    return ".".join(labels)


def email(rng: Random) -> str:
    """RFC 5322's dot-atom, with the signs of RFC 5321's mailboxes that are in use."""
    first, last = rng.choice(NAMES), rng.choice(NAMES)
    local = rng.choice(
        (
            *(f"{first}.{last}", f"{first[0]}{last}", f"{first}_{last}", f"{first}-{last}", f"{first}{digits(rng, 2)}"),
            *(f"{first}+{rng.choice(('news', 'shop', 'x1'))}", f"{first.title()}.{last.title()}", f"o'{last}"),
        )
    )
    address = f"{local}@{domain(rng)}"
    return address.upper() if rng.random() < 0.08 else address


def _nanp(rng: Random) -> str:
    area = rng.choice(("212", "415", "312", "617", "206", "303", "404", "713", "503", "702"))
    exchange = rng.choice("23456789") + rng.choice("023456789") + rng.choice("23456789")
    last = digits(rng, 4)
    return rng.choice(
        (
            *(f"({area}) {exchange}-{last}", f"{area}-{exchange}-{last}", f"{area}.{exchange}.{last}"),
            *(f"+1 {area} {exchange} {last}", f"+1-{area}-{exchange}-{last}", f"+1{area}{exchange}{last}"),
        )
    )


def _british(rng: Random) -> str:
    london, mobile = f"7{digits(rng, 3)} {digits(rng, 4)}", f"{rng.choice(('400', '800', '911'))} {digits(rng, 6)}"
    return rng.choice((f"020 {london}", f"+44 20 {london}", f"07{mobile}", f"+44 7{mobile}", f"(020) {london}"))


def _german(rng: Random) -> str:
    area = rng.choice(("30", "151", "160", "171"))
    line = f"{area} {rng.choice('23456789')}{digits(rng, 7 if area in ('30', '151') else 6)}"
    return rng.choice((f"0{line}", f"+49 {line}", f"+49 {line}", f"0049 {line}"))


def _french(rng: Random) -> str:
    pairs = " ".join((str(rng.randrange(40, 60)), digits(rng, 2), digits(rng, 2), digits(rng, 2)))
    first = rng.choice("123456")
    return rng.choice((f"0{first} {pairs}", f"+33 {first} {pairs}", f"0{first}.{pairs.replace(' ', '.')}"))


def _elsewhere(rng: Random) -> str:
    return rng.choice(
        (
            *(f"+91 98{digits(rng, 3)} {digits(rng, 5)}", f"+34 6{digits(rng, 2)} {digits(rng, 3)} {digits(rng, 3)}"),
            *(f"+39 34{digits(rng, 1)} {digits(rng, 7)}", f"+55 11 9{digits(rng, 4)}-{digits(rng, 4)}"),
            *(
                f"+48 60{digits(rng, 1)} {digits(rng, 3)} {digits(rng, 3)}",
                f"+31 6 {rng.choice('12345')}{digits(rng, 7)}",
            ),
        )
    )


def phone(rng: Random) -> str:
    """ITU-T E.164, and the national forms of E.123."""
    return rng.choice((_nanp, _nanp, _british, _german, _french, _elsewhere))(rng)


def luhn(payload: str) -> str:
    """A payload with its check digit: ISO/IEC 7812-1, annex B."""
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(payload)))
    return payload + str(-total % 10)


def card(rng: Random) -> str:
    """The issuers' ranges of ISO/IEC 7812, as they are printed."""
    prefix, length, sizes = rng.choice(
        (
            *(("4", 16, (4, 4, 4)), (f"5{rng.choice('12345')}", 16, (4, 4, 4)), ("2223", 16, (4, 4, 4))),
            *((rng.choice(("34", "37")), 15, (4, 6)), ("6011", 16, (4, 4, 4)), ("3530", 16, (4, 4, 4))),
            *((rng.choice(("36", "38")), 14, (4, 6)), ("65", 16, (4, 4, 4))),
        )
    )
    number = luhn(prefix + digits(rng, length - 1 - len(prefix)))
    return _grouped(number, sizes, rng.choice(("", " ", "-")))


#: ISO 13616's registry: country, then how many digits (n) and letters (a) its account numbers have. Countries whose
#: accounts hold check digits of their own are left out.
_BBAN = (
    *("DE 18n", "FR 10n 11n 2n", "GB 4a 14n", "IT 1a 22n", "NL 4a 10n", "CH 17n", "AT 16n"),
    *("PL 24n", "SE 20n", "DK 14n", "FI 14n", "PT 21n", "IE 4a 14n", "MT 4a 23n", "SA 20n", "CZ 20n"),
)


def iban(rng: Random) -> str:
    """ISO 13616, with the check digits of ISO 7064 (mod 97-10)."""
    country, *parts = rng.choice(_BBAN).split()
    account = "".join(text(rng, UPPER if part[-1] == "a" else DIGITS, int(part[:-1])) for part in parts)
    number = int("".join(str(int(char, 36)) for char in account + country + "00"))
    whole = f"{country}{98 - number % 97:02}{account}"
    return _grouped(whole, (4,) * 8, " ") if rng.random() < 0.5 else whole


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def _base58check(payload: bytes) -> str:
    whole = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, out = int.from_bytes(whole), ""
    while number:
        number, rest = divmod(number, 58)
        out = _BASE58[rest] + out
    return "1" * (len(whole) - len(whole.lstrip(b"\0"))) + out


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check


def _segwit(rng: Random) -> str:
    version = rng.choice((0, 1))
    size, constant = ((160, 1), (256, 0x2BC830A3))[version]
    number = rng.getrandbits(size) << -size % 5
    data = [version, *(number >> 5 * place & 31 for place in reversed(range(-(-size // 5))))]
    check = _polymod([3, 3, 0, 2, 3, *data, 0, 0, 0, 0, 0, 0]) ^ constant
    return "bc1" + "".join(_BECH32[value] for value in [*data, *(check >> 5 * (5 - place) & 31 for place in range(6))])


def crypto(rng: Random) -> str:
    """Bitcoin's addresses: Base58Check, and BIP 173 and 350."""
    if rng.random() < 0.5:
        return _segwit(rng)
    return _base58check(rng.choice((b"\0", b"\5")) + rng.randbytes(20))


def ip(rng: Random) -> str:
    """RFC 791 and RFC 4291, shortened or not, none of them reserved."""
    if rng.random() < 0.6:
        return f"{rng.choice((8, 23, 51, 81, 104, 142, 185, 10, 192))}." + ".".join(
            str(rng.randrange(1, 255)) for _ in range(3)
        )
    head = (0x2A00 << 112) | (rng.getrandbits(32) << 80)
    address = ipaddress.IPv6Address(head | rng.choice((rng.getrandbits(16), rng.getrandbits(64))))
    return rng.choice((address.compressed, address.compressed, address.exploded, address.compressed.upper()))


def mac(rng: Random) -> str:
    """IEEE 802's forms."""
    pairs = [f"{rng.randrange(256):02x}" for _ in range(6)]
    joined = rng.choice((":", "-")).join(pairs)
    return rng.choice((joined, joined.upper(), ".".join(pairs[at] + pairs[at + 1] for at in (0, 2, 4))))


def ssn(rng: Random) -> str:
    """The Social Security Administration's numbers since 2011."""
    area = rng.choice([value for value in range(1, 900) if value != 666])
    return rng.choice(("-", "-", " ")).join(
        (f"{area:03}", f"{rng.randrange(1, 100):02}", f"{rng.randrange(1, 9999):04}")
    )


def itin(rng: Random) -> str:
    """IRS Publication 4757: 9xx, and 50-65, 70-88, 90-92 or 94-99."""
    group = rng.choice([*range(50, 66), *range(70, 89), *range(90, 93), *range(94, 100)])
    return f"9{digits(rng, 2)}-{group}-{digits(rng, 4)}"


def bank_number(rng: Random) -> str:
    """A US account: 8 to 17 digits, as the NACHA's files hold them."""
    return rng.choice("123456789") + digits(rng, rng.choice((7, 9, 10, 11, 12, 13)))


def routing(rng: Random) -> str:
    """ABA's number: the weights are 3, 7 and 1."""
    head = f"{rng.choice([*range(1, 13), *range(21, 33)]):02}" + digits(rng, 6)
    total = sum(int(digit) * weight for digit, weight in zip(head, (3, 7, 1, 3, 7, 1, 3, 7), strict=True))
    return head + str(-total % 10)


def passport(rng: Random) -> str:
    """The State Department's: nine digits, or since 2021 a letter and eight."""
    return rng.choice((digits(rng, 9), rng.choice(UPPER) + digits(rng, 8)))


def licence(rng: Random) -> str:
    """California, New York, Florida, Texas, Illinois: AAMVA's list."""
    letter = rng.choice(UPPER)
    return rng.choice(
        (letter + digits(rng, 7), digits(rng, 9), letter + digits(rng, 12), digits(rng, 8), letter + digits(rng, 11))
    )


def birth(rng: Random) -> str:
    """A date, in the orders of ISO 8601, of Europe and of America."""
    year, month, day = rng.randrange(1930, 2010), rng.randrange(1, 13), rng.randrange(1, 29)
    name = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")[
        month % 10
    ]
    return rng.choice(
        (
            *(f"{year}-{month:02}-{day:02}", f"{day:02}/{month:02}/{year}", f"{month}/{day}/{year}"),
            *(f"{day:02}.{month:02}.{year}", f"{day} {name} {year}", f"{name} {day}, {year}"),
        )
    )
