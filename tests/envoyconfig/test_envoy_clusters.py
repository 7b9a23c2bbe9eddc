"""Who is behind a name."""

from __future__ import annotations

import pytest
from betterproto2 import Casing
from envoyconfig.renderings import LOCAL, OPENAI, layout_in, settings_for

from extproc.envoyconfig import clusters
from extproc.errors import ConfigError
from extproc.model import Upstream
from extproc.policy.destinations import Destinations, Pattern

UNIX = Upstream("simulated", "http", "localhost", 80, "/v1", "/run/simulated.sock")
BY_ADDRESS = Upstream("six", "https", "2001:DB8::1", 8443, "")


@pytest.fixture(scope="module")
def found():
    layout = layout_in("/d", processor_sockets=("/d/p0.sock", "/d/p1.sock"))
    settings = settings_for(OPENAI, LOCAL, UNIX, BY_ADDRESS)
    rendered = [cluster.to_dict(casing=Casing.SNAKE) for cluster in clusters.clusters(settings, layout)]
    return {cluster["name"]: cluster for cluster in rendered}


def addresses(cluster):
    members = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    return [member["endpoint"]["address"] for member in members]


def protocol(cluster):
    return next(iter(cluster["typed_extension_protocol_options"].values()))


def test_every_worker_is_an_endpoint_of_its_own(found):
    assert addresses(found["extproc"]) == [{"pipe": {"path": "/d/p0.sock"}}, {"pipe": {"path": "/d/p1.sock"}}]
    assert "http2_protocol_options" in protocol(found["extproc"])["explicit_http_config"]


def test_every_circuit_breaker_is_far_away(found):
    for cluster in (found[name] for name in found if name != "nowhere"):
        thresholds = cluster["circuit_breakers"]["thresholds"][0]

        assert thresholds["max_requests"] >= 100_000
        assert thresholds["max_retries"] > 3


def test_nowhere_is_nowhere(found):
    assert "load_assignment" not in found["nowhere"]


def test_the_management_api_is_a_socket(found):
    assert addresses(found["management"]) == [{"pipe": {"path": "/d/management-0.sock"}}]


def test_a_name_is_resolved_and_its_certificate_must_be_its_own(found):
    cluster = found[OPENAI.name]
    context = cluster["transport_socket"]["typed_config"]
    common = context["common_tls_context"]

    assert cluster["cluster_type"]["name"] == "envoy.clusters.dns"
    assert cluster["wait_for_warm_on_init"] is False
    assert context["sni"] == "api.openai.com"
    assert common["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert common["validation_context"]["trusted_ca"] == {"filename": "/etc/ssl/certs/ca-certificates.crt"}
    assert common["validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "api.openai.com"}}
    ]
    assert "auto_config" in protocol(cluster)


def test_an_address_is_not_resolved_and_never_sent_as_a_server_name(found):
    context = found["six"]["transport_socket"]["typed_config"]
    sans = context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]

    # STATIC is proto's zero, and said nevertheless: it is a member of a oneof.
    assert found["six"]["type"] == "STATIC"
    assert addresses(found["six"]) == [{"socket_address": {"address": "2001:db8::1", "port_value": 8443}}]
    assert sans == [{"san_type": "IP_ADDRESS", "matcher": {"exact": "2001:db8::1"}}]
    assert "sni" not in context


def test_plain_http_has_no_tls(found):
    assert "transport_socket" not in found[LOCAL.name]
    assert "http_protocol_options" in protocol(found[LOCAL.name])["explicit_http_config"]


def test_a_socket_stands_for_host_and_port(found):
    assert found["simulated"]["type"] == "STATIC"
    assert addresses(found["simulated"]) == [{"pipe": {"path": "/run/simulated.sock"}}]


def test_a_host_that_is_not_configured_is_connected_to_as_a_configured_one_is(found):
    stored, configured = found["stored_https"], found[OPENAI.name]

    for name in ("connect_timeout", "per_connection_buffer_limit_bytes", "circuit_breakers"):
        assert stored[name] == configured[name]
    assert stored["upstream_connection_options"] == configured["upstream_connection_options"]
    for name in ("auto_config", "common_http_protocol_options"):
        assert protocol(stored)[name] == protocol(configured)[name]


def test_its_address_is_the_processors_and_its_certificate_the_hosts_own(found):
    stored = found["stored_https"]
    context = stored["transport_socket"]["typed_config"]

    assert (stored["type"], stored["lb_policy"]) == ("ORIGINAL_DST", "CLUSTER_PROVIDED")
    assert stored["original_dst_lb_config"] == {"metadata_key": {"key": "extproc", "path": [{"key": "address"}]}}
    assert protocol(stored)["upstream_http_protocol_options"] == {"auto_sni": True, "auto_san_validation": True}
    assert context["common_tls_context"]["validation_context"] == {
        "trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"}
    }
    assert context["max_session_keys"] == 0


def test_plain_http_to_such_a_host_only_where_it_is_allowed(found):
    allowed = settings_for(stored_model_hosts=Destinations((Pattern("http"),)))
    (stored,) = (c for c in clusters.clusters(allowed, layout_in("/d")) if c.name.startswith("stored"))

    assert "stored_http" not in found
    assert stored.name == "stored_http"
    assert stored.transport_socket is None


@pytest.mark.parametrize("name", ["extproc", "management", "nowhere", "stored_https", "twice"])
def test_no_two_clusters_have_one_name(name):
    settings = settings_for(Upstream(name, "http", "a", 80, ""), Upstream("twice", "http", "b", 80, ""))

    with pytest.raises(ConfigError, match=name):
        clusters.clusters(settings, layout_in("/d"))


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", None)])
def test_literal_addresses(host, expected):
    assert clusters.literal_ip(host) == expected
