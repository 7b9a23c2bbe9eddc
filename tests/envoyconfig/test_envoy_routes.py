"""The route table, read from top to bottom."""

from __future__ import annotations

import re

import pytest
from betterproto2 import Casing
from envoyconfig.renderings import LOCAL, OPENAI, settings_for

from extproc.envoyconfig import processor_filter, routes
from extproc.model import Deployment, Upstream
from extproc.policy.destinations import NAMES, Destinations, Pattern
from extproc.providers.registry import APIS, HOSTS
from extproc.settings import Settings


@pytest.fixture(scope="module")
def table():
    host = routes.route_table(settings_for(OPENAI, LOCAL, max_request_bytes=1000)).to_dict(casing=Casing.SNAKE)
    return host["virtual_hosts"][0]


def by_name(table, name):
    return next(route for route in table["routes"] if route["name"] == name)


def test_what_is_declared_too_large_is_refused_before_anything_is_asked(table):
    first = table["routes"][0]

    assert first["direct_response"]["status"] == 413
    assert first["match"]["headers"][0]["range_match"]["start"] == "1001"
    assert table["request_body_buffer_limit"] == 1000


def test_a_provider_is_reached_only_by_the_processors_header(table):
    """Whatever leads to a cluster of a provider's asks for the header, and for the processor."""
    leading = [r for r in table["routes"] if r.get("route", {}).get("cluster") in {OPENAI.name, LOCAL.name}]

    assert len(leading) == 2 * len(HOSTS["openai"].apis)
    for route in leading:
        chosen = {"name": "x-extproc-upstream", "string_match": {"exact": route["route"]["cluster"]}}
        assert chosen in route["match"]["headers"]
        assert processor_filter.FILTER in route["typed_per_filter_config"]


def test_a_provider_has_routes_for_the_apis_it_speaks_and_no_others():
    upstream = Upstream("api.anthropic.com", "https", "api.anthropic.com", 443, "/v1")
    deployment = Deployment("1", "claude", "anthropic", "claude-x", upstream, "https://api.anthropic.com/v1")
    table = routes.route_table(Settings(deployments=(deployment,))).to_dict(casing=Casing.SNAKE)["virtual_hosts"][0]

    leading = [r for r in table["routes"] if r.get("route", {}).get("cluster") == upstream.name]

    assert [r["name"] for r in leading] == ["anthropic_messages at api.anthropic.com"]
    assert leading[0]["route"]["path_rewrite"] == "/v1/messages"


def test_the_path_is_the_upstreams_own_and_the_host_too(table):
    route = by_name(table, f"openai_chat at {LOCAL.name}")["route"]

    assert route["path_rewrite"] == "/v1/chat/completions"
    assert route["host_rewrite_literal"] == "127.0.0.1:8000"


def test_a_stream_may_last_but_not_stand_still(table):
    route = by_name(table, f"openai_chat at {OPENAI.name}")["route"]

    assert (route["timeout"], route["idle_timeout"]) == ("0s", "600s")


def test_nothing_is_sent_twice_that_a_provider_may_have_seen(table):
    policy = by_name(table, f"openai_chat at {OPENAI.name}")["route"]["retry_policy"]

    assert set(policy["retry_on"].split(",")) == {"connect-failure", "refused-stream", "reset-before-request"}


def test_the_last_route_is_for_everything_else(table):
    assert table["routes"][-1]["match"] == {"prefix": "/"}
    assert table["routes"][-1]["direct_response"]["status"] == 404


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.NAME)
def test_an_apis_paths_match_with_a_model_of_one_segment(api):
    expression = re.compile(routes.paths_expression(api))

    for path in api.PATHS:
        assert expression.fullmatch(path.replace("{model}", "gpt-4%20o.1"))
        assert not expression.fullmatch(path.replace("{model}", "a/b") + "/")


@pytest.mark.parametrize(
    "path", ["/", "/key/generate", "/v1/models", "/v1/models/gpt", "/health/liveliness", "/metrics"]
)
def test_management_paths(path):
    assert re.fullmatch(routes.management_expression(), path)


@pytest.mark.parametrize("path", ["/keys", "/key", "/healthz", "/v1/chat/completions", "/ui", "/metricsx", "/v1"])
def test_other_paths_are_not_the_managements(path):
    assert not re.fullmatch(routes.management_expression(), path)


def test_no_api_path_is_a_management_path():
    paths = [path for api in APIS for path in api.PATHS]

    assert not [path for path in paths if re.fullmatch(routes.management_expression(), path)]


def test_a_host_that_is_not_configured_is_reached_only_by_the_processors_address_and_name():
    settings = settings_for(OPENAI, stored_model_hosts=Destinations((Pattern("https"), Pattern("http"))))
    routes_of = routes.route_table(settings).to_dict(casing=Casing.SNAKE)["virtual_hosts"][0]["routes"]
    leading = [r for r in routes_of if r.get("route", {}).get("cluster") in NAMES.values()]

    assert len(leading) == 2 * len(APIS)
    for route in leading:
        needed = {(each["name"], each.get("present_match")) for each in route["match"]["headers"]}
        assert needed >= {("x-extproc-address", True), ("x-extproc-authority", True), ("x-extproc-upstream", None)}
        assert route["route"]["host_rewrite_header"] == "x-extproc-authority"
        assert route["route"]["path_rewrite"].startswith("%REQ(x-extproc-base-path)%/")
        assert processor_filter.FILTER in route["typed_per_filter_config"]


def test_such_a_host_has_the_timeouts_and_retries_of_a_configured_one(table):
    stored, configured = (by_name(table, f"openai_chat at {name}") for name in ("stored_https", OPENAI.name))
    of_its_own = {"cluster", "path_rewrite", "host_rewrite_header", "host_rewrite_literal"}

    assert {n: v for n, v in stored["route"].items() if n not in of_its_own} == {
        n: v for n, v in configured["route"].items() if n not in of_its_own
    }
    for name in ("request_headers_to_remove", "response_headers_to_remove", "typed_per_filter_config"):
        assert stored[name] == configured[name]


def test_the_configured_hosts_come_before_those_that_are_not(table):
    names = [route["name"] for route in table["routes"]]

    assert max(names.index(n) for n in names if OPENAI.name in n) < min(names.index(n) for n in names if "stored" in n)


@pytest.mark.parametrize("changes", [{"store_model_in_db": False}, {"stored_model_hosts": Destinations(())}])
def test_where_no_other_host_is_allowed_no_route_leads_to_one(changes):
    text = str(routes.route_table(settings_for(OPENAI, **changes)).to_dict(casing=Casing.SNAKE))

    assert "stored_http" not in text
