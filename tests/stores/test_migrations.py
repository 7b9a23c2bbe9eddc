"""The steps make the tables that the queries know, and take along what is there."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from stores.samples import NOW, receipt

from extproc.holds import Limit, Measure, Scope, Span
from extproc.stores import sql_url, tables
from extproc.stores.contract import SpendFilter
from extproc.stores.sql import SqlStore
from extproc.stores.sql_database import Database, upgrade

#: Every further field that has a column of its own since 0002, and one that has not.
FURTHER = """{
    "tags": ["x"], "budget_id": "b", "model_rpm_limit": {"m": 1}, "model_tpm_limit": {},
    "model_max_budget": {"m": {"max_budget": 0.1, "budget_duration": "1d"}, "n": {"max_budget": null}},
    "budget_limits": [{"max_budget": 1.5, "budget_duration": "1h"}, {"max_budget": 1, "budget_duration": null}],
    "temp_budget_increase": 0.000000001, "temp_budget_expiry": "2026-12-01T00:00:00+01:00"
}"""
KEY = (
    "INSERT INTO {table} (digest, name, alias, role, models, blocked, spend, booked, metadata, fields, created_at, "
    "updated_at{more}) VALUES ({digest}, 'sk-...abcd', {alias}, 'key', '[\"m\"]', false, 5, 6, '{{\"a\": 1}}', "
    "'{fields}', 1, 1{more_values})"
)
LEDGER = (
    "INSERT INTO ledger VALUES ('{event}', 1, 'call', 'resp', 'd', NULL, 'u', 't', NULL, 'e', {moment}, NULL, "
    "{moment}, 'op', '/', 'g', 'm', 'i', 'openai', '', 200, 'success', false, false, false, 7, 10, 3, 0, 0, 0, 0, 0, "
    "'', '', '{tags}', '{{}}')"
)


@contextlib.asynccontextmanager
async def at_step(url: str, step: str) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction, to a database with the tables of a step."""
    location = sql_url.read(url)
    engine = create_async_engine(location.url, connect_args=location.arguments)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(functools.partial(upgrade, to=step))
            yield connection
    finally:
        await engine.dispose()


@pytest.mark.filterwarnings("ignore:.*expression-based index")
async def test_the_steps_make_exactly_the_tables_that_the_queries_know(bare_url):
    database = await Database.open(bare_url)
    async with database.reading() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"compare_type": True}), tables.metadata
            )
        )
    await database.close()

    assert differences == []


@pytest.fixture
async def upgraded(bare_url) -> AsyncIterator[SqlStore]:
    """A store whose database was filled by the program of step 0001."""
    async with at_step(bare_url, "0001") as connection:
        one = functools.partial(KEY.format, table="keys", more="", more_values="")
        for statement in [
            one(digest="'d'", alias="'front'", fields=FURTHER),
            one(digest="'plain'", alias="NULL", fields="{}"),
            KEY.format(
                table="deleted_keys", digest="'gone'", alias="NULL", fields=FURTHER,
                more=", deleted_at, deleted_by", more_values=", 1, 'admin'",
            ),
            LEDGER.format(event="tagged", moment=NOW, tags='["x", "y", "x", "a\\u0000b"]'),
            LEDGER.format(event="plain", moment=NOW + 1, tags="[]"),
        ]:  # fmt: skip
            await connection.execute(text(statement.replace(":", "\\:")))
    store = await SqlStore.open(bare_url)
    yield store
    await store.close()


async def test_limits_move_from_the_further_fields_to_columns_of_their_own(upgraded):
    key, plain = await upgraded.find("d"), await upgraded.find("plain")

    assert key.fields == {"tags": ["x"]}
    assert (key.budget_id, key.model_rpm_limit, key.model_tpm_limit) == ("b", {"m": 1}, {})
    assert (key.model_max_budget, key.budget_limits) == ({"m": (10**8, "1d")}, (("1h", 1_500_000_000),))
    assert (key.temp_budget_increase, key.temp_budget_expiry) == (1, 1_796_079_600_000)
    assert (key.alias, key.models, key.spend, key.metadata) == ("front", ("m",), 5, {"a": 1})
    assert (plain.fields, plain.model_max_budget, plain.budget_limits, plain.budget_id) == ({}, {}, (), None)


async def test_deleted_keys_move_along(upgraded):
    async with upgraded._database.reading() as connection:
        [row] = (await connection.execute(tables.deleted_keys.select())).mappings().all()

    assert (row["fields"], row["budget_id"], row["budget_limits"]) == ({"tags": ["x"]}, "b", [["1h", 1_500_000_000]])


async def test_the_ledger_stays_and_its_tags_are_counted(upgraded):
    assert [row.receipt.event_id for row in await upgraded.rows(SpendFilter(), limit=5)] == ["plain", "tagged"]
    for tag in ("x", "y", "a\ufffdb"):
        limit = Limit(Scope("tag", tag), Measure.TOKENS, Span.WINDOW, 1, since=1)
        assert [*await upgraded.settled(limit, NOW)] == [(1, 13)]


async def test_an_upgraded_database_books_and_opens_again(upgraded, bare_url):
    await upgraded.record([receipt(key_digest="d", spend=2)], now=NOW)

    again = await SqlStore.open(bare_url)
    assert (await again.find("d")).spend == 7
    await again.close()


async def test_what_a_provider_calls_a_person_moves_to_a_column_of_its_own(bare_url):
    row = (
        "INSERT INTO users (id, models, spend, metadata, fields, created_at, updated_at) "
        "VALUES ('{}', '[]', 0, '{{}}', '{}', 1, 1)"
    )
    told = '{"aliases": {"zero": "a\\u0000b"}, "sso_user_id": "https://idp|1", "policies": ["sso_user_id"]}'
    async with at_step(bare_url, "0010") as connection:
        for statement in (row.format("ada", told), row.format("bob", "{}")):
            await connection.execute(text(statement.replace(":", "\\:")))
    store = await SqlStore.open(bare_url)
    ada, bob = await store.users.find("ada"), await store.users.find("bob")
    known, _ = await store.persons.known_as(["https://idp|1"], "x")
    await store.close()

    assert (ada.sso_user_id, ada.fields) == (
        "https://idp|1", {"aliases": {"zero": "a\0b"}, "policies": ["sso_user_id"]},
    )  # fmt: skip
    assert (known, bob.sso_user_id) == ((ada,), None)
