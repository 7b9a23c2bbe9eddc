"""Where models that are made at run time may lead: `extproc_settings.stored_model_hosts`.

An entry is a pattern of hosts, or a network. Networks alone leave every host in place; a host that is written as an
address may be connected to, for the operator named that very address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from extproc.policy.destinations import Destinations, Pattern, pattern_of
from extproc.policy.origins import is_network
from extproc.settings.document import Document
from extproc.settings.schema import Configuration

_SECTION, _NAME = "extproc_settings", "stored_model_hosts"


def of(file: Configuration) -> dict[str, Any]:
    """The field of `Settings` about them; every public https host where nothing is said."""
    told = file.extproc_settings.stored_model_hosts
    return {} if told is None else {_NAME: destinations(told)}


def destinations(entries: list[str]) -> Destinations:
    """What the entries amount to. One that is neither a network nor a pattern allows nothing: `mistakes` tells it."""
    networks = [entry for entry in entries if is_network(entry)]
    patterns = [pattern for entry in entries if not is_network(entry) and (pattern := pattern_of(entry)) is not None]
    named = [pattern.host for pattern in patterns if is_network(pattern.host)]
    if networks and len(networks) == len(entries):
        patterns = [Pattern()]
    return Destinations(tuple(patterns), (*networks, *named))


def mistakes(file: Configuration, found: Document) -> Iterator[str]:
    """A line for each entry that is neither."""
    for index, entry in enumerate(file.extproc_settings.stored_model_hosts or ()):
        if not is_network(entry) and (pattern_of(entry) is None or _looks_like_a_network(entry)):
            told = "must be a host such as *.example.com, http://HOST:PORT, or a network such as 10.0.0.0/8"
            yield f"{found.at_value((_SECTION, _NAME, index))}: {_NAME}[{index}] {told}"


def _looks_like_a_network(entry: str) -> bool:
    """A number that is no address would never match a host, and may have been meant to be one."""
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return entry.replace(".", "").isdigit()
    return True
