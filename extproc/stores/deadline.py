"""A deadline that holds even where cancelling takes time.

`asyncio.timeout` cancels what it guards and then waits until it has ended. A driver that is cancelled in the middle of
a statement first gives its connection back, which may take as long as the statement itself. Here the caller goes on at
the deadline, and what lingers ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, question: Coroutine[Any, Any, T]) -> T:
    """The answer, or what the question raises. Raises `TimeoutError` when it has taken that many seconds."""
    asking = asyncio.create_task(question)
    try:
        await asyncio.wait({asking}, timeout=seconds)
        if not asking.done():
            raise TimeoutError
        return asking.result()
    finally:
        if not asking.done():
            asking.add_done_callback(_disregard)
            asking.cancel()


def _disregard(asked: asyncio.Task[Any]) -> None:
    """Take note of an exception that comes too late, or asyncio would complain that nobody did."""
    if not asked.cancelled():
        asked.exception()
