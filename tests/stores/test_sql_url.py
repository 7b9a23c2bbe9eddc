"""A database's URL is understood as people write it, and never shown."""

from __future__ import annotations

import ssl

import pytest

from extproc.errors import ConfigError
from extproc.stores import sql_url

PLAIN = "postgresql://user:hunter2@host:5432/name"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_every_usual_scheme_leads_to_the_same_driver(scheme):
    found = sql_url.read(f"{scheme}://user:p%40ss@host:6543/name")

    assert found.url.drivername == "postgresql+asyncpg"
    assert (found.url.host, found.url.port, found.url.database, found.url.password) == ("host", 6543, "name", "p@ss")
    assert (found.pool_size, found.pooled_outside) == (10, False)


def test_sqlites_url_passes():
    assert sql_url.read("sqlite+aiosqlite:////data/extproc.db").url.database == "/data/extproc.db"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hunter2", "cannot be read"), ("postgresql://user:hunter2@host:port/name", "cannot be read"),
        ("mysql://user:hunter2@host/name", "must begin with postgresql://"),
        (PLAIN + "?sslmod=require", "sslmod; known are"), (PLAIN + "?sslmode=on", "sslmode must be one of"),
        (PLAIN + "?pgbouncer=yes", "pgbouncer .* must be true or false"),
        (PLAIN + "?connection_limit=many", "connection_limit .* must be a number"),
        (PLAIN + "?pool_timeout=-1", "pool_timeout .* must be a number"),
        (PLAIN + "?pgbouncer=true&schema=s", "schema with pgbouncer"),
        (PLAIN + "?sslmode=require&sslrootcert=/nowhere", "cannot be used: No such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_so_without_the_url(text, told):
    with pytest.raises(ConfigError, match=told) as refused:
        sql_url.read(text)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_location_shows_no_password():
    assert "hunter2" not in repr(sql_url.read(PLAIN))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("disable", False), ("allow", "allow"), ("prefer", "prefer"), (None, None)],
)
def test_modes_that_verify_nothing_are_left_to_the_driver(mode, expected):
    assert sql_url.read(PLAIN + (f"?sslmode={mode}" if mode else "")).arguments.get("ssl") == expected


@pytest.mark.parametrize(
    ("query", "verified", "named"),
    [
        ("sslmode=require", ssl.CERT_NONE, False), ("sslmode=require&sslrootcert=system", ssl.CERT_REQUIRED, False),
        ("sslmode=verify-ca", ssl.CERT_REQUIRED, False), ("sslmode=verify-full", ssl.CERT_REQUIRED, True),
    ],
)  # fmt: skip
def test_modes_that_want_encryption_say_what_is_verified(query, verified, named):
    context = sql_url.read(f"{PLAIN}?{query}").arguments["ssl"]

    assert (context.verify_mode, context.check_hostname) == (verified, named)


def test_pools_and_timeouts_come_from_the_url_and_the_configuration_comes_first():
    found = sql_url.read(PLAIN + "?connection_limit=3&pool_timeout=1.5&connect_timeout=2")

    assert (found.pool_size, found.pool_seconds, found.arguments["timeout"]) == (3, 1.5, 2.0)
    assert sql_url.read(PLAIN + "?connection_limit=3", pool_size=7).pool_size == 7
    assert sql_url.read(PLAIN + "?connection_limit=0").pool_size == 10


def test_behind_pgbouncer_statements_are_not_kept_and_have_names_of_their_own():
    found = sql_url.read(PLAIN + "?pgbouncer=true")

    assert found.pooled_outside
    assert found.arguments["statement_cache_size"] == found.arguments["prepared_statement_cache_size"] == 0
    name = found.arguments["prepared_statement_name_func"]
    assert name() != name()
    assert found.timeouts["server_settings"] == {"application_name": "llm-extproc"}


def test_the_server_may_be_behind_a_socket():
    found = sql_url.read("postgresql://user@/name?host=/run/postgresql")

    assert found.url.query == {"host": "/run/postgresql"}
