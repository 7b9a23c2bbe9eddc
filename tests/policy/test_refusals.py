"""The table of refusals: LiteLLM's statuses, types and texts."""

from __future__ import annotations

import json

import pytest

from extproc.policy import refusals
from extproc.policy.refusals import Refusal

CONSTANTS = {name: value for name, value in vars(refusals).items() if isinstance(value, Refusal)}


def test_the_envelope_is_litellms():
    assert json.loads(refusals.envelope(refusals.UNKNOWN_KEY)) == {
        "error": {
            "message": "Authentication Error, Invalid API key provided.",
            "type": "token_not_found_in_db",
            "param": "key",
            "code": "401",
        }
    }


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_every_refusal_has_an_error_status_a_type_a_sentence_and_a_label(name):
    refusal = CONSTANTS[name]

    assert 400 <= refusal.status < 600
    assert refusal.kind
    assert refusal.message
    assert refusal.reason.isidentifier()


@pytest.mark.parametrize(
    ("refusal", "status", "kind", "param"),
    [
        (refusals.not_a_virtual_key("****"), 401, "auth_error", None),
        (refusals.expired_key("sk-...", "a", "b"), 401, "expired_key", "sk-..."),
        (refusals.model_not_allowed("m"), 403, "key_model_access_denied", "model"),
        (refusals.unknown_model("m", "/chat/completions"), 400, "invalid_request_error", None),
        (refusals.malformed_body("why", "messages", 400), 400, "invalid_request_error", "messages"),
    ],
)
def test_a_made_refusal_has_litellms_status_and_type(refusal, status, kind, param):
    assert (refusal.status, refusal.kind, refusal.param) == (status, kind, param)


@pytest.mark.parametrize(
    ("refusal", "status", "reason"),
    [
        (refusals.too_many_failures(1_001), 429, "too_many_failures"),
        (refusals.model_without_api("m", "/v1/messages"), 400, "model_without_api"),
        (refusals.stream_not_inspected("pii"), 400, "stream_not_inspected"),
        (refusals.answer_not_redacted("not_json"), 502, "redaction_not_json"),
        (refusals.not_redacted("timeout"), 500, "redaction_timeout"),
        (refusals.not_redacted("text_too_long"), 400, "redaction_text_too_long"),
    ],
)
def test_each_of_the_later_refusals_has_its_status_and_its_reason(refusal, status, reason):
    assert (refusal.status, refusal.reason) == (status, reason)


def test_whoever_failed_too_often_is_told_how_long_to_wait():
    assert refusals.too_many_failures(1_001).headers == ((b"retry-after", b"2"),)
