"""Where a request comes from, and whether it may come from there."""

from __future__ import annotations

import pytest

from extproc.model import Key
from extproc.policy import origins, refusals
from extproc.policy.origins import Origins


@pytest.mark.parametrize(
    ("networks", "address", "held"),
    [
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "11.1.2.3", False),
        (["10.1.2.3"], "10.1.2.3", True),
        (["10.1.2.3"], "10.1.2.4", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["10.0.0.0/8"], "2001:db8::1", False),
        (["::/0"], "10.1.2.3", False),
        (["10.0.0.0/8"], "", False),
        (["10.0.0.0/8"], "10.1.2", False),
        (["10.0.0.0/8"], "010.1.2.3", False),
        (["nonsense"], "10.1.2.3", False),
    ],
)
def test_a_list_of_networks_holds_the_addresses_that_are_in_one(networks, address, held):
    assert origins.holds(networks, address) is held


@pytest.mark.parametrize(
    ("text", "good"),
    [("10.0.0.0/8", True), ("::1", True), ("10.0.0.1/8", False), ("10.0.0.0/33", False), ("", False), ("*", False)],
)
def test_a_network_is_an_address_or_cidr_without_host_bits(text, good):
    assert origins.is_network(text) is good


@pytest.mark.parametrize(("attribute", "peer"), [("1.2.3.4:80", "1.2.3.4"), ("[::1]:80", "::1"), ("", "")])
def test_the_peer_is_read_from_what_envoy_says(attribute, peer):
    assert origins.peer_of(attribute) == peer


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ((), "10.0.0.1", "6.6.6.6", "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", "1.2.3.4, 10.0.0.1", "1.2.3.4"),
        (("10.0.0.0/8",), "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2, 10.0.0.1", "1.2.3.4"),
        (("10.0.0.0/8",), "9.9.9.9", "1.2.3.4, 9.9.9.9", "9.9.9.9"),
        (("10.0.0.0/8",), "10.0.0.1", "10.0.0.1", "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", "1.2.3.4, nonsense, 10.0.0.1", "nonsense"),
        (("10.0.0.0/8",), "10.0.0.1", "", ""),
    ],
)
def test_a_header_counts_only_where_a_trusted_proxy_wrote_it(trusted, peer, forwarded, client):
    assert Origins(trusted=trusted).client(peer, forwarded) == client


def test_several_headers_are_read_as_one():
    headers = [(b"x-forwarded-for", b"1.2.3.4"), (b"accept", b"*/*"), (b"x-forwarded-for", b"10.0.0.1")]

    assert origins.forwarded_of(headers) == "1.2.3.4,10.0.0.1"


def bound(*networks: str) -> Key:
    return Key(digest="d", name="", fields={"allowed_ips": list(networks)})


@pytest.mark.parametrize(
    ("allowed", "key", "client", "refused"),
    [
        ((), None, "1.2.3.4", False),
        ((), None, "", False),
        (("10.0.0.0/8",), None, "1.2.3.4", True),
        (("10.0.0.0/8",), None, "", True),
        ((), bound("1.2.3.4"), "1.2.3.4", False),
        ((), bound("1.2.3.4"), "1.2.3.5", True),
        ((), bound("1.2.3.4"), "", True),
        (("10.0.0.0/8",), bound("1.2.3.4"), "1.2.3.4", True),
        (("10.0.0.0/8",), bound("10.0.0.1"), "10.0.0.1", False),
        ((), bound(), "1.2.3.4", False),
    ],
)
def test_an_address_must_be_in_the_list_for_all_and_in_the_keys(allowed, key, client, refused):
    assert Origins(allowed).check(client, key) == (refusals.ADDRESS_NOT_ALLOWED if refused else None)
