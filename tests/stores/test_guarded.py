"""A store that is slow or gone is noticed in time, and said once per edge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from extproc.errors import StoreUnavailable
from extproc.model import EndUser, Key, Tag
from extproc.stores.guarded import GuardedKeys

KEY = Key(digest="a", name="sk-...")


class Keys:
    def __init__(self) -> None:
        self.trouble: str | None = None

    async def find(self, _: str) -> Key | None:
        if self.trouble == "slow":
            await asyncio.sleep(60)
        if self.trouble == "gone":
            raise StoreUnavailable("keys", "connection refused")
        return KEY

    async def find_end_user(self, _: str) -> EndUser | None:
        await self.find("")
        return EndUser(id="e")

    async def find_tags(self, _: Sequence[str]) -> tuple[Tag, ...]:
        await self.find("")
        return (Tag(name="t"),)


@pytest.fixture
def states():
    return []


@pytest.fixture
def guarded(states):
    inner = Keys()
    guarded = GuardedKeys(inner, "keys", deadline_ms=20, report=lambda store, up: states.append((store, up)))
    return inner, guarded


async def test_an_answer_passes(guarded):
    assert await guarded[1].find("a") == KEY
    assert await guarded[1].find_end_user("e") == EndUser(id="e")
    assert await guarded[1].find_tags(["t"]) == (Tag(name="t"),)


@pytest.mark.parametrize("trouble", ["slow", "gone"])
async def test_trouble_is_an_outage_of_the_store(guarded, trouble):
    inner, keys = guarded
    inner.trouble = trouble

    for question in (keys.find("a"), keys.find_end_user("e"), keys.find_tags(["t"])):
        with pytest.raises(StoreUnavailable):
            await question


async def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends(guarded, states, caplog):
    inner, keys = guarded
    with caplog.at_level(logging.WARNING):
        for trouble in ["gone"] * 5 + [None] * 5:
            inner.trouble = trouble
            try:
                await keys.find("a")
            except StoreUnavailable:
                continue

    assert states == [("keys", True), ("keys", False), ("keys", True)]
    assert [record.message for record in caplog.records] == ["store_down", "store_up"]
