"""The sentences of the corpus of redaction: what stands around a value, in several languages and formats.

`{}` is the value. A value that any text may hold (`ANYWHERE`) comes in every frame, one that only its surroundings make
what it is (`NAMED`) in frames that say so, as a person would. `NEGATIVE` holds what only looks like something.
"""

from __future__ import annotations

import uuid
from random import Random

from benchmarks import corpus_national as national
from benchmarks import corpus_values as values
from benchmarks.corpus_values import ALNUM, UPPER, Maker, digits, text

#: Formats that say nothing about the value.
ANYWHERE = (
    *("Please use {} from now on.", "My colleague sent me {}, is that right?", "I wrote it down: {}.", "{}", "({})"),
    *("Bitte nehmen Sie {} in die Liste auf.", "Das ist {}, oder?", "Voici {} pour le dossier.", "Il a noté {} hier."),
    *(
        "Por favor, guarda {} en la ficha.",
        "Ecco {} come richiesto.",
        "Segue {} para o cadastro.",
        "Hier is {} nog eens.",
    ),
    *("Proszę zapisać {} w systemie.", "連絡先は {} です。", "Запишите {} пожалуйста.", "请记录 {} 谢谢"),
    *(
        '{{"value": "{}", "ok": true}}',
        "name,value\nfirst,{}\n",
        "value: {}\n",
        "| first | {} |",
        "<td>{}</td>",
        "* {}",
    ),
    *(
        "2026-03-01 10:15:00 INFO stored {} for later",
        "INSERT INTO t VALUES ('{}', 1);",
        'print("{}")',
        "a={};b=2",
        "[{}]",
    ),
)
#: Frames for values that need a name beside them, by entity.
NAMED: dict[str, tuple[str, ...]] = {
    "EMAIL_ADDRESS": ("Write to {}!", "E-Mail: {}", "mailto:{}", "From: Ann <{}>", "Courriel : {}"),
    "PHONE_NUMBER": (
        *("Call me at {}.", "phone: {}", "Tel. {}", "Telefon: {} (ab 9 Uhr)", "Téléphone : {}", "mobile {} please"),
        *("Mi teléfono es {}.", '{{"phone": "{}"}}', "Fax {}", "My number is {}, ask for Zoe."),
    ),
    "CREDIT_CARD": (
        "Charge my card {} exp 04/29.",
        "card number: {}",
        "Kreditkarte {}",
        '{{"pan": "{}"}}',
        "tarjeta {}",
    ),
    "IBAN_CODE": ("IBAN: {}", "Bitte auf {} überweisen.", "Wire it to {} today.", "Mon compte : {}"),
    "CRYPTO": ("Send it to my wallet {}.", "BTC address: {}", "bitcoin:{}"),
    "IP_ADDRESS": (
        "Connection from {} refused.",
        "client={} status=200",
        "ping {}",
        "Server {} antwortet nicht.",
        "ssh root@{}",
    ),
    "MAC_ADDRESS": ("link/ether {} brd", "MAC: {}", "Gerät {} verbunden"),
    "US_SSN": ("My SSN is {}.", "Social security number: {}", '{{"ssn": "{}"}}', "ssn,{}"),
    "US_ITIN": ("My ITIN is {}.", "Individual taxpayer id: {}", "itin: {}"),
    "US_BANK_NUMBER": ("My bank account number is {}.", "checking account {} please", "bank account: {}"),
    "ABA_ROUTING_NUMBER": ("The routing number is {}.", "ABA: {}", "routing: {}", "aba routing # {}"),
    "US_PASSPORT": ("My US passport number is {}.", "Passport no. {}", "passport: {}", "passport# {}"),
    "US_DRIVER_LICENSE": (
        "My driver's license is {}.",
        "Driver license number: {}",
        "driving license {}",
        "license no. {} (driver)",
    ),
    "UK_NHS": ("NHS number {}", "Her NHS no. is {}.", "nhs: {}"),
    "UK_NINO": ("My national insurance number is {}.", "NINO: {}", "NI number {}", "Please use {} from now on."),
    "DATE_OF_BIRTH": (
        "I was born on {}.",
        "Date of birth: {}",
        "DOB: {}",
        '{{"birth_date": "{}"}}',
        "Geburtsdatum: {}",
    ),
    "ES_NIF": ("Mi DNI es {}.", "NIF: {}", "El cliente con NIE {} llama.", "Please use {} from now on."),
    "IT_FISCAL_CODE": ("Codice fiscale: {}", "Il mio CF è {}.", "Please use {} from now on."),
    "PL_PESEL": ("Mój PESEL to {}.", "PESEL: {}", "pesel={}"),
    "FI_PERSONAL_IDENTITY_CODE": ("Hetu: {}", "Henkilötunnus on {}.", "Please use {} from now on."),
    "IN_AADHAAR": ("My Aadhaar is {}.", "aadhaar: {}", "Aadhaar number {}", "uidai {}"),
    "IN_PAN": ("PAN: {}", "My permanent account number is {}.", "PAN card {}", "Please use {} from now on."),
    "AU_TFN": ("My TFN is {}.", "Tax file number: {}", "tfn: {}"),
    "AU_ABN": ("ABN {}", "Our Australian business number is {}.", "abn: {}"),
    "AU_ACN": ("ACN {}", "Its Australian company number is {}.", "acn: {}"),
    "PASSWORD": (
        "password: {}",
        "The password is {}",
        "PASSWORD={}",
        '{{"password": "{}"}}',
        "passwd = '{}'",
        "Passwort: {}",
    ),
    "AWS_SECRET_KEY": ("aws_secret_access_key = {}", "AWS_SECRET_ACCESS_KEY={}", '{{"SecretAccessKey": "{}"}}'),
}


def password(rng: Random) -> str:
    """A word, a sign and digits, as people choose them, or a manager's random one."""
    word = rng.choice(("Winter", "dragon", "Sunflower", "hunter", "Tr0ub4dor"))
    return rng.choice(
        (f"{word}{rng.choice('!#%*')}{digits(rng, rng.choice((2, 4)))}", text(rng, ALNUM + "!#%*-_", 15) + "x")
    )


#: What is looked for: makers by entity, and whether any frame will do.
MAKERS: dict[str, tuple[Maker, bool]] = {
    "EMAIL_ADDRESS": (values.email, True),
    "PHONE_NUMBER": (values.phone, False),
    "CREDIT_CARD": (values.card, True),
    "IBAN_CODE": (values.iban, True),
    "CRYPTO": (values.crypto, True),
    "IP_ADDRESS": (values.ip, True),
    "MAC_ADDRESS": (values.mac, True),
    "US_SSN": (values.ssn, False),
    "US_ITIN": (values.itin, False),
    "US_BANK_NUMBER": (values.bank_number, False),
    "ABA_ROUTING_NUMBER": (values.routing, False),
    "US_PASSPORT": (values.passport, False),
    "US_DRIVER_LICENSE": (values.licence, False),
    "DATE_OF_BIRTH": (values.birth, False),
    "UK_NHS": (national.nhs, False),
    "UK_NINO": (national.nino, False),
    "ES_NIF": (national.nif, False),
    "IT_FISCAL_CODE": (national.fiscal_code, False),
    "PL_PESEL": (national.pesel, False),
    "FI_PERSONAL_IDENTITY_CODE": (national.hetu, False),
    "IN_AADHAAR": (national.aadhaar, False),
    "IN_PAN": (national.pan, False),
    "AU_TFN": (national.tfn, False),
    "AU_ABN": (national.abn, False),
    "AU_ACN": (national.acn, False),
    "AWS_ACCESS_KEY": (national.aws_key, True),
    "AWS_SECRET_KEY": (national.aws_secret, False),
    "GOOGLE_API_KEY": (national.google_key, True),
    "GITHUB_TOKEN": (national.github, True),
    "GITLAB_TOKEN": (national.gitlab, True),
    "SLACK_TOKEN": (national.slack, True),
    "STRIPE_KEY": (national.stripe, True),
    "OPENAI_API_KEY": (national.openai, True),
    "ANTHROPIC_API_KEY": (national.anthropic, True),
    "HUGGINGFACE_TOKEN": (national.huggingface, True),
    "NPM_TOKEN": (national.npm, True),
    "JWT": (national.jwt, True),
    "PRIVATE_KEY": (national.private_key, True),
    "CONNECTION_STRING": (national.connection_string, True),
    "PASSWORD": (password, False),
}


def _version(rng: Random) -> str:
    numbers = [str(rng.randrange(30)) for _ in range(3)]
    return rng.choice((".".join(numbers), "v" + ".".join(numbers), ".".join(numbers) + f"-rc.{rng.randrange(9)}"))


def _isbn(rng: Random) -> str:
    head = "978" + digits(rng, 9)
    total = sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(head))
    number = head + str(-total % 10)
    return rng.choice((number, f"{number[:3]}-{number[3]}-{number[4:8]}-{number[8:12]}-{number[12]}"))


def _wrong_card(rng: Random) -> str:
    number = values.luhn("4" + digits(rng, 14))
    return number[:-1] + str((int(number[-1]) + rng.randrange(1, 10)) % 10)


def _wrong_iban(rng: Random) -> str:
    whole = values.iban(rng)
    return whole[:2] + f"{(int(whole[2:4]) + 1) % 97:02}" + whole[4:]


def _price(rng: Random) -> str:
    return rng.choice(
        (f"${rng.randrange(10**5)}.{digits(rng, 2)}", f"1.{digits(rng, 3)},{digits(rng, 2)} €", f"£{digits(rng, 3)}k")
    )


def _base64(rng: Random) -> str:
    return text(rng, ALNUM + "+/", rng.choice((24, 48, 72))) + "=" * rng.randrange(3)


def _uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _timestamp(rng: Random) -> str:
    clock = f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
    stamp = f"20{rng.randrange(10, 30)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}T{clock}.{digits(rng, 3)}Z"
    return rng.choice((stamp, str(rng.randrange(10**9, 2 * 10**9)), str(rng.randrange(10**12, 2 * 10**12))))


#: What is none of them: a maker, and where it stands.
NEGATIVE: tuple[tuple[Maker, tuple[str, ...]], ...] = (
    (
        _version,
        ("Upgrade to {} before Friday.", "pip install tool=={}", "Version {} ist da.", "la version {} corrige cela"),
    ),
    (
        lambda rng: f"{_version(rng).lstrip('v').split('-')[0]}.{rng.randrange(300, 9999)}",
        ("Chrome {}", "build {} failed"),
    ),
    (_uuid, ("request {} took 3 ms", "id: {}", '{{"trace": "{}"}}', "Vorgang {}")),
    (_isbn, ("ISBN {}", "The book {} is out of print.", "Das Buch (ISBN {}) fehlt.")),
    (_wrong_card, ("order {} shipped", "tracking {}", "Bestellung {} ist unterwegs", "pedido {}")),
    (_wrong_iban, ("Reference {} is invalid.", "code {}")),
    (_price, ("It costs {} a year.", "Das macht {}.", "total: {}", "cela coûte {}")),
    (_base64, ("data:image/png;base64,{}", "blob = b'{}'", "payload {}")),
    (_timestamp, ("at {}", "created={}", "Zeitpunkt {}", "ts: {}")),
    (
        lambda rng: text(rng, "0123456789abcdef", rng.choice((7, 32, 40, 64))),
        ("commit {}", "sha {} matches", "etag: {}"),
    ),
    (
        lambda rng: f"{rng.choice(('ORD', 'INV', 'SKU'))}-{digits(rng, rng.choice((5, 8)))}",
        ("order {}", "Rechnung {}", "see {}"),
    ),
    (
        lambda rng: digits(rng, rng.choice((9, 10, 11, 12))),
        ("ticket {} is open", "row {} of the table", "population: {}"),
    ),
    (
        lambda rng: f"{digits(rng, 3)}-{digits(rng, 4)}-{digits(rng, 3)}",
        ("part {} is missing", "Artikel {}", "serial {}"),
    ),
    (lambda rng: f"@{rng.choice(values.NAMES)}", ("thanks {}!", "import {}/core", "npm i {}/pkg", "{} hat recht")),
    (
        lambda rng: f"std::{text(rng, 'abcdef', 4)}::{text(rng, 'abcdef', 3)}",
        ("use {};", "{}(x)", "in {} the lock is held"),
    ),
    (
        lambda rng: f"{rng.randrange(24)}:{rng.randrange(10, 60)}:{rng.randrange(10, 60)}",
        ("the race took {}", "um {} Uhr"),
    ),
    (lambda rng: f"x[{rng.randrange(99)}:{rng.randrange(99)}] = f({digits(rng, 6)})", ("    {}", "`{}`", "if y: {}")),
    (
        lambda rng: f"{rng.randrange(1, 90)}.{digits(rng, 6)}, {rng.randrange(1, 90)}.{digits(rng, 6)}",
        ("at {}", "coordinates: {}"),
    ),
    (lambda rng: text(rng, UPPER, 6) + digits(rng, 4), ("flight code {}", "Kennzeichen {}", "model {}")),
    (
        lambda rng: f"{rng.randrange(1, 29)}.{rng.randrange(1, 13)}.202{rng.randrange(10)}",
        ("bis {}", "due {}", "il {} alle 9"),
    ),
    (
        lambda rng: rng.choice(("the password policy", "a secret garden", "your key point", "token budget")),
        ("about {}", "{} is new"),
    ),
)
