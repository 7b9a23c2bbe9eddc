"""No secret passes into a log line, whoever logs it and through whichever door."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import msgspec
import pytest
import sqlalchemy
import structlog
from telemetry.test_logs import OUTCOME, configured

from extproc.telemetry import logs
from extproc.telemetry.scrubbing import scrubbed

SECRETS = {
    "a virtual key": ("sk-0123456789abcdefghijkl", "0123456789abcdefghijkl"),
    "a bearer token": ("Bearer abcdefgh.12345678", "abcdefgh.12345678"),
    "basic credentials": ("authorization: Basic dXNlcjpodW50ZXIy", "dXNlcjpodW50ZXIy"),
    "Anthropic's key": ("x-api-key=sk-ant-api03-AbCdEfGhIjKl_mn", "AbCdEfGhIjKl"),
    "Google's key": ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "SyA1234567890"),
    "Amazon's key": ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    "Groq's key": ("gsk_0123456789abcdefghij", "0123456789abcdefghij"),
    "Hugging Face's key": ("hf_0123456789abcdefghij", "0123456789abcdefghij"),
    "a token of GitHub": ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "0123456789abcdefghij"),
    "a token of Vault": ("hvs.CAESIJ0123456789abcdefghij", "CAESIJ0123456789"),
    "a JSON web token": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJzdWIiOiIxIn0"),
    "a database's password": ("postgresql+asyncpg://app:hunter2hunter2@db:5432/x?sslmode=require", "hunter2hunter2"),
    "Redis's password": ("redis://:hunter2hunter2@cache:6379/0", "hunter2hunter2"),
    "a password in a DSN": ("host=db password=hunter2hunter2 dbname=x", "hunter2hunter2"),
    "a password in the environment": ("PGPASSWORD=hunter2hunter2", "hunter2hunter2"),
    "a setting named for one": ("DATABASE_PASSWORD=hunter2hunter2", "hunter2hunter2"),
    "Amazon's secret": ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
    "Azure's key of an account": ("AccountKey=abcdefghijklmnopqrstuvwxyz0123456789==", "abcdefghijklmnop"),
    "a key in a repr": ("{'api_key': 'abcdefghijklmn'}", "abcdefghijklmn"),
    "a key in a header": ("api-key: abcdefghijklmn", "abcdefghijklmn"),
    "a token of GitLab": ("glpat-0123456789abcdefghij", "0123456789abcdefghij"),
    "a token of Slack": ("xoxb-0123456789-abcdefghij", "abcdefghij"),
    "a token of Google": ("ya29.a0AfH6SMB0123456789abcdefghij", "AfH6SMB0123456789"),
    "a token of npm": ("npm_0123456789abcdefghijABCDEFGHIJ012345", "0123456789abcdefghij"),
    "a token of PyPI": ("pypi-AgEIcHlwaS5vcmcCJDAxMjM0NTY3ODkw", "cHlwaS5vcmcCJDAx"),
    "Stripe's key": ("sk_live_0123456789abcdef", "0123456789abcdef"),
    "NVIDIA's key": ("nvapi-0123456789abcdefghij", "0123456789abcdefghij"),
    "SendGrid's key": ("SG.0123456789abcdefghijkl.0123456789abcdefghijklmnop", "0123456789abcdefghij"),
    "a private key": ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG\n-----END PRIVATE KEY-----", "MIIEvQIBADAN"),
}


@pytest.fixture
def logged():
    """Ends what is logged and gives its text; every line must still be JSON."""
    stream = io.StringIO()
    with configured(stream) as writer:

        def text() -> str:
            writer.close()
            lines = stream.getvalue().splitlines()
            assert lines
            assert all(isinstance(json.loads(line), dict) for line in lines)
            return stream.getvalue()

        yield text


@pytest.fixture(params=SECRETS)
def secret(request) -> tuple[str, str]:
    """A secret in its surroundings, and the part that must not be seen."""
    return SECRETS[request.param]


def by_the_event(text: str) -> None:
    structlog.get_logger().warning(f"it says {text} here")


def by_a_field(text: str) -> None:
    structlog.get_logger().info("failed", reason=text, nested={"list": [text, {"deep": text}]})


def raise_it(error: Exception) -> None:
    raise error


def by_an_exception(text: str) -> None:
    try:
        raise_it(ValueError(f"cannot use {text}, sorry"))
    except ValueError:
        structlog.get_logger().exception("failed")


def by_the_cause_of_an_exception(text: str) -> None:
    try:
        try:
            raise_it(KeyError(text))
        except KeyError as error:
            raise RuntimeError("outer") from error
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")


def by_the_standard_library(text: str) -> None:
    logging.getLogger("uvicorn.error").error("cannot serve %s", text)
    logging.getLogger("asyncio").error("Task exception was never retrieved", extra={"context": text})


def by_sqlalchemy(text: str) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    logger = logging.getLogger("sqlalchemy.engine.Engine")
    logger.setLevel(logging.INFO)
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select :secret"), {"secret": text})
    finally:
        logger.setLevel(logging.NOTSET)
        engine.dispose()


def by_the_line_of_an_exchange(text: str) -> None:
    logs.log_exchange(msgspec.structs.replace(OUTCOME, model_group=text, path=f"/v1/{text}"), 1_000)


def test_what_ends_the_process_is_told_without_its_secrets(secret):
    text, hidden = secret
    program = f"from extproc.telemetry import logs; logs.configure().close(); raise ValueError({text!r} + ' odd')"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 1
    assert "ValueError: " in ended.stderr
    assert hidden not in ended.stderr


@pytest.mark.parametrize(
    "leak",
    [
        by_the_event, by_a_field, by_an_exception, by_the_cause_of_an_exception, by_the_standard_library,
        by_sqlalchemy, by_the_line_of_an_exchange,
    ],
)  # fmt: skip
def test_no_secret_passes_a_door(logged, secret, leak):
    text, hidden = secret

    leak(text)

    assert hidden not in logged()


@pytest.mark.parametrize(
    "name", ["authorization", "Api-Key", "x-api-key", "db_password", "client_secret", "cookie", "token"]
)
def test_a_field_that_is_named_for_a_secret_loses_its_value_whatever_it_looks_like(logged, name):
    structlog.get_logger().info("asked", **{name: "ordinary"}, headers={name: "ordinary"}, pairs=[(name, b"ordinary")])

    assert "ordinary" not in logged()


def test_what_is_no_secret_stays(logged):
    told = {
        "key": "sk-...abcd", "over": ["api_key:soft_budget"], "address": "http://127.0.0.1:4000/v1", "input_tokens": 8,
        "mail": "ann@company.com", "event_id": "0191f0e2-7c1e-7000-8000-000000000000", "scope": "api_key",
        "limit": "api_key:rpm_limit", "parameter": "max_tokens=4096", "file": "SG.example",
    }  # fmt: skip

    structlog.get_logger().info("told", **told)

    line = json.loads(logged())
    assert {name: line[name] for name in told} == told


def test_the_usual_line_is_looked_at_once_and_given_back_as_it_is():
    line = json.dumps(logs.exchange_line(OUTCOME, 1))

    assert scrubbed(line) is line


def test_an_anonymous_exchange_does_not_tell_whose_it_was(logged):
    logs.log_exchange(OUTCOME, 1_000, anonymous=True)

    text = logged()
    assert json.loads(text)["event_id"] == "event"
    for whose in ("sk-...abcd", "laptop", "ada", "core"):
        assert whose not in text
