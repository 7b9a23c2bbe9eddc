"""A full disk: new requests are refused, those in flight wait for their receipt, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from gateway.receiving import Receiving, until_receipt_waits
from gateway.running_gateway import CHAT, HELLO, Gateway, bearer, running_gateway
from gateway.scripted_upstream import WORDS, Gate, ScriptedUpstream, says
from gateway.server_processes import Nursery

MIB = 1024 * 1024
#: Twenty kilobytes of them in each receipt, so that a disk is soon full of receipts.
MANY_TAGS = [f"{number:03d}" + "t" * 250 for number in range(64)]


async def until_refused(client: httpx.AsyncClient) -> httpx.Response:
    """The first refusal for want of room. What is asked is malformed, so that nothing is forwarded before."""
    async with asyncio.timeout(20):
        while (response := await client.post(CHAT, json={})).status_code != 503:
            assert response.status_code == 400
            await asyncio.sleep(0.02)
    return response


async def until_accepted(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while (await client.post(CHAT, json={})).status_code != 400:
            await asyncio.sleep(0.02)


async def test_a_disk_that_refuses_receipts_refuses_requests_until_there_is_room(
    fragile: Gateway, fragile_client: httpx.AsyncClient, upstream: ScriptedUpstream, tmp_path: Path
):
    gate = tmp_path / "full"
    await fragile.restart_server(f"full-disk={gate}")
    script = Gate()
    in_flight = Receiving(fragile_client, upstream.plays("disk-gets-full", script))
    await script.begun.wait()

    gate.touch()
    script.open.set()
    await until_receipt_waits(fragile, in_flight)
    refused = await until_refused(fragile_client)
    asked_before = len(upstream.asked)
    again = await fragile_client.post(CHAT, json={"model": "homemade", "messages": HELLO})
    had_all_before = in_flight.complete
    gate.unlink()
    await in_flight.task
    await until_accepted(fragile_client)
    served = await fragile_client.post(CHAT, json={"model": "homemade", "messages": HELLO})

    for response in (refused, again):
        error = response.json()["error"]
        assert (error["type"], error["code"]) == ("service_unavailable", "503")
        assert response.headers["retry-after"] == "5"
    assert len(upstream.asked) == asked_before + 1, "only what was served at the end was asked"
    assert not had_all_before
    assert in_flight.complete
    assert served.status_code == 200
    assert len(await fragile.rows(in_flight.call_id)) == len(await fragile.rows(served.json()["id"])) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for little."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m,mode=700", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system of limited size needs root")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.fixture
async def cramped(nursery: Nursery, upstream: ScriptedUpstream, small_disk: Path) -> AsyncIterator[Gateway]:
    """A gateway whose data, log included, is on the small disk."""
    async with running_gateway(nursery, upstream, data_dir=small_disk) as found:
        await found.start_server()
        yield found


def fill(disk: Path) -> Path:
    """Leave no room. Gives the file that takes it all."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65_536)
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0")
    return filler


async def test_every_response_that_was_given_while_the_disk_filled_up_is_booked_when_there_is_room(
    cramped: Gateway, upstream: ScriptedUpstream, small_disk: Path
):
    """No ledger, no further segment, no log: what was promised before still has its place on disk."""
    key = await cramped.new_key()
    model = upstream.plays("disk-fills-up", says(WORDS))
    asking = {"model": model, "messages": HELLO, "tags": MANY_TAGS}

    async def ask_until_refused() -> list[str]:
        served = []
        while (response := await client.post(CHAT, json=asking)).status_code == 200:
            served.append(response.json()["id"])
        assert (response.status_code, response.json()["error"]["type"]) == (503, "service_unavailable")
        return served

    async with httpx.AsyncClient(base_url=cramped.http, headers=bearer(key), timeout=30) as client:
        assert (await client.post(CHAT, json={})).status_code == 400
        filler = fill(small_disk)
        served = [each for asker in await asyncio.gather(*(ask_until_refused() for _ in range(8))) for each in asker]
        ready = await client.get("/health/liveliness")
        filler.unlink()
        await until_accepted(client)
        after = await client.post(CHAT, json=asking)

    assert ready.status_code == 200
    assert after.status_code == 200
    rows = await cramped.rows(api_key=key)
    assert sorted(row["request_id"] for row in rows) == sorted([*served, after.json()["id"]])
    assert len(served) * sum(map(len, MANY_TAGS)) > 8 * MIB, "the disk was not filled with receipts"
    assert await cramped.logged(after.headers["x-litellm-call-id"])
