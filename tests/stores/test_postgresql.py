"""What is PostgreSQL's own: its URL, its certificate, its pools, its timeouts, its outages."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator

import pytest
from running_postgres import PASSWORD, Server, bare_database, fresh_database, server
from stores.samples import NOW, key, receipt

from extproc.errors import ConfigError, StoreUnavailable
from extproc.stores import sql_url
from extproc.stores.contract import KeyFilter, SpendFilter
from extproc.stores.sql import SqlStore


@pytest.fixture
async def database() -> AsyncIterator[str]:
    """The name of a database with all tables."""
    async with fresh_database() as url:
        yield url.rpartition("/")[2]


@pytest.fixture
def running() -> Server:
    return server()


async def answer(store: SqlStore, question: str) -> object:
    """What the server says to a question on a connection of the store."""
    async with store._database.reading() as connection:
        return (await connection.exec_driver_sql(question)).scalar()


async def opened(url: str, question: str) -> object:
    store = await SqlStore.open(url)
    try:
        return await answer(store, question)
    finally:
        await store.close()


IS_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


class TestCertificates:
    @pytest.fixture(autouse=True)
    def _speaks_tls(self, running):
        if not running.has_tls:
            pytest.skip("this build of PostgreSQL speaks no TLS")

    @pytest.mark.parametrize(
        ("query", "tls"),
        [({}, True), ({"sslmode": "disable"}, False), ({"sslmode": "allow"}, False), ({"sslmode": "prefer"}, True),
         ({"sslmode": "require"}, True)],
    )  # fmt: skip
    async def test_a_mode_without_verification_says_whether_the_line_is_encrypted(self, database, running, query, tls):
        assert await opened(running.url(database, **query), IS_TLS) is tls

    @pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
    async def test_a_certificate_that_is_given_is_verified(self, database, running, mode):
        good = running.url(database, sslmode=mode, sslrootcert=str(running.certificate))

        assert await opened(good, IS_TLS) is True

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    @pytest.mark.parametrize("query", [{}, {"sslrootcert": "system"}])
    async def test_a_server_that_the_system_does_not_know_is_an_outage(self, database, running, mode, query):
        with pytest.raises(StoreUnavailable, match="SSLCertVerificationError"):
            await SqlStore.open(running.url(database, sslmode=mode, **query))

    async def test_only_verify_full_looks_at_the_name(self, database, running):
        shared = {"host": "localhost", "sslrootcert": str(running.certificate)}
        assert await opened(running.url(database, sslmode="verify-ca", **shared), IS_TLS) is True

        with pytest.raises(StoreUnavailable, match="SSLCertVerificationError"):
            await SqlStore.open(running.url(database, sslmode="verify-full", **shared))


class TestSecrets:
    @pytest.mark.parametrize(
        "wrong", [{"password": "hunter2"}, {"database": "unknown"}, {"port": 1}, {"host": "host.invalid"}]
    )
    async def test_a_server_that_cannot_be_used_is_an_outage_that_tells_no_password(self, running, wrong):
        url = sql_url.read(running.url("postgres")).url.set(**wrong)

        with pytest.raises(StoreUnavailable) as outage:
            await SqlStore.open(url.render_as_string(hide_password=False))
        told = "".join(traceback.format_exception(outage.value))
        for secret in ("hunter2", PASSWORD, "a%20p"):
            assert secret not in told


class TestPools:
    async def test_more_questions_than_connections_are_all_answered(self, database, running):
        store = await SqlStore.open(running.url(database), pool_size=1)
        stored = await store.create(key())

        found = await asyncio.gather(
            *(store.find(stored.digest) for _ in range(20)),
            *(store.record([receipt(key_digest=stored.digest, spend=1)], now=NOW) for _ in range(20)),
        )

        assert found[0].digest == stored.digest
        assert (await store.find(stored.digest)).spend == 20
        assert await answer(store, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") == 1
        await store.close()

    async def test_a_connection_that_the_server_has_closed_is_replaced(self, database, running):
        store = await SqlStore.open(running.url(database))
        stored = await store.create(key())
        await running.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")

        assert await store.find(stored.digest) == stored
        await store.close()

    async def test_behind_pgbouncer_nothing_is_kept_on_a_connection(self, database, running):
        store = await SqlStore.open(running.url(database, pgbouncer="true"))
        stored = await store.create(key(alias="a"))
        await store.record([receipt(key_digest=stored.digest)], now=NOW)

        for _ in range(3):
            assert (await store.find(stored.digest)).spend == 7
        assert (await store.rows(SpendFilter(), limit=5))[0].receipt.spend == 7
        assert (await store.list(KeyFilter(), page=1, size=5, sort_by="spend", descending=True)).total == 1
        assert await answer(store, "SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'extproc%'") == 0
        await store.close()


class TestSettings:
    async def test_a_statement_may_not_take_for_ever_but_changing_the_tables_may(self, database, running):
        assert await opened(running.url(database), "SHOW statement_timeout") == "30s"
        assert await opened(running.url(database, pgbouncer="true"), "SHOW statement_timeout") == "0"

    async def test_the_server_sees_who_it_is(self, database, running):
        assert await opened(running.url(database), "SHOW application_name") == "llm-extproc"
        assert await opened(running.url(database, application_name="edge"), "SHOW application_name") == "edge"

    async def test_the_tables_may_be_in_a_schema_of_their_own(self, running):
        async with bare_database() as url:
            name = url.rpartition("/")[2]
            await running.execute("CREATE SCHEMA gateway", name)
            store = await SqlStore.open(running.url(name, schema="gateway"))
            await store.create(key())
            await store.close()

            assert await running.execute("SELECT count(*) FROM gateway.keys", name) == [(1,)]


async def test_processes_that_open_one_new_database_at_once_make_it_once():
    async with bare_database() as url:
        stores = await asyncio.gather(*(SqlStore.open(url) for _ in range(5)))
        for store in stores:
            await store.create(key())
            await store.close()


async def test_tables_of_a_newer_program_are_left_alone(running):
    async with bare_database() as url:
        await (await SqlStore.open(url)).close()
        await running.execute("UPDATE alembic_version SET version_num = '9999'", url.rpartition("/")[2])

        with pytest.raises(ConfigError, match="newer version"):
            await SqlStore.open(url)


async def test_a_table_that_is_gone_is_an_outage_that_tells_no_text_of_the_driver(running):
    async with bare_database() as url:
        store = await SqlStore.open(url)
        await running.execute("DROP TABLE keys CASCADE", url.rpartition("/")[2])

        with pytest.raises(StoreUnavailable) as outage:
            await store.ping()
        assert str(outage.value) == "database: UndefinedTableError"
        await store.close()
