"""Callers without a valid key, as fast as they come: they cost a bounded cache, no row, and nobody else's service."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway.running_gateway import CHAT, Gateway, running_gateway
from gateway.scripted_upstream import ScriptedUpstream
from gateway.server_processes import Nursery
from gateway.wire import answer, http1

MIB = 1024 * 1024
BODY = b'{"model":"homemade","messages":[{"role":"user","content":"hi"}]}'
CONNECTIONS = 16
#: Small, so that the flood overflows it many times.
CACHED_KEYS = 200


@pytest.fixture(scope="module")
async def flooded(nursery: Nursery, upstream: ScriptedUpstream) -> AsyncIterator[Gateway]:
    async with running_gateway(nursery, upstream, key_cache_size=CACHED_KEYS, failed_login_attempts=0) as found:
        await found.start_server()
        yield found


def asking(*headers: str) -> bytes:
    lines = (f"POST {CHAT} HTTP/1.1", "host: gateway", "content-type: application/json", f"content-length: {len(BODY)}")
    return "\r\n".join((*lines, *headers, "", "")).encode() + BODY


async def flood(gateway: Gateway, number: int) -> Counter[int]:
    """Ask with so many keys that nobody ever had; what was answered."""
    statuses: Counter[int] = Counter()
    left = iter(range(number))

    async def ask() -> None:
        async with http1(gateway) as (reader, writer):
            for _ in left:
                writer.write(asking(f"authorization: Bearer sk-{secrets.token_urlsafe(32)}"))
                statuses[(await answer(reader)).status] += 1

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return statuses


async def rows(gateway: Gateway) -> dict[str, int]:
    """How many rows each table of the database has, when every exchange so far is booked."""
    await gateway.settled()
    with contextlib.closing(sqlite3.connect(Path(gateway.layout.data_dir) / "extproc.db")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


async def test_unknown_keys_leave_no_row_and_no_memory_behind(flooded, upstream):
    await flood(flooded, 1_000)
    rows_before, memory_before, asked_before = await rows(flooded), flooded.resident_bytes(), len(upstream.asked)

    statuses = await flood(flooded, 5_000)

    assert statuses == {401: 5_000}
    assert await flooded.gauge("extproc_cached_keys") <= 2 * CACHED_KEYS
    assert flooded.resident_bytes() - memory_before < 4 * MIB
    assert await rows(flooded) == rows_before
    assert len(upstream.asked) == asked_before


async def test_a_known_key_is_served_in_the_middle_of_a_flood(flooded):
    key = await flooded.new_key()
    flooding = asyncio.create_task(flood(flooded, 2_000))

    served = []
    async with http1(flooded) as (reader, writer):
        while not flooding.done():
            writer.write(asking(f"authorization: Bearer {key}"))
            served.append((await answer(reader)).status)

    assert await flooding == {401: 2_000}
    assert set(served) == {200}
    assert len(served) > 10


async def test_a_crowd_with_the_same_unknown_key_asks_the_database_once(flooded):
    """What is not there is remembered too."""
    wrong = asking(f"authorization: Bearer sk-{secrets.token_urlsafe(32)}")

    async def ask() -> int:
        async with http1(flooded) as (reader, writer):
            writer.write(wrong)
            return (await answer(reader)).status

    with flooded.locked_database():
        assert set(await asyncio.gather(*(ask() for _ in range(4)))) == {503}
    assert set(await asyncio.gather(*(ask() for _ in range(4)))) == {401}
    with flooded.locked_database():
        assert set(await asyncio.gather(*(ask() for _ in range(50)))) == {401}
