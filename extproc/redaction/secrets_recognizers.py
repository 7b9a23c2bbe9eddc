"""Keys, tokens and passwords: what opens a door.

Most issuers mark their keys with a prefix, so these rows are nearly certain. Sources: the issuers' documentation, and
the rules of gitleaks (MIT), written again with bounds. A key longer than its row is replaced as far as the row goes, so
the rows are generous. `SECRETS` are all the entities here, for a policy that wants them all.
"""

from __future__ import annotations

from extproc.redaction import checks
from extproc.redaction.recognizer import Recognizer, Valid

#: How long a private key or a web token may be, in characters: an RSA key of 16384 bits fits.
MAX_BLOCK_CHARS = 16 * 1024
_WORDS_FOR_IT = r"(?:password|passwort|kennwort|passwd|pwd|passphrase|contrasena|mot de passe|senha)"
_KEYWORDS = (
    *("key", "secret", "token", "passw", "pwd", "credential", "auth", "bearer"),
    *("apikey", "accesskey", "secretkey", "accesstoken", "authtoken", "refreshtoken", "clientsecret"),
)


def _row(entity: str, pattern: str, longest: int, score: float = 0.95) -> Recognizer:
    return Recognizer(entity, pattern, longest, score=score)


def _run(entity: str, characters: str, shortest: int, valid: Valid, context: tuple[str, ...]) -> Recognizer:
    """A run of characters without a mark of its own, worth something only behind a word of its context."""
    pattern = f"[{characters}]{{{shortest}}}"
    return Recognizer(entity, pattern, MAX_BLOCK_CHARS, valid, context, 0.05, block_characters=characters, whole=True)


def _holds_a_digit(text: str) -> bool:
    """A password that a sentence tells. `The password is required` tells none."""
    return any(map(str.isdigit, text))


def _aws_secret(text: str) -> bool:
    return len(text) == 40 and checks.mixed(text)


SECRETS_RECOGNIZERS = (
    _row("AWS_ACCESS_KEY", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b", 20),
    _run("AWS_SECRET_KEY", "A-Za-z0-9/+", 40, _aws_secret, ("aws", "secret", "amazon")),
    _row("GOOGLE_API_KEY", r"\bAIza[0-9A-Za-z_\-]{35}", 39),
    _row("GCP_TOKEN", r"\b(?:ya29\.[0-9A-Za-z_.\-]{20,400}|GOCSPX-[0-9A-Za-z_\-]{28})", 405),
    _row("AZURE_KEY", r"(?i)\bAccountKey=[A-Za-z0-9+/]{86}==|\bsig=[A-Za-z0-9%+/]{40,80}", 99),
    _row("AZURE_KEY", r"\b[A-Za-z0-9_~.\-]{3}\dQ~[A-Za-z0-9_~.\-]{31,34}", 40),
    _row("GITHUB_TOKEN", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,120})", 259),
    _row("GITLAB_TOKEN", r"\bgl(?:pat|dt|rt|ptt|ft|imt|oas|soat|agent|cbt|ffct)-[A-Za-z0-9_.\-]{20,128}", 136),
    _row("SLACK_TOKEN", r"\b(?:xox[abeoprs]|xapp|xwfp)-[A-Za-z0-9\-]{10,250}", 255),
    _row("SLACK_TOKEN", r"(?i)\bhooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{20,120}", 146),
    _row("STRIPE_KEY", r"\b(?:(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{10,200}|whsec_[0-9A-Za-z+/=]{20,100})", 208),
    _row("OPENAI_API_KEY", r"\bsk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_\-]{20,220}|\bsk-[A-Za-z0-9]{20,100}\b", 231),
    _row("ANTHROPIC_API_KEY", r"\bsk-ant-[A-Za-z0-9_\-]{20,220}", 227),
    _row("GATEWAY_KEY", r"\bsk-[A-Za-z0-9_\-]{20,220}", 223, 0.9),
    _row("HUGGINGFACE_TOKEN", r"\b(?:hf|api_org)_[A-Za-z0-9]{30,100}", 108),
    _row("NPM_TOKEN", r"\bnpm_[A-Za-z0-9]{36,100}", 104),
    _row("PYPI_TOKEN", r"\bpypi-AgEI[A-Za-z0-9_\-]{40,400}", 409),
    _row("API_KEY", r"\b(?:gsk|r8|pplx|xai|nvapi|fw|tgp_v1|dop_v1|lsv2_pt)[_\-][A-Za-z0-9_\-]{30,160}", 168),
    _row(
        "API_KEY",
        r"\bSG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}|\bdapi[a-f0-9]{32}\b|\b\d{8,10}:AA[A-Za-z0-9_\-]{33}",
        69,
    ),
    Recognizer(
        "JWT",
        r"\beyJ[A-Za-z0-9_\-]{8,600}\.[A-Za-z0-9_\-]{4}",
        MAX_BLOCK_CHARS,
        score=0.95,
        block_characters=r"A-Za-z0-9_.=\-",
    ),
    Recognizer(
        "PRIVATE_KEY",
        r"(?i)-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----",
        MAX_BLOCK_CHARS,
        score=1.0,
        until=r"(?i)-----END (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----",
        block_characters=r"A-Za-z0-9+/=\s\\:,.()@<>_\-",
    ),
    _row(
        "CONNECTION_STRING",
        r"""(?i)\b(?:postgres(?:ql)?|mysql|mariadb|mongodb|redis|rediss|amqps?|mssql|sqlserver|oracle|clickhouse|kafka|"""
        r"""nats|ldaps?|smtps?|snowflake|cockroachdb)(?:\+[a-z0-9_]{1,20})?://[^\s:/@"'<>]{0,128}:[^\s@"'<>]{1,256}@"""
        r"""[^\s"'<>]{1,400}""",
        821,
    ),
    _row("CONNECTION_STRING", r"""(?i)\b(?:password|pwd)\s{0,2}=\s{0,2}[^;\s"'<>]{1,256};""", 270, 0.7),
    _row(
        "PASSWORD",
        rf"""(?i)\b{_WORDS_FOR_IT}["']?\s{{0,3}}[:=]\s{{0,3}}["']?[^\s"',;<>]{{4,128}}""",
        149,
        0.5,
    ),
    Recognizer(
        "PASSWORD",
        rf"""(?i)\b{_WORDS_FOR_IT}\s{{1,3}}(?:is|ist|est|es|to)[\s:]{{1,3}}["']?[^\s"',;<>]{{4,128}}""",
        150,
        _holds_a_digit,
        score=0.5,
    ),
    _run("SECRET", r"A-Za-z0-9+/_=.~\-", 16, checks.mixed, _KEYWORDS),
)

SECRETS = tuple(dict.fromkeys(row.entity for row in SECRETS_RECOGNIZERS))
