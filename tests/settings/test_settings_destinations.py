"""`extproc_settings.stored_model_hosts`."""

from __future__ import annotations

import pytest

from extproc.errors import ConfigError
from extproc.policy.destinations import Destinations, Pattern


def told(load, entries: str) -> Destinations:
    found: Destinations = load(f"extproc_settings: {{stored_model_hosts: {entries}}}", strict=True).stored_model_hosts
    return found


def test_by_default_it_is_any_public_host_behind_tls(load):
    assert load("model_list: []").stored_model_hosts == Destinations((Pattern("https", "*"),), ())
    assert load("model_list: []").stored_schemes == ("https",)


def test_an_empty_list_allows_no_host(load):
    assert told(load, "[]") == Destinations((), ())


def test_hosts_and_networks_may_be_mixed(load):
    assert told(load, '["*.company.example", "http://vllm.internal:8000", 10.1.0.0/16]') == Destinations(
        (Pattern("https", "*.company.example"), Pattern("http", "vllm.internal", 8000)), ("10.1.0.0/16",)
    )


def test_networks_alone_leave_every_host(load):
    assert told(load, "[10.1.0.0/16, 10.9.9.9]") == Destinations((Pattern(),), ("10.1.0.0/16", "10.9.9.9"))


def test_an_address_that_is_named_as_a_host_may_be_connected_to(load):
    found = told(load, '["http://10.1.2.3:8000", "https://[fd00::1]"]')

    assert found.patterns == (Pattern("http", "10.1.2.3", 8000), Pattern("https", "fd00::1"))
    assert all(map(found.may_reach, ("10.1.2.3", "fd00::1")))
    assert not found.may_reach("10.1.2.4")


def test_where_models_are_not_stored_there_is_no_such_host(load):
    assert load("general_settings: {store_model_in_db: false}").stored_schemes == ()


@pytest.mark.parametrize("entry", ["10.1.2.3/16", "300.1.1.1", "10.0.0", "ftp://a", "https://a/v1", "u:p@a", "a:99999"])
def test_what_is_neither_is_told_with_its_place(load, entry):
    with pytest.raises(ConfigError, match=r":1:4\d: stored_model_hosts\[0\] must be a host such as"):
        told(load, f'["{entry}"]')
