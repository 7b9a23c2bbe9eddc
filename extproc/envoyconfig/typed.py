"""The small shapes that Envoy's configuration repeats everywhere: `Any`, addresses, header options, matchers."""

from __future__ import annotations

from datetime import timedelta

import betterproto2
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any

OWNER_ONLY = 0o600


def typed(message: betterproto2.Message) -> Any:
    """The message as the `Any` that every extension's `typed_config` wants."""
    return Any.pack(message)


def seconds(amount: float) -> timedelta:
    """A duration; `0` is Envoy's way to say "no limit"."""
    return timedelta(seconds=amount)


def milliseconds(amount: int) -> timedelta:
    """The same for what settings count in milliseconds."""
    return timedelta(milliseconds=amount)


def pipe(path: str) -> core.Address:
    """A Unix socket that somebody else listens on."""
    return core.Address(pipe=core.Pipe(path=path))


def socket(host: str, port: int) -> core.Address:
    """A TCP address; the host may be a name only where a cluster resolves it."""
    return core.Address(socket_address=core.SocketAddress(address=host, port_value=port))


def file(path: str) -> core.DataSource:
    """What Envoy reads from a file when it starts."""
    return core.DataSource(filename=path)


def text(body: str) -> core.DataSource:
    """What stands in the bootstrap itself."""
    return core.DataSource(inline_string=body)


def overwrite(name: str, value: str) -> core.HeaderValueOption:
    """Set a header, whatever was there."""
    return core.HeaderValueOption(
        header=core.HeaderValue(key=name, value=value),
        append_action=core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def add(name: str, value: str) -> core.HeaderValueOption:
    """Add a value behind those that a header has."""
    return core.HeaderValueOption(
        header=core.HeaderValue(key=name, value=value),
        append_action=core.HeaderValueOptionHeaderAppendAction.APPEND_IF_EXISTS_OR_ADD,
    )


def add_if_absent(name: str, value: str) -> core.HeaderValueOption:
    """Set a header unless whoever answers has set it."""
    return core.HeaderValueOption(
        header=core.HeaderValue(key=name, value=value),
        append_action=core.HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
    )


def exactly(value: str) -> matcher.StringMatcher:
    """Matches this string only, case and all."""
    return matcher.StringMatcher(exact=value)


def pattern(expression: str) -> matcher.RegexMatcher:
    """An RE2 expression that must match the whole string."""
    return matcher.RegexMatcher(regex=expression)
