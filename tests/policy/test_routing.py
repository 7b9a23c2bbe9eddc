"""Which deployment serves a model name."""

from __future__ import annotations

from collections import Counter

import msgspec

from extproc.model import Deployment, Upstream
from extproc.policy.routing import Route, Routes

UPSTREAM = Upstream("api.example.com", "https", "api.example.com", 443, "/v1")


def deployment(name, provider_model="m", number=0):
    return Deployment(f"{name}-{number}", name, "openai", provider_model, UPSTREAM, "https://api.example.com/v1")


def test_only_a_deployment_whose_provider_speaks_the_api_serves_it():
    chat, wildcard = deployment("m"), deployment("*")
    claude = msgspec.structs.replace(deployment("m", "claude", 1), provider="anthropic")
    routes = Routes([chat, claude, wildcard])

    chosen = [routes.choose("m", f"event-{number}", "anthropic_messages") for number in range(20)]

    assert chosen == [Route(claude, "claude")] * 20
    assert routes.choose("m", "x", "openai_chat") == Route(chat, "m")
    assert routes.choose("other", "x", "anthropic_messages") is None


def test_an_exact_name_comes_before_a_wildcard():
    exact, wildcard = deployment("gpt-4o", "gpt-4o"), deployment("gpt-*", "*")

    assert Routes([wildcard, exact]).choose("gpt-4o", "x") == Route(exact, "gpt-4o")


def test_a_longer_wildcard_comes_before_a_shorter_one():
    short, long = deployment("*", "a"), deployment("gpt-*", "b")

    assert Routes([short, long]).choose("gpt-4o", "x") == Route(long, "b")


def test_what_the_star_matched_takes_its_place_in_the_provider_model():
    wildcard = deployment("openai/*-x", "v1/*")

    assert Routes([wildcard]).choose("openai/gpt-4o-x", "x") == Route(wildcard, "v1/gpt-4o")


def test_an_unknown_model_has_no_route():
    assert Routes([deployment("gpt-4o"), deployment("a*")]).choose("b", "x") is None


def test_deployments_of_one_name_share_the_load():
    routes = Routes([deployment("m", number=number) for number in range(3)])

    chosen = Counter(routes.choose("m", f"event-{number}").deployment.id for number in range(3_000))

    assert len(chosen) == 3
    assert min(chosen.values()) > 800


def test_the_same_exchange_always_gets_the_same_deployment():
    routes = Routes([deployment("m", number=number) for number in range(3)])

    assert routes.choose("m", "event") == routes.choose("m", "event")
