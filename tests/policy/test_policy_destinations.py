"""Where stored models may lead."""

from __future__ import annotations

import pytest

from extproc.model import Upstream
from extproc.policy import destinations
from extproc.policy.destinations import Destinations, Pattern, pattern_of


def upstream(host: str, scheme: str = "https", port: int = 443, base_path: str = "/v1", **fields) -> Upstream:
    return Upstream("n", scheme, host, port, base_path, **fields)


def only(text: str) -> Destinations:
    pattern = pattern_of(text)
    assert pattern is not None
    return Destinations((pattern,))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "fec0::1",
        # Loopback and metadata in other clothes: mapped, compatible, NAT64 (both), 6to4, Teredo; and with a zone.
        "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a9fe:a9fe",
        "2002:7f00:1::", "2001:0:7f00:1::", "fe80::1%eth0", "2606:4700::1%eth0",
        "", "localhost", "127.1", "0x7f000001", "2130706433", "017700000001", "8.8.8.8:53", "/run/a.sock",
    ],
)  # fmt: skip
def test_what_is_not_everybodys_may_not_be_connected_to(address):
    assert not destinations.is_public(address)
    assert not Destinations().may_reach(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "104.18.7.192", "2606:4700::6812:7c0", "::ffff:8.8.8.8"])
def test_what_is_everybodys_may(address):
    assert Destinations().may_reach(address)


def test_a_network_that_is_named_may_be_connected_to_and_none_beside_it():
    allowed = Destinations(networks=("10.1.0.0/16", "fd00::/8"))

    assert all(map(allowed.may_reach, ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1", "8.8.8.8")))
    assert not any(map(allowed.may_reach, ("10.2.0.1", "fe80::1", "127.0.0.1")))


def test_of_several_addresses_those_remain_that_may_be_connected_to_each_once():
    found = ("127.0.0.1", "8.8.4.4", "10.0.0.1", "8.8.8.8", "8.8.4.4")

    assert destinations.usable(Destinations(), found) == ("8.8.4.4", "8.8.8.8")


@pytest.mark.parametrize("host", ["api.example", "api.example.", "8.8.8.8", "2606:4700::1111"])
def test_by_default_any_host_may_be_named_behind_tls_at_any_port(host):
    assert Destinations().mistake(upstream(host)) is None
    assert Destinations().mistake(upstream(host, port=8443)) is None


@pytest.mark.parametrize(
    "refused",
    [
        upstream("api.example", "http", 80),
        upstream("api.example", "http", 443),
        upstream("localhost", unix_socket="/run/a.sock"),
        upstream("169.254.169.254"),
        upstream("::ffff:127.0.0.1"),
        upstream("::1"),
    ],
)
def test_by_default_neither_plain_http_nor_a_socket_nor_a_private_address_may(refused):
    assert Destinations().mistake(refused)


@pytest.mark.parametrize(
    ("text", "host", "expected"),
    [
        ("api.example", "api.example", True),
        ("API.example", "api.example", True),
        ("api.example", "api.example.", True),
        ("api.example", "not-api.example", False),
        ("api.example", "api.example.evil.example", False),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("*.example", "badexample", False),
        ("*", "anything", True),
        ("[2606:4700::1111]", "2606:4700:0::1111", True),
        ("8.8.8.8", "::ffff:8.8.8.8", True),
    ],
)
def test_a_pattern_is_one_host_or_all_below_one(text, host, expected):
    allowed = only(text)

    assert (allowed.mistake(upstream(host)) is None) is expected


@pytest.mark.parametrize(("text", "expected"), [("*", False), ("*.example", True), ("other.example", False)])
def test_a_host_is_trusted_only_where_it_is_named(text, expected):
    assert only(text).trusts(upstream("api.example")) is expected


def test_a_scheme_and_a_port_that_are_named_are_the_only_ones():
    allowed = only("http://vllm.internal:8000")

    assert allowed.mistake(upstream("vllm.internal", "http", 8000)) is None
    assert allowed.mistake(upstream("vllm.internal", "http", 8001))
    assert allowed.mistake(upstream("vllm.internal", "https", 8000))


@pytest.mark.parametrize(
    "text",
    [
        "", "http://", "ftp://a", "a b", "a/b", "https://a/v1", "user@a", "a:0", "a:65536", "a:b", "a*", "*a", "**",
        "*.*", ".a", "[::g]", "[1:2]", "::1", "a\n", "unix:/run/a.sock",
    ],
)  # fmt: skip
def test_what_is_no_pattern(text):
    assert pattern_of(text) is None


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((Pattern(),), ("https",)),
        ((Pattern("http"), Pattern("https")), ("https", "http")),
        ((Pattern("http", "a"),), ("http",)),
        ((), ()),
    ],
)
def test_the_schemes_that_any_host_may_have(patterns, expected):
    assert Destinations(patterns).schemes == expected


def test_without_tls_only_plain_http_is_left():
    allowed = Destinations((Pattern("http", "a"), Pattern()), ("10.0.0.0/8",))

    assert allowed.without_tls() == Destinations((Pattern("http", "a"),), ("10.0.0.0/8",))


def test_envoy_is_told_the_address_the_name_and_the_path():
    assert destinations.headers(upstream("api.example", port=8443), "8.8.8.8") == (
        (b"x-extproc-address", b"8.8.8.8:8443"),
        (b"x-extproc-authority", b"api.example:8443"),
        (b"x-extproc-base-path", b"/v1"),
    )
    assert destinations.headers(upstream("2606:4700::1111", base_path=""), "2606:4700::1111") == (
        (b"x-extproc-address", b"[2606:4700::1111]:443"),
        (b"x-extproc-authority", b"[2606:4700::1111]"),
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (Upstream("a", "https", "api.openai.com", 443, "/v1"), "api.openai.com"),
        (Upstream("a", "http", "127.0.0.1", 8000, "/v1"), "127.0.0.1:8000"),
        (Upstream("a", "http", "h", 80, ""), "h"),
        (Upstream("a", "https", "h", 80, ""), "h:80"),
        (Upstream("a", "https", "2001:db8::1", 8443, ""), "[2001:db8::1]:8443"),
        (Upstream("a", "http", "simulated", 1234, "", "/run/s.sock"), "simulated"),
    ],
)
def test_the_host_header_shows_the_port_unless_it_is_the_usual_one(told, expected):
    assert destinations.authority(told) == expected
