"""Keys and passwords are found whole, and what only looks like one is left alone."""

import pytest
from redaction.redacting import compiled, found

from extproc.redaction import SECRETS
from extproc.redaction.secrets_recognizers import MAX_BLOCK_CHARS

KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
BODY = "MIIEpAIBAAKCAQEA" + "aB3+/" * 20
PEM = f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{BODY}\n{BODY}\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


@pytest.mark.parametrize(
    ("entity", "value"),
    [
        ("AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE"),
        ("GOOGLE_API_KEY", "AIza" + KEY[:35]),
        ("GCP_TOKEN", "ya29." + KEY),
        ("GCP_TOKEN", "GOCSPX-" + KEY[:28]),
        ("AZURE_KEY", "AccountKey=" + (KEY + KEY)[:86] + "=="),
        ("AZURE_KEY", "abc8Q~" + KEY[:34]),
        ("GITHUB_TOKEN", "ghp_" + KEY[:36]),
        ("GITHUB_TOKEN", "github_pat_" + KEY),
        ("GITLAB_TOKEN", "glpat-" + KEY[:20]),
        ("SLACK_TOKEN", "xoxb-123456789012-" + KEY[:24]),
        ("SLACK_TOKEN", "hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"),
        ("STRIPE_KEY", "sk_live_" + KEY[:24]),
        ("OPENAI_API_KEY", "sk-proj-" + KEY),
        ("OPENAI_API_KEY", "sk-" + KEY[:48]),
        ("ANTHROPIC_API_KEY", "sk-ant-api03-" + KEY),
        ("GATEWAY_KEY", "sk-" + KEY[:20] + "-_" + KEY[20:41]),
        ("HUGGINGFACE_TOKEN", "hf_" + KEY[:34]),
        ("NPM_TOKEN", "npm_" + KEY[:36]),
        ("PYPI_TOKEN", "pypi-AgEIcHlwaS5vcmc" + KEY),
        ("API_KEY", "gsk_" + KEY[:52]),
        ("API_KEY", "SG." + KEY[:22] + "." + KEY[:43]),
        ("JWT", JWT),
        ("PRIVATE_KEY", PEM),
        ("PRIVATE_KEY", PEM.replace("\n", "\\n")),
        ("CONNECTION_STRING", "postgresql+asyncpg://app:p@ss/w0rd@db.example.com:5432/app"),
        ("CONNECTION_STRING", "Password=hunter2;"),
        ("PASSWORD", "password: hunter2"),
    ],
)
def test_a_secret_is_found_whole_whatever_else_is_looked_for(entity, value):
    assert found(compiled(*SECRETS), f"it is {value} I think") == [(entity, value)]


@pytest.mark.parametrize(
    ("entity", "text", "value"),
    [
        (
            "AWS_SECRET_KEY",
            "aws secret wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        ("SECRET", "token = 9f8a7b6c5d4e3f2a1b0c", "9f8a7b6c5d4e3f2a1b0c"),
        ("SECRET", "The token is 9f8a7b6c5d4e3f2a1b0c.", "9f8a7b6c5d4e3f2a1b0c"),
        ("SECRET", 'api_key: "' + KEY * 10 + '"', KEY * 10),
    ],
)
def test_a_run_of_chance_is_a_secret_beside_a_word_that_says_so(entity, text, value):
    assert found(compiled(entity), text) == [(entity, value)]
    assert found(compiled(entity), value) == []


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("SECRET", "the token is aaaaaaaaaaaaaaaaaaaaaaaa1"),
        ("SECRET", "authentication internationalization"),
        ("SECRET", "key " + "x" * 30 + "/9f8a7b6c5d4e3f2a1b0c"[:1]),
        ("AWS_SECRET_KEY", "aws " + KEY[:39]),
        ("AWS_SECRET_KEY", "aws " + KEY[:41]),
        ("OPENAI_API_KEY", "sk-short, task-management-is-easy-and-long"),
        ("JWT", "eyJhbGciOiJIUzI1NiJ9 alone"),
        ("PASSWORD", "the password is wrong"),
        ("PASSWORD", "the password is required"),
    ],
)
def test_what_only_looks_like_a_secret_is_left_alone(entity, text):
    assert found(compiled(entity), text) == []


def test_a_run_is_not_searched_from_its_middle():
    text = "no-word " + KEY[:20] + "key=" + KEY[20:]

    assert found(compiled("SECRET"), text) == []


def test_a_private_key_without_an_end_is_masked_as_far_as_it_goes():
    begun = PEM[: PEM.index("-----END")]

    assert found(compiled("PRIVATE_KEY"), begun + "'") == [("PRIVATE_KEY", begun)]


def test_no_block_is_longer_than_its_bound():
    endless = "-----BEGIN PRIVATE KEY-----" + "A" * 2 * MAX_BLOCK_CHARS

    assert found(compiled("PRIVATE_KEY"), endless) == [("PRIVATE_KEY", endless[:MAX_BLOCK_CHARS])]


@pytest.mark.parametrize("text", ["The password is hunter22", "Das Passwort ist Winter#73", "Passwort: Winter#73"])
def test_a_password_that_a_sentence_tells_is_found(text):
    assert found(compiled("PASSWORD"), text) == [("PASSWORD", text.removeprefix("The ").removeprefix("Das "))]
