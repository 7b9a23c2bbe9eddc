"""Where models that are made at run time may lead, and how Envoy is told of it.

Two questions, asked apart. May this host be named? And when its name is resolved: may this address be connected to?
What is public may; anything else (loopback, private and link-local networks, and what only looks public because an
IPv4 address is wrapped in an IPv6 one) only if the operator lists it. Envoy resolves no name of these hosts: it is
handed the one address that was judged, so that no later answer of a name server leads it elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

import msgspec

from extproc.events import Header
from extproc.model import Upstream
from extproc.policy.origins import holds

_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

#: The names of the routes and clusters, by scheme. No configured upstream has an underscore in its name.
NAMES = {"https": "stored_https", "http": "stored_http"}
#: Each is set by the processor, never by a client: the address and port to connect to, the provider's own name, and
#: what precedes the API's path.
ADDRESS_HEADER = "x-extproc-address"
AUTHORITY_HEADER = "x-extproc-authority"
BASE_PATH_HEADER = "x-extproc-base-path"
#: Where Envoy keeps the address of a request: a second attempt needs it, too, and has no header left.
METADATA = ("extproc", "address")

_PATTERN = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
#: What `ipaddress` takes for public: networks whose addresses hold an IPv4 address, which may be anybody's (RFC 6052,
#: 8215, 3056, 4380, 4291), private ones of before (3879), and the address of Azure's own service on all its machines.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "fec0::/10", "168.63.129.16/32"),
    )
)


class Pattern(msgspec.Struct, frozen=True):
    """Hosts that may be named: one, all below one (`*.example.com`), or all (`*`). `port` of `None` is any."""

    scheme: str = "https"
    host: str = "*"
    port: int | None = None

    def matches(self, upstream: Upstream) -> bool:
        """Whether this upstream is one of them."""
        if upstream.scheme != self.scheme or self.port not in {None, upstream.port}:
            return False
        host = _canonical(upstream.host)
        return self.host in {"*", host} or (self.host.startswith("*.") and host.endswith(self.host[1:]))


class Destinations(msgspec.Struct, frozen=True):
    """`patterns` are the hosts that may be named, none for no host at all; `networks` the addresses that may be
    connected to besides the public ones."""

    patterns: tuple[Pattern, ...] = (Pattern(),)
    networks: tuple[str, ...] = ()

    @property
    def schemes(self) -> tuple[str, ...]:
        """Those that any host may have, in the order of `NAMES`."""
        return tuple(scheme for scheme in NAMES if any(pattern.scheme == scheme for pattern in self.patterns))

    def without_tls(self) -> Destinations:
        """The same, as far as nobody has to be authenticated."""
        patterns = tuple(pattern for pattern in self.patterns if pattern.scheme == "http")
        return Destinations(patterns, self.networks)

    def mistake(self, upstream: Upstream) -> str | None:
        """Why no model may lead here, whatever its name resolves to; `None` where it may."""
        if upstream.unix_socket is not None or not any(pattern.matches(upstream) for pattern in self.patterns):
            return "is not among the hosts that stored models may lead to"
        literal = _address(upstream.host)
        if literal is not None and not self.may_reach(str(literal)):
            return "is no public address"
        return None

    def trusts(self, upstream: Upstream) -> bool:
        """Whether the operator named this host, and not merely every host."""
        return any(pattern.host != "*" and pattern.matches(upstream) for pattern in self.patterns)

    def may_reach(self, address: str) -> bool:
        """Whether this address may be connected to. What is no address may not."""
        return is_public(address) or holds(self.networks, address)


def pattern_of(text: str) -> Pattern | None:
    """`[http[s]://]HOST[:PORT]`, https where no scheme is named; `None` for what is no pattern."""
    found = _PATTERN.fullmatch(text.lower())
    if found is None or int(found["port"] or 1) > 65_535:
        return None
    host = found["host"]
    if host.startswith("[") and _address(host.strip("[]")) is None:
        return None
    return Pattern(found["scheme"] or "https", _canonical(host), int(found["port"]) if found["port"] else None)


@lru_cache(maxsize=4096)
def is_public(address: str) -> bool:
    """Whether an address is everybody's: reachable through the internet, and one host's."""
    found = _address(address)
    if found is None or any(found in network for network in _NOT_PUBLIC):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def usable(allowed: Destinations, addresses: Iterable[str]) -> tuple[str, ...]:
    """Those of the addresses that may be connected to, each once, in their order."""
    return tuple(dict.fromkeys(filter(allowed.may_reach, addresses)))


def authority(upstream: Upstream) -> str:
    """The `host` header that the upstream is sent; its port shows unless it is the scheme's own (RFC 9110 §7.2)."""
    usual = {"http": 80, "https": 443}[upstream.scheme]
    host = _bracketed(upstream.host)
    return host if upstream.unix_socket or upstream.port == usual else f"{host}:{upstream.port}"


def headers(upstream: Upstream, address: str) -> tuple[Header, ...]:
    """What tells Envoy where a request goes that it has no cluster for."""
    told = {
        ADDRESS_HEADER: f"{_bracketed(address)}:{upstream.port}",
        AUTHORITY_HEADER: authority(upstream),
        BASE_PATH_HEADER: upstream.base_path,
    }
    return tuple((name.encode(), value.encode()) for name, value in told.items() if value)


def _address(text: str) -> _Address | None:
    """An IPv4 address that is written as an IPv6 one is the IPv4 address. An address with a zone is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv4Address):
        return found
    return None if found.scope_id else found.ipv4_mapped or found


def _canonical(host: str) -> str:
    literal = _address(host.strip("[]"))
    return host.rstrip(".") if literal is None else str(literal)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
