"""What was said, on its way to where it is kept."""

from __future__ import annotations

import asyncio
import json

import pytest
from stores.samples import receipt

from extproc import contents, guardrails
from extproc.bodies.content import Content
from extproc.contents import Contents
from extproc.encryption import Keyring
from extproc.errors import SecretUnavailable, StoreUnavailable
from extproc.providers import openai_chat

RING = Keyring(["an-encryption-key-of-ours"])
EVERYTHING = guardrails.of_everything()


class Kept:
    """A `ContentStore` that may be away."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.down = False
        self.asked = 0

    async def keep(self, rows):
        self.asked += 1
        if self.down:
            raise StoreUnavailable("sql", "gone")
        self.rows |= {row.event_id: row.sealed for row in rows}

    async def sealed_of(self, event_ids):
        return {event_id: self.rows[event_id] for event_id in event_ids if event_id in self.rows}


class World:
    def __init__(self, ring: Keyring | None = RING) -> None:
        self.store = Kept()
        self.ring = ring
        self.reported: list[tuple[str, int]] = []
        self.contents = Contents(
            self.store, self.keyring, EVERYTHING, 5_000, lambda result, count: self.reported.append((result, count))
        )

    def keyring(self) -> Keyring | None:
        return self.ring

    def put(self, event_id: str, text: str = "hello") -> None:
        asked = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
        self.contents.put(receipt(event_id=event_id), Content(openai_chat, asked))


async def until(found) -> None:
    async with asyncio.timeout(20):
        while not found():
            await asyncio.sleep(0.01)


async def test_what_is_put_is_masked_sealed_and_found_again():
    world = World()
    running = asyncio.create_task(world.contents.store_until_cancelled())
    world.put("e1", "I am ann@company.com")
    world.put("e2")
    await until(lambda: len(world.store.rows) == 2)
    running.cancel()

    assert "company" not in RING.open(world.store.rows["e1"], contents.place("e1"))
    found = await contents.opened(world.store, world.keyring, ["e1", "e2", "e3"])
    assert found["e1"]["request"]["messages"] == [{"role": "user", "content": "I am <EMAIL_ADDRESS_1>"}]
    assert list(found) == ["e1", "e2"]
    assert sum(count for result, count in world.reported if result == "stored") == 2


async def test_a_row_that_was_put_in_anothers_place_is_not_shown():
    world = World()
    world.put("e1")
    await world.contents.close()
    world.store.rows["e2"] = world.store.rows["e1"]

    assert (await contents.opened(world.store, world.keyring, ["e2"]))["e2"] == {
        "request": {"left_out": "sealed_with_another_key"},
        "response": {"left_out": "sealed_with_another_key"},
    }


@pytest.mark.parametrize("ring", [None, Keyring(["another-encryption-key"])])
async def test_without_the_key_nothing_is_shown(ring):
    world = World()
    world.put("e1")
    await world.contents.close()
    world.ring = ring

    found = await contents.opened(world.store, world.keyring, ["e1"])

    assert found["e1"]["request"] == {"left_out": "sealed_with_another_key"}


async def test_an_outage_is_waited_out(monkeypatch):
    monkeypatch.setattr(contents, "RETRY_SECONDS", 0.01)
    world = World()
    world.store.down = True
    running = asyncio.create_task(world.contents.store_until_cancelled())
    world.put("e1")
    await until(lambda: world.store.asked > 2)
    assert world.store.rows == {}

    world.store.down = False
    await until(lambda: "e1" in world.store.rows)
    running.cancel()


async def test_what_was_being_stored_when_the_process_ends_is_stored():
    world = World()
    for number in range(3):
        world.put(f"e{number}")
    running = asyncio.create_task(world.contents.store_until_cancelled())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})

    await world.contents.close()
    assert sorted(world.store.rows) == ["e0", "e1", "e2"]


async def test_what_cannot_be_stored_at_the_end_is_told():
    world = World()
    world.store.down = True
    world.put("e1")
    await world.contents.close()

    assert world.reported == [("stopped", 1)]


@pytest.mark.parametrize(("setting", "most"), [("MOST_WAITING", 2), ("MOST_WAITING_BYTES", 150)])
async def test_what_is_too_much_to_wait_is_left_out_and_told(monkeypatch, setting, most):
    monkeypatch.setattr(contents, setting, most)
    world = World()
    for number in range(3):
        world.put(f"e{number}")
    await world.contents.close()

    assert sorted(world.store.rows) == ["e0", "e1"]
    assert ("too_many", 1) in world.reported


async def test_what_was_stored_makes_room_for_more(monkeypatch):
    monkeypatch.setattr(contents, "MOST_WAITING_BYTES", 100)
    world = World()
    for number in range(3):
        world.put(f"e{number}")
        await world.contents.close()

    assert len(world.store.rows) == 3


async def test_without_a_key_to_seal_with_it_is_left_out_and_told():
    world = World(ring=None)
    world.put("e1")
    await world.contents.close()

    assert world.store.rows == {}
    assert ("no_key", 1) in world.reported


async def test_a_key_that_cannot_be_read_at_the_moment_stops_nobody():
    world = World()

    def gone() -> Keyring | None:
        raise SecretUnavailable("file/key is not there")

    world.contents._keyring = gone
    world.put("e1")
    await world.contents.close()
    world.contents._keyring = world.keyring
    world.put("e2")
    await world.contents.close()

    assert list(world.store.rows) == ["e2"]


async def test_what_nobody_foresaw_stops_nobody_and_is_told_without_a_word_of_it(caplog):
    class Odd(Content):
        def told(self, storing):
            raise ZeroDivisionError("I am ann@company.com")

    world = World()
    world.contents.put(receipt(event_id="e1"), Odd(openai_chat, b"{}"))
    world.put("e2")
    await world.contents.close()

    assert list(world.store.rows) == ["e2"]
    assert ("failed", 1) in world.reported
    assert "ann@company.com" not in caplog.text
