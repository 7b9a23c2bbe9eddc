"""`redact`: a text on stdin, redacted on stdout."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

EMAIL = "ann@company.com"
CONFIG = """\
guardrails:
  - guardrail_name: strict
    litellm_params:
      guardrail: presidio
      mode: pre_call
      pii_entities_config: {EMAIL_ADDRESS: MASK, CREDIT_CARD: BLOCK}
"""


@pytest.fixture
def redact(tmp_path):
    """Runs the command in a process of its own: what it reads and writes are real files."""
    (tmp_path / "config.yaml").write_text(CONFIG)

    def run(text: str | bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        given = text.encode() if isinstance(text, str) else text
        command = (sys.executable, "-m", "extproc", "redact", *arguments)
        return subprocess.run(command, input=given, cwd=tmp_path, capture_output=True, timeout=60, check=False)

    return run


def test_everything_that_can_be_found_is_masked_and_explained_on_stderr(redact):
    ended = redact(f"write to {EMAIL}\r\nor {EMAIL}, card 4111 1111 1111 1111", "--explain")

    assert ended.stdout == b"write to <EMAIL_ADDRESS_1>\r\nor <EMAIL_ADDRESS_1>, card <CREDIT_CARD_1>"
    rows = [line.split() for line in ended.stderr.decode().splitlines()]
    assert rows[0] == ["entity", "span", "score", "action"]
    assert ["EMAIL_ADDRESS", "9-24", "1.0", "mask"] in rows
    assert EMAIL not in ended.stderr.decode()


def test_without_being_asked_nothing_is_told(redact):
    assert redact(EMAIL).stderr == b""


def test_json_has_the_text_and_every_finding(redact):
    told = json.loads(redact(f"{EMAIL} 4111111111111111", "--json", "--entities", "email_address").stdout)

    assert told == {
        "text": "<EMAIL_ADDRESS_1> 4111111111111111",
        "findings": [{"entity": "EMAIL_ADDRESS", "start": 0, "end": 15, "score": 1.0, "action": "mask"}],
    }


def test_a_value_that_spans_lines_is_found(redact):
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEF\n" * 20 + "-----END PRIVATE KEY-----\n"

    out = redact(f"before\n{key}after\n").stdout.decode()

    assert "MIIE" not in out
    assert out.startswith("before\n")
    assert out.endswith("after\n")


def test_bytes_that_are_no_text_pass_as_they_are(redact):
    assert redact(b"\xff\xfe " + EMAIL.encode() + b" \x80").stdout == b"\xff\xfe <EMAIL_ADDRESS_1> \x80"


def test_a_policy_of_the_configuration_masks_and_blocks(redact):
    policy = ("--policy", "strict", "--config", "config.yaml")

    assert redact(f"{EMAIL} +49 30 123456", *policy).stdout == b"<EMAIL_ADDRESS_1> +49 30 123456"
    blocked = redact("4111 1111 1111 1111", *policy)
    assert (blocked.returncode, blocked.stdout) == (1, b"")
    assert blocked.stderr == b"blocked: CREDIT_CARD is not allowed\n"


def test_what_others_would_be_asked_for_is_said_to_be_missing(redact, tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG.replace("CREDIT_CARD: BLOCK}", "PERSON: MASK}\n      ner: true"))

    ended = redact(f"Bob {EMAIL}", "--policy", "strict", "--config", "config.yaml")

    assert ended.stdout == b"Bob <EMAIL_ADDRESS_1>"
    assert b"names and places are not looked for here" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--policy", "strict"), "give --config, too"),
        (("--policy", "gone", "-c", "config.yaml"), "has no guardrail 'gone'; it has: strict"),
        (("--entities", "NOBODY"), "no recognizer finds 'NOBODY'"),
        (("--policy", "strict", "--entities", "URL"), "exclude each other"),
    ],
)
def test_what_cannot_be_looked_for_is_said_before_anything_is_read(redact, arguments, told):
    ended = redact(EMAIL, *arguments)

    assert (ended.returncode, ended.stdout) == (2, b"")
    assert told in ended.stderr.decode()
