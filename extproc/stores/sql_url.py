"""A database's URL as people write it (libpq's and Prisma's parameters), turned into what SQLAlchemy and asyncpg want.

`postgresql://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full` and `sqlite+aiosqlite:///PATH`. A parameter that is not
known is an error: a misspelled `sslmode` must not be a connection in the clear. No error repeats the URL, for it holds
a password.
"""

from __future__ import annotations

import importlib.util
import ssl
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from extproc.errors import ConfigError

POOL_SIZE = 10
POOL_SECONDS = 5.0
CONNECT_SECONDS = 5.0
#: The longest that a statement may take: reports read much, everything else ends in milliseconds.
STATEMENT_SECONDS = 30.0
#: A connection whose other end is gone says nothing; the server's own timeout comes first where it is there.
_GIVE_UP_SECONDS = STATEMENT_SECONDS + 5.0
_POSTGRESQL = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
_EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/NAME"


class Location(msgspec.Struct, frozen=True):
    """Where a database is, and how it is talked to.

    `arguments` are the driver's; `timeouts` are further ones, for everything but changing the tables. `pooled_outside`
    says that a connection may be another one after each transaction (pgbouncer): nothing may be kept on it.
    """

    url: URL
    arguments: dict[str, Any] = {}
    timeouts: dict[str, Any] = {}
    pool_size: int = 4
    pool_seconds: float = POOL_SECONDS
    pooled_outside: bool = False

    def __repr__(self) -> str:
        return f"Location({self.url.render_as_string(hide_password=True)})"


def read(text: str, pool_size: int | None = None) -> Location:
    """Where a URL leads. Raises `ConfigError`."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(f"the database's URL cannot be read; it looks like {_EXAMPLE}") from None
    if url.drivername == "sqlite+aiosqlite":
        return Location(url)
    if url.drivername in _POSTGRESQL:
        return _postgresql(url, pool_size)
    raise ConfigError(f"the database's URL must begin with postgresql://, as in {_EXAMPLE}")


def _postgresql(url: URL, pool_size: int | None) -> Location:
    if importlib.util.find_spec("asyncpg") is None:
        raise ConfigError("PostgreSQL needs its driver: pip install 'llm-extproc[production]'")
    given = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    if unknown := given.keys() - _KNOWN:
        raise ConfigError(
            f"the database's URL has parameters that are not known: {', '.join(sorted(unknown))}; "
            f"known are {', '.join(sorted(_KNOWN))}"
        )
    pgbouncer = _switch(given, "pgbouncer")
    settings = _settings(given, pgbouncer=pgbouncer)
    # pgbouncer refuses connections that set what it does not know.
    timeout = {} if pgbouncer else {"statement_timeout": str(int(STATEMENT_SECONDS * 1_000))}
    return Location(
        url=url.set(drivername="postgresql+asyncpg", query={name: url.query[name] for name in _KEPT & given.keys()}),
        arguments={**_arguments(given, pgbouncer=pgbouncer), "server_settings": settings},
        timeouts={"command_timeout": _GIVE_UP_SECONDS, "server_settings": settings | timeout},
        pool_size=pool_size or _number(given, "connection_limit", int) or POOL_SIZE,
        pool_seconds=_number(given, "pool_timeout", float) or POOL_SECONDS,
        pooled_outside=pgbouncer,
    )


def _arguments(given: dict[str, str], *, pgbouncer: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {"timeout": _number(given, "connect_timeout", float) or CONNECT_SECONDS}
    tls = _tls(given)
    if tls is not None:
        arguments["ssl"] = tls
    if pgbouncer:
        # A statement that was prepared on one server connection would be looked for on another.
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        arguments["prepared_statement_name_func"] = lambda: f"extproc_{uuid.uuid4().hex}"
    return arguments


def _settings(given: dict[str, str], *, pgbouncer: bool) -> dict[str, str]:
    settings = {"application_name": given.get("application_name", "llm-extproc")}
    if "schema" in given:
        if pgbouncer:
            raise ConfigError("the database's URL cannot have schema with pgbouncer=true: set search_path for the user")
        settings["search_path"] = given["schema"]
    return settings


def _tls(given: dict[str, str]) -> ssl.SSLContext | str | bool | None:
    """libpq's modes. The certificates are those of `sslrootcert`, or the system's."""
    mode = given.get("sslmode")
    if mode is None:
        return None
    if mode not in {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}:
        raise ConfigError("sslmode must be one of disable, allow, prefer, require, verify-ca and verify-full")
    if mode == "disable":
        return False
    if mode in {"allow", "prefer"}:
        return mode
    return _context(given, mode)


def _context(given: dict[str, str], mode: str) -> ssl.SSLContext:
    root = given.get("sslrootcert")
    try:
        context = ssl.create_default_context(cafile=None if root in {None, "system"} else root)
        if "sslcert" in given:
            context.load_cert_chain(given["sslcert"], given.get("sslkey"), lambda: "")
    except OSError as error:
        raise ConfigError(
            f"a certificate of the database's URL (sslrootcert, sslcert, sslkey) cannot be used: {error.strerror}"
        ) from None
    context.check_hostname = mode == "verify-full"
    # As in libpq, a root certificate that is given is checked against.
    if mode == "require" and root is None:
        context.verify_mode = ssl.CERT_NONE
    return context


def _switch(given: dict[str, str], name: str) -> bool:
    value = given.get(name, "false").lower()
    if value not in {"true", "false"}:
        raise ConfigError(f"{name} in the database's URL must be true or false")
    return value == "true"


def _number(given: dict[str, str], name: str, kind: Callable[[str], float]) -> Any:
    """A positive number, or `None` where it is not given or 0."""
    try:
        number = kind(given.get(name, "0"))
    except ValueError:
        number = -1
    if not 0 <= number <= 10_000:
        raise ConfigError(f"{name} in the database's URL must be a number")
    return number or None


#: Parameters that stay in the URL: where the server is.
_KEPT = frozenset({"host", "port"})
_KNOWN = _KEPT | {
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "schema"),
    *("connection_limit", "pool_timeout", "connect_timeout", "pgbouncer"),
}
