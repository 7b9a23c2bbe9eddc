"""Where a request comes from, and whether it may come from there: addresses and networks, IPv4 and IPv6.

The address is that of whom Envoy is connected with, which nobody can write. Only where an operator names the proxies
in front of Envoy does `x-forwarded-for` count: read from its end, the first address that is not such a proxy's. What is
no address is nobody's, and where there is a list it is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

import msgspec

from extproc.model import Key
from extproc.policy import refusals
from extproc.policy.refusals import Refusal

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


class Origins(msgspec.Struct, frozen=True):
    """`allowed` are the networks that anybody may come from, empty for all; `trusted` those of proxies whose
    `x-forwarded-for` counts, empty for none."""

    allowed: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()

    def client(self, peer: str, forwarded: str) -> str:
        """The client's address, `""` where it is not known. `peer` is Envoy's, `forwarded` all of the header."""
        if not self.trusted or not holds(self.trusted, peer):
            return peer
        for hop in reversed(forwarded.split(",")):
            if not holds(self.trusted, hop.strip()):
                return hop.strip()
        return peer

    def check(self, client: str, key: Key | None = None) -> Refusal | None:
        """Refuse an address that is not in the list for all, or not in the key's own."""
        own = key.fields.get("allowed_ips") if key is not None else None
        for networks in (self.allowed, own):
            if networks and not holds(tuple(networks), client):
                return refusals.ADDRESS_NOT_ALLOWED
        return None


def peer_of(attribute: str) -> str:
    """The address in Envoy's `source.address`, which is `1.2.3.4:80` or `[::1]:80`."""
    return attribute.rpartition(":")[0].strip("[]")


def forwarded_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Every `x-forwarded-for`, as if they were one."""
    return ",".join(value.decode("ascii", "replace") for name, value in headers if name == b"x-forwarded-for")


def holds(networks: Sequence[str], address: str) -> bool:
    """Whether one of these networks has this address; an IPv4 address may be written as an IPv6 one."""
    found = _address(address)
    return found is not None and any(found in network for network in _networks(tuple(networks)))


def is_network(text: str) -> bool:
    """Whether this is an address, or a network in CIDR notation without host bits."""
    return _network(text) is not None


@lru_cache(maxsize=4096)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(network for text in texts if (network := _network(text)) is not None)


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
