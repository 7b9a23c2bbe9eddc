"""Which headers cross the gateway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.holds import Limit, Measure, Scope, Span
from extproc.model import Deployment, Key, Upstream
from extproc.policy import hygiene, refusals
from extproc.policy.credentials import CREDENTIAL_HEADERS

UPSTREAM = Upstream("openai", "https", "api.openai.com", 443, "/v1")
DEPLOYMENT = Deployment("id-1", "gpt-4o", "openai", "gpt-4o", UPSTREAM, "https://api.openai.com/v1")


@pytest.mark.parametrize("value", [b"gzip", b"br", b"deflate", b"zstd", b"identity, gzip", b"GZIP"])
def test_a_compressed_body_is_refused(value):
    assert hygiene.check_headers([(b"content-encoding", value)]) == refusals.COMPRESSED_BODY


@pytest.mark.parametrize("value", [b"text/plain", b"multipart/form-data; boundary=x", b"application/json-x", b""])
def test_a_body_that_says_it_is_not_json_is_refused(value):
    assert hygiene.check_headers([(b"content-type", value)]) == refusals.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"application/json")],
        [(b"content-type", b"Application/JSON; charset=utf-8"), (b"content-encoding", b"identity")],
        [(b"content-encoding", b"")],
    ],
)
def test_a_plain_json_body_is_welcome(headers):
    assert hygiene.check_headers(headers) is None


def test_a_second_content_encoding_is_seen():
    headers = [(b"content-encoding", b"identity"), (b"content-encoding", b"gzip")]

    assert hygiene.check_headers(headers) == refusals.COMPRESSED_BODY


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ([(b"a", b"")] * hygiene.MAX_HEADERS, None),
        ([(b"a", b"")] * (hygiene.MAX_HEADERS + 1), refusals.HEADERS_TOO_LARGE),
        ([(b"abc", b"d" * (hygiene.MAX_HEADER_BYTES - 3))], None),
        ([(b"abc", b"d" * (hygiene.MAX_HEADER_BYTES - 2))], refusals.HEADERS_TOO_LARGE),
    ],
)
def test_headers_are_bounded_in_number_and_size(headers, refusal):
    assert hygiene.check_headers(headers) == refusal


def test_the_clients_credential_never_goes_upstream_and_the_providers_does():
    set_headers, removed = hygiene.upstream_headers(
        [(b"x-api-key", b"sk-client")], (b"authorization", b"Bearer provider"), "openai", 12
    )

    assert set_headers == (
        (b"x-extproc-upstream", b"openai"),
        (b"content-type", b"application/json"),
        (b"content-length", b"12"),
        (b"accept-encoding", b"identity"),
        (b"authorization", b"Bearer provider"),
    )
    assert CREDENTIAL_HEADERS - {b"authorization"} <= set(removed)
    assert b"authorization" not in removed


def test_every_credential_header_is_removed_for_a_provider_without_one():
    _, removed = hygiene.upstream_headers([], None, "local", 2)

    assert set(removed) >= CREDENTIAL_HEADERS


def test_what_a_provider_must_be_told_is_set_unless_the_client_says_it():
    usual = ((b"anthropic-version", b"2023-06-01"),)

    unsaid, _ = hygiene.upstream_headers([], None, "local", 2, (), usual)
    said, _ = hygiene.upstream_headers([(b"anthropic-version", b"2024-01-01")], None, "local", 2, (), usual)

    assert usual[0] in unsaid
    assert b"anthropic-version" not in dict(said)


def test_everything_of_ours_and_cookies_are_removed_on_the_way_up():
    seen = [(b"x-litellm-anything", b"1"), (b"x-extproc-upstream", b"evil"), (b"accept", b"*/*")]

    _, removed = hygiene.upstream_headers(seen, None, "local", 2)

    assert {b"x-litellm-anything", b"x-extproc-upstream", b"cookie"} <= set(removed)
    assert b"accept" not in removed


def test_the_client_learns_what_can_be_known_under_litellms_names():
    key = Key(digest="d", name="n", rpm_limit=0, tpm_limit=5, max_budget=1_500_000_000)

    set_headers, removed = hygiene.downstream_headers([], "call-1", DEPLOYMENT, "gpt-4o", key)

    assert dict(set_headers) == {
        b"x-litellm-call-id": b"call-1",
        b"x-litellm-model-id": b"id-1",
        b"x-litellm-model-api-base": b"https://api.openai.com/v1",
        b"x-litellm-model-group": b"gpt-4o",
        b"x-litellm-version": dict(set_headers)[b"x-litellm-version"],
        b"x-litellm-key-rpm-limit": b"0",
        b"x-litellm-key-tpm-limit": b"5",
        b"x-litellm-key-max-budget": b"1.5",
    }
    assert removed == ()


@pytest.mark.parametrize(("nanos", "shown"), [(0, b"0.0"), (2_000_000_000, b"2.0"), (1, b"0.000000001")])
def test_a_budget_is_shown_in_dollars_to_the_nano(nanos, shown):
    key = Key(digest="d", name="n", max_budget=nanos)

    set_headers, _ = hygiene.downstream_headers([], "c", DEPLOYMENT, "m", key)

    assert dict(set_headers)[b"x-litellm-key-max-budget"] == shown


def test_the_operators_account_is_not_shown_and_the_providers_limits_are_renamed():
    seen = [
        (b"openai-organization", b"acme"),
        (b"set-cookie", b"a"),
        (b"x-ratelimit-limit-requests", b"5"),
        (b"a", b"b"),
    ]

    set_headers, removed = hygiene.downstream_headers(seen, "c", DEPLOYMENT, "m", Key(digest="d", name="n"))

    assert set(removed) == {b"openai-organization", b"set-cookie", b"x-ratelimit-limit-requests"}
    assert (b"llm_provider-x-ratelimit-limit-requests", b"5") in set_headers


def test_a_refused_client_gets_json_and_the_call_id():
    assert hygiene.refusal_headers("call-1") == (
        (b"content-type", b"application/json"),
        (b"x-litellm-call-id", b"call-1"),
    )


def test_tags_are_trimmed_and_bounded():
    assert hygiene.tags(b" a, b ,,c" + b"x" * 500) == ("a", "b", "c" + "x" * 127)
    assert len(hygiene.tags(b",".join([b"t"] * 1_000))) == 32


@given(st.text())
def test_a_clients_text_becomes_a_harmless_header_value(text):
    value = hygiene.printable(text)

    assert len(value) <= 256
    assert all(32 <= byte <= 126 for byte in value)


KEY, TEAM = Scope("api_key", "d"), Scope("team", "t")


def limit_headers(*left: tuple[Limit, int], alone: bool = False) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in hygiene.limit_headers(left, alone=alone)}


def test_every_rate_is_told_by_litellms_name_and_the_tightest_by_openais():
    rpm = Limit(KEY, Measure.REQUESTS, Span.ROLLING, 10, setting="rpm_limit")
    team_rpm = Limit(TEAM, Measure.REQUESTS, Span.ROLLING, 100, setting="rpm_limit")
    places = Limit(KEY, Measure.PARALLEL, Span.GAUGE, 3, setting="max_parallel_requests")

    assert limit_headers((rpm, 9), (team_rpm, 4), (places, 2)) == {
        "x-ratelimit-api_key-limit-requests": "10",
        "x-ratelimit-api_key-remaining-requests": "9",
        "x-ratelimit-team-limit-requests": "100",
        "x-ratelimit-team-remaining-requests": "4",
        "x-ratelimit-api_key-limit-max_parallel_requests": "3",
        "x-ratelimit-api_key-remaining-max_parallel_requests": "2",
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "60s",
    }


def test_budgets_and_limits_that_are_only_tried_out_are_not_told():
    budget = Limit(KEY, Measure.SPEND, Span.WINDOW, 10)
    tried_out = Limit(KEY, Measure.REQUESTS, Span.ROLLING, 10, enforced=False)

    assert limit_headers((budget, 1), (tried_out, 1)) == {}


def test_an_outage_is_told():
    assert limit_headers(alone=True) == {"x-extproc-outage": "counters"}


@pytest.mark.parametrize(
    ("found", "failed", "expected"),
    [
        ({}, "", ((b"x-extproc-redactions", b"none"),)),
        (
            {("request", "B", "mask"): 1, ("request", "A", "log"): 2, ("response", "A", "mask"): 1},
            "not_json",
            ((b"x-extproc-redactions", b"A=3, B=1"), (b"x-extproc-redaction-failed", b"not_json")),
        ),
    ],
)
def test_what_was_found_is_told_by_entity_and_never_by_value(found, failed, expected):
    assert hygiene.redaction_headers(found, failed) == expected
