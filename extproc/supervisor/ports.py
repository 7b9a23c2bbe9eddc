"""Whether the ports are free, asked before anything is started.

Envoy listens with SO_REUSEPORT, so that a second Envoy of the same user would share the port unnoticed; a bind without
that option is refused as long as anybody listens.
"""

from __future__ import annotations

import errno
import socket

from extproc.errors import ConfigError
from extproc.settings.model import Layout

_REASONS = {
    errno.EADDRINUSE: "is taken by another program; choose another one with --{name}-port",
    errno.EACCES: "may not be used by this user; choose one above 1023 with --{name}-port",
    errno.EADDRNOTAVAIL: "cannot be used: this machine has no address {address}",
}


def check(layout: Layout) -> None:
    """Raises `ConfigError` for the first port that cannot be listened on."""
    if layout.http_port is not None:
        _check("http", layout.http_address, layout.http_port)
    if layout.https_port is not None:
        _check("https", layout.https_address, layout.https_port)


def _check(name: str, address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            # Two sockets may be bound to a port while neither listens.
            probe.listen(1)
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, "cannot be used: " + (error.strerror or str(error)))
            raise ConfigError(f"port {port} {reason.format(name=name, address=address)}") from None
