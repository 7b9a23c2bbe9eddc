"""A deadline is kept whatever the question does."""

from __future__ import annotations

import asyncio

import pytest

from extproc.stores.deadline import within


async def test_an_answer_in_time_passes():
    async def question() -> int:
        return 42

    assert await within(10, question()) == 42


async def test_what_the_question_raises_passes():
    async def question() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        await within(10, question())


async def test_a_question_that_lingers_when_cancelled_is_left_behind():
    cancelled, release, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def question() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            await release.wait()
            raise LookupError from None
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        await within(0.01, question())

    assert not ended.is_set()
    await cancelled.wait()
    release.set()
    await ended.wait()


async def test_a_caller_that_is_cancelled_cancels_the_question():
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def question() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    asking = asyncio.create_task(within(60, question()))
    await begun.wait()
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(cancelled.wait(), 30)
