"""Which body a response gets where answers are looked into, and what the whole ones give."""

from __future__ import annotations

import json

import pytest
from bodies.test_redaction import EMAIL, asked, compiled, user

from extproc.bodies import redacted
from extproc.bodies.redacted import RedactedErrorBody, RedactedPlainBody, RedactedStreamBody, WithheldBody
from extproc.bodies.redaction import Redaction
from extproc.bodies.response import OpaqueBody
from extproc.errors import RedactionFailed
from extproc.providers import openai_chat
from extproc.redaction import OnFailure

JSON, STREAM, TEXT = b"application/json", b"text/event-stream", b"text/plain"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def redaction(**settings) -> Redaction:
    made = Redaction([compiled(**settings)], b"")
    asked(made, user(EMAIL))
    return made


def chosen(kind: bytes, *, failed: bool = False, encoding: bytes = b"identity"):
    headers = {b"content-type": kind + b"; charset=utf-8", b"content-encoding": encoding}
    return redacted.body(openai_chat, redaction(), headers, failed=failed, hide_usage=True, limit=1_000)


@pytest.mark.parametrize(
    ("kind", "failed", "expected"),
    [
        (JSON, False, RedactedPlainBody),
        (JSON, True, RedactedErrorBody),
        (TEXT, True, RedactedErrorBody),
        (STREAM, False, RedactedStreamBody),
        (STREAM, True, RedactedStreamBody),
        (TEXT, False, WithheldBody),
        (b"", False, WithheldBody),
    ],
)
def test_the_body_follows_from_its_type(kind, failed, expected):
    assert type(chosen(kind, failed=failed)) is expected


def test_a_compressed_body_is_withheld_whatever_it_is():
    assert type(chosen(JSON, encoding=b"gzip")) is WithheldBody


@pytest.mark.parametrize("settings", [{"on_failure": OnFailure.ALLOW}, {"dry_run": True}])
@pytest.mark.parametrize(
    ("headers", "failed", "expected"),
    [
        ({b"content-type": TEXT}, False, OpaqueBody),
        ({b"content-type": JSON, b"content-encoding": b"gzip"}, False, OpaqueBody),
        ({b"content-type": JSON, b"content-encoding": b"gzip"}, True, OpaqueBody),
    ],
)
def test_what_cannot_be_read_passes_where_no_policy_minds_and_that_is_told(settings, headers, failed, expected):
    made = redaction(response="mask", **settings)

    body = redacted.body(openai_chat, made, headers, failed=failed, hide_usage=True, limit=1_000)

    assert type(body) is expected
    assert made.failed == "unreadable_answer"


def test_a_document_is_held_until_it_is_whole_and_then_rewritten():
    answer = {"id": "c", "choices": [{"message": {"content": "dear <EMAIL_ADDRESS_1>"}}], "usage": USAGE}
    encoded = json.dumps(answer).encode()
    body = chosen(JSON)

    held = [body.feed(encoded[:10]), body.feed(encoded[10:])]
    passed = json.loads(body.flush())

    assert held == [b"", b""]
    assert passed["choices"][0]["message"]["content"] == f"dear {EMAIL}"
    assert (body.usage.input_tokens, body.usage.output_tokens, body.finished) == (3, 2, True)


def test_a_document_beyond_the_limit_does_not_pass():
    body = chosen(JSON)
    body.feed(b"a" * 1_001)

    with pytest.raises(RedactionFailed, match="text_too_long"):
        body.flush()


@pytest.mark.parametrize(
    ("kind", "body", "passed"),
    [
        (JSON, b'{"error": {"message": "<EMAIL_ADDRESS_1>?"}}', b'{"error":{"message":"ann@company.com?"}}'),
        (TEXT, b"<EMAIL_ADDRESS_1>?", b"ann@company.com?"),
        (JSON, b"", b""),
    ],
)
def test_an_error_is_rewritten_whatever_its_shape(kind, body, passed):
    error = chosen(kind, failed=True)
    error.feed(body)

    assert error.flush() == passed


def test_a_document_that_cannot_be_searched_passes_where_the_policy_says_so():
    made = redaction(on_failure=OnFailure.ALLOW)
    body = RedactedPlainBody(openai_chat, made, 1_000)
    body.feed(b"{ broken")

    assert body.flush() == b"{ broken"
    assert made.failed == "not_json"


def test_of_a_withheld_body_nothing_passes_and_its_size_is_known():
    body = WithheldBody()

    assert body.feed(b"a" * 40) == b""
    with pytest.raises(RedactionFailed, match="unreadable_answer"):
        body.flush()
    assert (body.finished, body.seen_tokens()) == (True, 10)


@pytest.mark.parametrize("kind", [JSON, STREAM, TEXT])
def test_an_answer_that_is_cut_is_counted_and_not_searched(kind):
    made = redaction(response="block")
    body = redacted.body(openai_chat, made, {b"content-type": kind}, failed=False, hide_usage=True, limit=1_000)
    said = {"content": EMAIL}
    answer = json.dumps({"choices": [{"message": said, "delta": said}], "usage": USAGE}).encode()
    body.feed(b"data: " + answer if kind == STREAM else answer)

    body.cut()

    assert (body.usage is None) == (kind == TEXT)
    assert "response" not in {direction for direction, *_ in made.found}


def test_an_error_of_any_type_is_read_through_jsons_escapes():
    made = redaction(response="mask")
    headers = {b"content-type": b"application/problem+json"}
    body = redacted.body(openai_chat, made, headers, failed=True, hide_usage=True, limit=1_000)
    body.feed(rb'{"detail": "bob\u0040company.com is unknown"}')

    assert json.loads(body.flush()) == {"detail": "<EMAIL_ADDRESS_2> is unknown"}
