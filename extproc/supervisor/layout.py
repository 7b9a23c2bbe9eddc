"""From a data directory to a `Layout`: where the sockets, certificates and trust store of an installation are.

Reads the file system and changes nothing, so that `render envoy` can say where things would be; `prepare` makes the
directories. A Unix socket's path has at most 107 bytes (`sun_path`, unix(7)): where the data directory is too deep, the
sockets live in a directory of this user's below the temporary one, found again by a digest of the data directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import ssl
import stat
import tempfile
from pathlib import Path

import msgspec

from extproc.errors import ConfigError
from extproc.settings.model import Layout, Settings
from extproc.supervisor import certificates, private_files

MAX_SOCKET_PATH_BYTES = 107
DEFAULT_DATA_DIR = Path("extproc-data")
_LONGEST_NAME = "management-999.sock"
_PROVIDER_SOCKET = "provider.sock"

#: Where distributions keep the trusted authorities: Debian, Fedora, openSUSE, Alpine and macOS.
CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where clients come in. A port of 0 leaves the listener out."""

    http: int = 4000
    https: int = 8443
    https_address: str = "0.0.0.0"  # noqa: S104 - TLS is for everyone; plaintext stays on loopback


def build(
    settings: Settings,
    data_dir: Path,
    ports: Ports,
    *,
    drain_seconds: int = 30,
    workers: int = 1,
    tls: certificates.Certificates | None = None,
) -> Layout:
    """The layout of this data directory. `tls` replaces the local authority's certificate.

    Raises `ConfigError` where nothing would listen, or twice on one port, or at no address, or where an upstream wants
    TLS and no trust store is found.
    """
    if not ports.http and not ports.https:
        raise ConfigError("--http-port 0 and --https-port 0 leave nothing to listen on")
    if ports.http == ports.https:
        # Envoy would listen twice on it, and each client would meet the one listener or the other.
        raise ConfigError(f"--http-port and --https-port are both {ports.http}; they must differ")
    _check_address(ports.https_address)
    data_dir = data_dir.absolute()
    sockets = socket_directory(data_dir)
    tls = tls or certificates.paths(data_dir / "tls")
    return Layout(
        data_dir=str(data_dir),
        processor_sockets=tuple(str(sockets / f"processor-{worker}.sock") for worker in range(workers)),
        management_sockets=tuple(str(sockets / f"management-{worker}.sock") for worker in range(workers)),
        admin_socket=str(sockets / "admin.sock"),
        certificate=str(tls.certificate),
        private_key=str(tls.private_key),
        ca_bundle=_trust_store(settings),
        http_port=ports.http or None,
        https_address=ports.https_address,
        https_port=ports.https or None,
        drain_seconds=drain_seconds,
    )


def provider_socket(data_dir: Path) -> Path:
    """Where the simulated provider listens."""
    return socket_directory(data_dir.absolute()) / _PROVIDER_SOCKET


def sockets_of(layout: Layout) -> tuple[Path, ...]:
    """Every socket that an installation may have."""
    paths = (*layout.processor_sockets, *layout.management_sockets, layout.admin_socket)
    return (*map(Path, paths), provider_socket(Path(layout.data_dir)))


def prepare(layout: Layout) -> None:
    """Make the directories, for their owner only. Raises `ConfigError` where one cannot be made or trusted."""
    private_files.directory(Path(layout.data_dir))
    sockets = Path(layout.admin_socket).parent
    private_files.directory(sockets)
    found = sockets.lstat()
    # The temporary directory is everybody's: its names may have been taken on purpose.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(f"{sockets} is not a directory of the user who runs extproc")
    sockets.chmod(private_files.OWNER_ONLY_DIRECTORY)


def remove_sockets(layout: Layout) -> None:
    """Remove what was left behind, and the directory if nothing else is in it."""
    for path in sockets_of(layout):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        Path(layout.admin_socket).parent.rmdir()


def socket_directory(data_dir: Path) -> Path:
    """`run/` in the data directory, or its substitute where that path would be too long for a socket."""
    usual = data_dir / "run"
    if _fits(usual):
        return usual
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    substitute = Path(tempfile.gettempdir()) / f"extproc-{os.geteuid()}-{digest}"
    if not _fits(substitute):
        raise ConfigError(f"the paths of {data_dir} and of {substitute.parent} are too long for Unix sockets")
    return substitute


def find_ca_bundle() -> str | None:
    """The trust store of this machine: `SSL_CERT_FILE`, OpenSSL's own, or where distributions keep it.

    Raises `ConfigError` where `SSL_CERT_FILE` names no file.
    """
    named = os.environ.get("SSL_CERT_FILE")
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"SSL_CERT_FILE names {named}, which is not a file")
        return str(Path(named).absolute())
    candidates = (ssl.get_default_verify_paths().cafile, *CA_BUNDLES)
    return next((path for path in candidates if path and Path(path).is_file()), None)


def _check_address(address: str) -> None:
    """Envoy resolves no name to listen on."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ConfigError(f"--https-address must be an IP address, which {address!r} is not") from None


def _trust_store(settings: Settings) -> str:
    needed = any(upstream.scheme == "https" for upstream in settings.upstreams)
    # Stored models do without, as long as there is none: then they can lead to no host behind TLS.
    found = find_ca_bundle() if needed or "https" in settings.stored_schemes else ""
    if found is None and needed:
        raise ConfigError(
            "no certificate authorities found on this machine; install ca-certificates or set SSL_CERT_FILE"
        )
    return found or ""


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / _LONGEST_NAME)) <= MAX_SOCKET_PATH_BYTES
