"""National numbers and secrets for the corpus of redaction, made from their publishers' descriptions.

As in `corpus_values.py`, check digits are computed here. Secrets are random characters in the form that each vendor
documents; none was ever valid.
"""

from __future__ import annotations

import base64
import json
from random import Random

from benchmarks.corpus_values import ALNUM, DIGITS, LOWER, UPPER, digits, text

_URLSAFE = ALNUM + "-_"


def _weighted(number: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(number, weights, strict=True))


def nhs(rng: Random) -> str:
    """NHS Data Dictionary: weights 10 to 2, modulus 11; a check digit of 10 is not issued."""
    while True:
        head = rng.choice("4679") + digits(rng, 8)
        check = -_weighted(head, tuple(range(10, 1, -1))) % 11
        if check < 10:
            whole = head + str(check)
            return rng.choice((whole, f"{whole[:3]} {whole[3:6]} {whole[6:]}"))


def nino(rng: Random) -> str:
    """HMRC's NIM39110: the first letters are not of DFIQUV, the second not O, and some pairs are not used."""
    prefix = rng.choice(("AB", "CE", "JK", "PR", "SX", "WL", "ZY", "HH"))
    number, suffix = digits(rng, 6), rng.choice("ABCD")
    return rng.choice((f"{prefix}{number}{suffix}", f"{prefix} {number[:2]} {number[2:4]} {number[4:]} {suffix}"))


def nif(rng: Random) -> str:
    """Spain's DNI and NIE: the number modulo 23 names the letter."""
    letters = "TRWAGMYFPDXBNJZSQVHLCKE"
    if rng.random() < 0.6:
        number = digits(rng, 8)
        return number + rng.choice(("", "-")) + letters[int(number) % 23]
    first, number = rng.randrange(3), digits(rng, 7)
    return "XYZ"[first] + number + letters[int(f"{first}{number}") % 23]


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def fiscal_code(rng: Random) -> str:
    """Italy's ministerial decree of 23 December 1976: odd places by a table, even places by their value."""
    consonants = "BCDFGLMNPRSTVZ"
    day = rng.randrange(1, 29) + rng.choice((0, 40))
    born = f"{digits(rng, 2)}{rng.choice('ABCDEHLMPRST')}{day:02}"
    head = f"{text(rng, consonants, 6)}{born}{rng.choice('ABCDEFGHIL')}{digits(rng, 3)}"
    values = [int(char) if char.isdigit() else ord(char) - 65 for char in head]
    total = sum(value if place % 2 else _ODD[value] for place, value in enumerate(values))
    return head + UPPER[total % 26]


def pesel(rng: Random) -> str:
    """Poland's: the date of birth (20 more on the month since 2000), weights 1, 3, 7, 9."""
    year, century = rng.choice(((rng.randrange(100), 0), (rng.randrange(20), 20)))
    head = f"{year:02}{rng.randrange(1, 13) + century:02}{rng.randrange(1, 29):02}{digits(rng, 4)}"
    return head + str(-_weighted(head, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10)


def hetu(rng: Random) -> str:
    """Finland's: the date, the century's sign, and the number modulo 31 names the last."""
    birth = f"{rng.randrange(1, 29):02}{rng.randrange(1, 13):02}{rng.randrange(30, 100):02}"
    serial = f"{rng.randrange(2, 900):03}"
    return f"{birth}-{serial}" + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(birth + serial) % 31]


_VERHOEFF_D = (
    *("0123456789", "1234067895", "2340178956", "3401289567", "4012395678"),
    *("5987604321", "6598710432", "7659821043", "8765932104", "9876543210"),
)
_VERHOEFF_P = (
    *("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258"),
)


def _verhoeff(number: str) -> int:
    check = 0
    for place, digit in enumerate(reversed(number)):
        check = int(_VERHOEFF_D[check][int(_VERHOEFF_P[place % 8][int(digit)])])
    return check


def aadhaar(rng: Random) -> str:
    """UIDAI's twelve digits, the last by Verhoeff's scheme; the first is 2 to 9."""
    head = rng.choice("23456789") + digits(rng, 10)
    whole = next(head + last for last in DIGITS if _verhoeff(head + last) == 0)
    return rng.choice((whole, f"{whole[:4]} {whole[4:8]} {whole[8:]}"))


def pan(rng: Random) -> str:
    """India's Income Tax Department: three letters, the holder's kind, a letter, four digits, a letter."""
    return (
        text(rng, UPPER, 3)
        + rng.choice("PCHFATBLJG")
        + rng.choice(UPPER)
        + f"{rng.randrange(1, 9999):04}"
        + rng.choice(UPPER)
    )


def _weighted_by(rng: Random, length: int, weights: tuple[int, ...], modulus: int) -> str:
    while True:
        number = rng.choice("123456789") + digits(rng, length - 1)
        if _weighted(number, weights) % modulus == 0:
            return number


def tfn(rng: Random) -> str:
    """Australia's Taxation Office: the weights below, modulus 11."""
    whole = _weighted_by(rng, 9, (1, 4, 3, 7, 5, 8, 6, 9, 10), 11)
    return rng.choice((whole, f"{whole[:3]} {whole[3:6]} {whole[6:]}"))


def abn(rng: Random) -> str:
    """Australia's Business Register: 1 less on the first digit, the weights below, modulus 89; from 11 on."""
    while True:
        number = rng.choice("123456789") + digits(rng, 10)
        if (
            number[:2] != "10"
            and _weighted(str(int(number[0]) - 1) + number[1:], (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)) % 89 == 0
        ):
            return rng.choice((number, f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}"))


def acn(rng: Random) -> str:
    """Australia's Securities Commission: weights 8 to 1, modulus 10."""
    head = "0" + digits(rng, 7)
    whole = head + str(-_weighted(head, (8, 7, 6, 5, 4, 3, 2, 1)) % 10)
    return f"{whole[:3]} {whole[3:6]} {whole[6:]}"


def aws_key(rng: Random) -> str:
    """IAM's unique identifiers: AKIA or ASIA, then sixteen of base32."""
    return rng.choice(("AKIA", "ASIA")) + text(rng, UPPER + "234567", 16)


def aws_secret(rng: Random) -> str:
    """Forty characters of base64."""
    return text(rng, ALNUM, 20) + "/" + text(rng, ALNUM + "+/", 18) + text(rng, ALNUM, 1)


def google_key(rng: Random) -> str:
    """Google's API keys: 39 characters."""
    return "AIza" + text(rng, _URLSAFE, 34) + text(rng, ALNUM, 1)


def github(rng: Random) -> str:
    """GitHub's formats of 2021 and its fine-grained tokens."""
    classic = rng.choice(("ghp_", "gho_", "ghs_", "ghu_")) + text(rng, ALNUM, 36)
    return rng.choice((classic, f"github_pat_{text(rng, ALNUM, 22)}_{text(rng, ALNUM, 59)}"))


def gitlab(rng: Random) -> str:
    """GitLab's personal access tokens."""
    return "glpat-" + text(rng, ALNUM, 20)


def slack(rng: Random) -> str:
    """Slack's bot and user tokens."""
    return f"{rng.choice(('xoxb', 'xoxp'))}-{digits(rng, 12)}-{digits(rng, 13)}-{text(rng, ALNUM, 24)}"


def stripe(rng: Random) -> str:
    """Stripe's secret and restricted keys."""
    return rng.choice(("sk_live_", "rk_live_", "sk_test_")) + text(rng, ALNUM, rng.choice((24, 99)))


def openai(rng: Random) -> str:
    """OpenAI's keys of projects and service accounts."""
    return rng.choice(("sk-proj-", "sk-svcacct-")) + text(rng, _URLSAFE, 60) + "T3BlbkFJ" + text(rng, ALNUM, 40)


def anthropic(rng: Random) -> str:
    """Anthropic's keys."""
    return "sk-ant-api03-" + text(rng, _URLSAFE, 93) + "AA"


def huggingface(rng: Random) -> str:
    """Hugging Face's user tokens."""
    return "hf_" + text(rng, UPPER + LOWER, 34)


def npm(rng: Random) -> str:
    """npm's granular tokens."""
    return "npm_" + text(rng, ALNUM, 36)


def jwt(rng: Random) -> str:
    """RFC 7519, signed by RFC 7515's compact form."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": digits(rng, 10), "iat": rng.randrange(10**9, 2 * 10**9)}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, base64.urlsafe_b64encode(rng.randbytes(32)).decode().rstrip("=")])


def private_key(rng: Random) -> str:
    """RFC 7468's text of a key."""
    kind = rng.choice(("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"))
    body = base64.b64encode(rng.randbytes(rng.choice((96, 144)))).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----"


def connection_string(rng: Random) -> str:
    """RFC 3986's authority with a user and a password, as databases' drivers take it."""
    scheme = rng.choice(("postgresql", "mysql", "mongodb+srv", "redis", "amqp"))
    return (
        f"{scheme}://{rng.choice(('app', 'svc'))}:{text(rng, ALNUM, 14)}@db.internal:{rng.randrange(1024, 9999)}/main"
    )
