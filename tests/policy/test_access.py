"""Whether a key may be used, and for which models."""

from __future__ import annotations

import pytest

from extproc.model import Key
from extproc.policy import access, refusals


def key(**fields):
    return Key(digest="d", name="sk-...abcd", **fields)


def test_a_plain_key_may_be_used():
    assert access.check_key(key(), now=1_000) is None


def test_a_blocked_key_is_refused_as_blocked_even_if_it_is_expired_too():
    assert access.check_key(key(blocked=True, expires_at=1), now=1_000) == refusals.KEY_BLOCKED


@pytest.mark.parametrize(("now", "refused"), [(999, False), (1_000, True), (1_001, True)])
def test_a_key_is_expired_from_the_millisecond_of_its_expiry(now, refused):
    assert (access.check_key(key(expires_at=1_000), now) is not None) is refused


def test_the_refusal_of_an_expired_key_names_both_moments():
    refusal = access.check_key(key(expires_at=1_700_000_000_000), now=1_700_000_000_500)

    assert refusal == refusals.expired_key(
        "sk-...abcd", "2023-11-14 22:13:20.000+00:00", "2023-11-14 22:13:20.500+00:00"
    )


@pytest.mark.parametrize(
    ("models", "model", "allowed"),
    [
        ((), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("gpt-4o",), "GPT-4O", False),
        (("openai/*",), "openai/gpt-4o", True),
        (("openai/*",), "openai", False),
        (("*-mini",), "gpt-4o-mini", True),
        (("a*a",), "a", False),
        (("a*a",), "aa", True),
        (("*",), "anything", True),
        (("all-proxy-models",), "anything", True),
        (("a", "b*"), "bc", True),
        (("a*b*",), "axbx", False),
    ],
)
def test_the_list_of_models_decides(models, model, allowed):
    assert access.allows_model(key(models=models), model) is allowed
