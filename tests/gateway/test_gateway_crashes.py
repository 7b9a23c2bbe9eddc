"""What a crash of the server may cost: never the row of a response that a client has in full."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import httpx
import pytest
from gateway.receiving import Receiving, until_held
from gateway.running_gateway import CHAT, HELLO, Gateway, bearer
from gateway.scripted_upstream import WORDS, Gate, ScriptedUpstream, says

STREAMS = 32
ROUNDS = 5


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file exists, the disk does not answer."""
    return tmp_path / "gate"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_end_of_a_response_waits_until_its_receipt_is_on_disk(
    fragile, fragile_client, upstream, gate, stream
):
    await fragile.restart_server(f"hold-flush={gate}")
    model = upstream.plays("waits", says(WORDS))
    gate.touch()

    receiving = Receiving(fragile_client, model, stream=stream)
    await until_held(gate, receiving)
    had_all_before = receiving.complete
    gate.unlink()
    await receiving.task

    assert not had_all_before
    assert receiving.complete
    assert len(await fragile.rows(receiving.call_id)) == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("held", "rows"), [("hold-write", 0), ("hold-flush", 1)])
async def test_a_kill_between_the_last_chunk_and_the_receipt_takes_the_end_from_the_client(
    fragile, fragile_client, upstream, gate, held, rows, stream
):
    """Held before the write nothing is on disk; held before the flush the kernel has the receipt already."""
    await fragile.restart_server(f"{held}={gate}")
    model = upstream.plays("killed-between", says(WORDS))
    gate.touch()

    receiving = Receiving(fragile_client, model, stream=stream)
    await until_held(gate, receiving)
    await fragile.kill_server()
    await receiving.task
    await fragile.start_server()

    assert not receiving.complete
    assert receiving.status == 503 or not receiving.whole
    assert len(await fragile.rows(receiving.call_id)) == rows


async def test_a_response_received_to_its_end_is_booked_though_the_server_died_before_booking_it(
    fragile, fragile_client, upstream
):
    with fragile.locked_database():
        receiving = Receiving(fragile_client, upstream.plays("unbooked", says(WORDS)))
        await receiving.task
        await fragile.kill_server()
    await fragile.start_server()

    assert receiving.complete
    row = await fragile.only_row(receiving.call_id)
    assert (row["total_tokens"], row["metadata"]["estimated"]) == (26, False)


async def test_no_row_is_lost_or_doubled_when_the_server_is_killed_at_random_moments(fragile, upstream):
    chance = random.Random(20)
    received: list[Receiving] = []
    key = await fragile.new_key()
    limits = httpx.Limits(max_connections=STREAMS)
    model = upstream.plays("stormy", says(WORDS, pause=0.004))

    async with httpx.AsyncClient(base_url=fragile.http, headers=bearer(key), timeout=30, limits=limits) as client:
        for _ in range(ROUNDS):
            storm = [
                asyncio.create_task(keep_asking(client, model, received, stream=i % 4 > 0)) for i in range(STREAMS)
            ]
            await until_some_are_complete(received, len(received) + STREAMS)
            await asyncio.sleep(chance.random() / 4)
            await fragile.kill_server()
            for task in storm:
                task.cancel()
            await asyncio.gather(*storm, return_exceptions=True)
            await asyncio.gather(*(receiving.task for receiving in received))
            await fragile.start_server()

    booked = Counter(row["request_id"] for row in await fragile.rows(api_key=key))
    complete = [receiving.response_id for receiving in received if receiving.complete]
    assert [found for found in complete if booked[found] != 1] == []
    assert [found for found, times in booked.items() if times > 1] == []
    assert len(complete) >= ROUNDS * STREAMS
    assert any(receiving.status == 200 and not receiving.complete for receiving in received), "nothing was cut"


async def keep_asking(client: httpx.AsyncClient, model: str, received: list[Receiving], *, stream: bool) -> None:
    while True:
        receiving = Receiving(client, model, stream=stream)
        received.append(receiving)
        await asyncio.shield(receiving.task)


async def until_some_are_complete(received: list[Receiving], number: int) -> None:
    async with asyncio.timeout(60):
        while sum(receiving.whole for receiving in received) < number:
            await asyncio.sleep(0.01)


async def test_a_stream_in_flight_ends_well_when_the_server_is_told_to_stop(fragile, fragile_client, upstream):
    script = Gate()
    receiving = Receiving(fragile_client, upstream.plays("drained", script))
    await script.begun.wait()

    stopping = asyncio.create_task(fragile.stop_server())
    await until_draining(fragile)
    late = await fragile_client.post(CHAT, json={"model": "homemade", "messages": HELLO})
    script.open.set()
    await receiving.task
    await stopping
    await fragile.start_server()

    assert late.status_code == 503
    assert receiving.complete
    assert receiving.whole
    row = await fragile.only_row(receiving.call_id)
    assert (row["total_tokens"], row["metadata"]["cut"]) == (26, False)


async def until_draining(gateway: Gateway) -> None:
    before = gateway.log().count('"draining"')
    async with asyncio.timeout(20):
        while gateway.log().count('"draining"') == before:
            await asyncio.sleep(0.02)


async def test_nothing_is_left_on_disk_after_a_stop_in_peace(fragile, fragile_client, upstream):
    """Every receipt is booked, so no segment remains, and the sockets are gone."""
    await fragile_client.post(CHAT, json={"model": "homemade", "messages": HELLO})

    await fragile.stop_server()

    assert list(Path(fragile.layout.data_dir).glob("outbox/**/*.receipts")) == []
    assert not Path(fragile.layout.processor_sockets[0]).exists()
    assert not Path(fragile.layout.management_socket).exists()


async def test_a_server_that_is_restarted_goes_on_under_the_same_envoy(
    fragile, fragile_client, upstream: ScriptedUpstream
):
    await fragile.restart_server()

    response = await fragile_client.post(CHAT, json={"model": "homemade", "messages": HELLO})

    assert response.status_code == 200
    assert len(await fragile.rows(response.json()["id"])) == 1
