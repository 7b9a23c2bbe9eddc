"""The ext_proc filter's settings, and that the processor may change what it must and nothing else."""

from __future__ import annotations

import re

import pytest
from betterproto2 import Casing

from extproc.envoyconfig import processor_filter
from extproc.model import Deployment, Key, Upstream
from extproc.policy import hygiene, refusals
from extproc.policy.credentials import CREDENTIAL_HEADERS
from extproc.policy.refusals import Refusal
from extproc.providers import registry
from extproc.settings.model import Settings

MUTABLE = re.compile(processor_filter.mutable_expression())


@pytest.fixture(scope="module")
def config():
    settings = Settings(message_timeout_ms=1_500)
    return processor_filter.processor_filter(settings).to_dict(casing=Casing.SNAKE)["typed_config"]


def allowed(names) -> bool:
    return all(MUTABLE.fullmatch(name.decode()) for name in names)


def test_it_fails_closed(config):
    """`false` is proto's default, so that it stays unsaid."""
    assert "failure_mode_allow" not in config
    assert config["status_on_error"] == {"code": "ServiceUnavailable"}
    assert config["message_timeout"] == "1.500s"


def test_the_request_is_held_back_and_the_response_is_not(config):
    assert config["processing_mode"] == {
        "request_header_mode": "SEND",
        "response_header_mode": "SEND",
        "request_body_mode": "BUFFERED",
        "response_body_mode": "STREAMED",
        "request_trailer_mode": "SKIP",
        "response_trailer_mode": "SKIP",
    }


def test_only_the_response_body_may_be_switched_off_or_asked_for_as_a_whole(config):
    configured, without, whole = config["allowed_override_modes"]

    assert config["allow_mode_override"] is True
    assert configured == config["processing_mode"]
    # NONE is proto's zero; what is not said is NONE.
    assert without == {name: mode for name, mode in configured.items() if name != "response_body_mode"}
    assert whole == configured | {"response_body_mode": "BUFFERED"}


def test_neither_cookies_nor_what_nobody_reads_is_shown(config):
    hidden = [pattern["exact"] for pattern in config["forward_rules"]["disallowed_headers"]["patterns"]]

    assert hidden == ["cookie", ":authority", ":method", ":scheme", "content-length", "x-forwarded-proto"]


def test_the_filter_is_off_except_where_a_route_asks():
    assert processor_filter.processor_filter(Settings()).disabled
    assert set(processor_filter.asks_processor()) == {processor_filter.FILTER}


def test_everything_else_may_not_change_and_an_attempt_is_an_error(config):
    rules = config["mutation_rules"]

    assert rules["disallow_all"] is True
    assert rules["disallow_is_error"] is True
    assert rules["allow_expression"] == {"regex": processor_filter.mutable_expression()}


@pytest.mark.parametrize("name", [":path", ":authority", ":method", ":scheme", "host", "x-forwarded-for", "via", "a"])
def test_what_leads_a_request_elsewhere_is_not_mutable(name):
    assert not MUTABLE.fullmatch(name)


def test_every_header_that_hygiene_sets_or_removes_upstream_is_mutable():
    seen = [(b"x-litellm-tags", b"a"), (b"x-extproc-a", b"b"), (b"authorization", b"c")]
    for provider in registry.HOSTS:
        set_headers, removed = hygiene.upstream_headers(seen, registry.credential_header(provider, "s"), "u", 1)

        assert allowed([name for name, _ in set_headers])
        assert allowed(removed)
    assert allowed(CREDENTIAL_HEADERS)


def test_headers_that_name_users_are_mutable_where_they_are_mapped():
    rendered = processor_filter.processor_filter(Settings(mapped_headers=("x-user-id",))).to_dict(casing=Casing.SNAKE)
    mutable = re.compile(rendered["typed_config"]["mutation_rules"]["allow_expression"]["regex"])

    assert mutable.fullmatch("x-user-id")
    assert mutable.fullmatch("authorization")
    assert not mutable.fullmatch("x-user-name")
    assert not MUTABLE.fullmatch("x-user-id")


def test_every_header_that_hygiene_sets_or_removes_downstream_is_mutable():
    upstream = Upstream("u", "https", "h", 443, "")
    deployment = Deployment("i", "m", "openai", "m", upstream, "b")
    key = Key(digest="d", name="n", rpm_limit=1, tpm_limit=1, max_budget=1)
    names = (b"set-cookie", b"openai-organization", b"x-ratelimit-limit", b"x-request-id", b"retry-after-ms")

    set_headers, removed = hygiene.downstream_headers([(name, b"v") for name in names], "c", deployment, "m", key)

    assert allowed([name for name, _ in set_headers])
    assert set(removed) == set(names)
    assert allowed(removed)


def test_every_header_of_a_refusal_is_mutable():
    known = [value for value in vars(refusals).values() if isinstance(value, Refusal)]

    assert allowed([name for name, _ in hygiene.refusal_headers("c")])
    assert all(allowed([name for name, _ in refusal.headers]) for refusal in known)
