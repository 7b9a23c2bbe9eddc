"""Where clients come in."""

from __future__ import annotations

import pytest
from betterproto2 import Casing
from envoyconfig.renderings import OPENAI, layout_in, settings_for

from extproc.envoyconfig import listeners


def rendered(**changes):
    found = listeners.listeners(settings_for(OPENAI), layout_in("/d", **changes))
    return {listener.name: listener.to_dict(casing=Casing.SNAKE) for listener in found}


def manager(listener):
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"http", "https"}),
        ({"http_port": None}, {"https"}),
        ({"https_port": None}, {"http"}),
        ({"http_port": None, "https_port": None}, set()),
    ],
)
def test_a_listener_without_a_port_is_left_out(changes, names):
    assert set(rendered(**changes)) == names


def test_plaintext_is_for_loopback_unless_told_otherwise():
    address = rendered()["http"]["address"]["socket_address"]

    assert address == {"address": "127.0.0.1", "port_value": 4000}


def test_tls_is_modern_and_speaks_both_versions_of_http():
    context = rendered()["https"]["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"]

    assert context["tls_params"] == {
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
    }
    assert context["alpn_protocols"] == ["h2", "http/1.1"]


def test_the_order_of_the_filters():
    names = [filter_["name"].rpartition(".")[2] for filter_ in manager(rendered()["http"])["http_filters"]]

    assert names == ["header_mutation", "cookies", "buffer", "ext_proc", "header_to_metadata", "router"]


def test_only_tls_promises_tls():
    def added(listener):
        mutations = manager(listener)["http_filters"][0]["typed_config"]["mutations"]["response_mutations"]
        return {mutation["append"]["header"]["key"] for mutation in mutations}

    found = rendered()

    assert added(found["https"]) - added(found["http"]) == {"strict-transport-security"}
    assert {"x-frame-options", "x-content-type-options", "content-security-policy"} <= added(found["http"])
