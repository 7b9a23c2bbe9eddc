"""How often a stream asks for more: never where it turns out as usual, for each question is a round trip."""

from __future__ import annotations

import pytest
from reserving import RATE, World, body_with, ends

from extproc import reservation
from extproc.holds import Amounts, Full, Granted


class Asked(World):
    """Counts the questions for more."""

    def __init__(self) -> None:
        super().__init__(standing=True, max_budget=1_000_000 * RATE)
        self.extensions = 0
        extend = self.reservations.extend

        async def counted(event_id: str, by: Amounts) -> Granted | Full:
            self.extensions += 1
            return await extend(event_id, by)

        self.reservations.extend = counted  # type: ignore[method-assign]

    async def stream(self, output_tokens: int) -> None:
        """A stream of so many tokens, one after the other."""
        one = self.asks(stream=True)
        assert await one.admit() is None
        for seen in range(1, output_tokens + 1):
            assert await one.follow(body_with(seen)) is None
        await ends(one, output_tokens)


@pytest.mark.parametrize("usual", [1, 60, 150])
async def test_a_stream_that_is_as_long_as_usual_asks_once_at_the_beginning(usual):
    world = Asked()
    for _ in range(4):
        await world.stream(usual)

    assert world.extensions == 0


async def test_one_that_is_longer_asks_for_more_and_more_at_a_time():
    world = Asked()
    await world.stream(20)
    await world.stream(200)

    assert 1 <= world.extensions <= 3


async def test_what_is_held_ahead_is_given_back():
    world = Asked()
    await world.stream(20)
    one = world.asks(stream=True)
    await one.admit()

    assert await world.level() == (30 * RATE, (10 + 20 + reservation.AHEAD_TOKENS) * RATE)
    await ends(one, 20)
    assert await world.level() == (60 * RATE, 0)
