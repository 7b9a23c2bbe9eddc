"""Options that several commands share, each with its help text, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from extproc.errors import ConfigError

DEFAULT_DATA_DIR = Path("extproc-data")
#: TLS is for everyone; plaintext stays on loopback.
EVERYWHERE = "0.0.0.0"  # noqa: S104 - the default that is meant

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="LiteLLM's config.yaml.", show_default=False)
]
DataDir = Annotated[
    Path,
    typer.Option("--data-dir", metavar="DIR", help="Database, keys, certificates and sockets; made with mode 0700."),
]
HttpPort = Annotated[
    int,
    typer.Option("--http-port", min=0, max=65535, metavar="PORT", help="Plaintext, on loopback only; 0 leaves it out."),
]
HttpsPort = Annotated[int, typer.Option("--https-port", min=0, max=65535, metavar="PORT", help="TLS; 0 leaves it out.")]
HttpsAddress = Annotated[str, typer.Option("--https-address", metavar="IP", help="The address that TLS listens on.")]
TlsCert = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="FILE", help="Your certificate with its chain (PEM), in place of a local CA's."),
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The key of --tls-cert (PEM).")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse settings that are unknown or not supported.")]
DrainSeconds = Annotated[
    int,
    typer.Option(
        "--drain-seconds",
        min=0,
        max=3600,
        metavar="SECONDS",
        help="How long requests in flight may take to end at a stop.",
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        max=64,
        metavar="N",
        help="Processes that share the load. More than one needs PostgreSQL and Redis.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
#: Of a child of `up`: when its stdin ends, the supervisor is gone.
UntilStdinEnds = Annotated[bool, typer.Option("--until-stdin-ends", hidden=True)]


def pair(certificate: Path | None, private_key: Path | None) -> tuple[Path, Path] | None:
    """`--tls-cert` and `--tls-key`, which come together. Raises `ConfigError`."""
    if certificate is not None and private_key is not None:
        return certificate, private_key
    if certificate is not None or private_key is not None:
        raise ConfigError("--tls-cert and --tls-key belong together; name both or neither")
    return None
