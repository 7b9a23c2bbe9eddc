"""`allowed_ips`, `use_x_forwarded_for` and `trusted_proxy_ranges`: where requests may come from."""

from __future__ import annotations

import pytest

from extproc.errors import ConfigError
from extproc.policy.origins import Origins


def told(load, text: str) -> Origins:
    return load("general_settings:\n" + text).origins


def test_nobody_is_bound_to_addresses_who_says_nothing(load):
    assert told(load, "  master_key: sk-1234567890abcdef\n") == Origins()


def test_addresses_and_networks_are_read(load):
    text = "  allowed_ips: [10.0.0.0/8, '2001:db8::/32', 192.0.2.1]\n"

    assert told(load, text) == Origins(allowed=("10.0.0.0/8", "2001:db8::/32", "192.0.2.1"))


def test_proxies_are_trusted_only_where_their_header_is_used(load):
    proxies = "  trusted_proxy_ranges: [10.0.0.0/8]\n"

    assert told(load, proxies) == Origins()
    assert told(load, proxies + "  use_x_forwarded_for: true\n") == Origins(trusted=("10.0.0.0/8",))


@pytest.mark.parametrize("name", ["allowed_ips", "trusted_proxy_ranges"])
@pytest.mark.parametrize("value", ["nonsense", "10.0.0.1/8", "10.0.0.0/33"])
def test_what_is_no_network_is_refused_with_its_place(load, name, value):
    with pytest.raises(ConfigError, match=rf"{name}.*must be an address, or a network"):
        told(load, f"  {name}: [{value}]\n")
