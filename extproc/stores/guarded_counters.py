"""A deadline, a breaker and an edge-logged up/down state around a counter store that is somewhere else.

A store that is slow must not make every exchange wait its whole deadline: after a failure nobody asks for `PAUSE_MS`
(a moment that doubles up to `LONGEST_PAUSE_MS` while it goes on), then one question is let through, and its answer
opens the way for all or closes it again. Many questions may fail of one outage; the pause grows with the ones that were
let through after it began. What an outage means is not decided here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from extproc.errors import StoreUnavailable
from extproc.stores.deadline import within

logger = logging.getLogger(__name__)

NAME = "counters"
PAUSE_MS = 250
LONGEST_PAUSE_MS = 1_000

T = TypeVar("T")


class Guard:
    """Lets questions through while the store answers. `now` is milliseconds of a clock that only goes forward.

    `deadline_ms` is `None` for a store that has a deadline of its own: to hold one here costs a task for each question.
    """

    def __init__(self, *, deadline_ms: int | None, now: Callable[[], int], report: Callable[[str, bool], None]) -> None:
        self._deadline = None if deadline_ms is None else deadline_ms / 1000
        self._now = now
        self._report = report
        self._pause = 0
        self._closed_until = 0
        report(NAME, True)

    @property
    def up(self) -> bool:
        """Whether the last question was answered."""
        return not self._pause

    async def ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer. Raises `StoreUnavailable` when there is none in time, or when nobody is let through."""
        now, pause = self._now(), self._pause
        if pause and now < self._closed_until:
            raise StoreUnavailable(NAME, "not asked, since it did not answer a moment ago", asked=False)
        if pause:
            self._closed_until = now + pause  # this question is the probe; the others wait for its answer
        try:
            answer = await (question() if self._deadline is None else within(self._deadline, question()))
        except TimeoutError:
            outage = StoreUnavailable(NAME, f"no answer within {self._deadline} s")
            self._went_down(outage, pause)
            raise outage from None
        except StoreUnavailable as outage:
            self._went_down(outage, pause)
            raise
        self._came_up()
        return answer

    def _went_down(self, outage: StoreUnavailable, pause: int) -> None:
        """`pause` is what it was when the question was asked; where it is another one now, this is known already."""
        if self._pause != pause:
            return
        if not self._pause:
            logger.error("store_down", extra={"store": NAME, "reason": outage.reason})
            self._report(NAME, False)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_MS) or PAUSE_MS
        self._closed_until = self._now() + self._pause

    def _came_up(self) -> None:
        if self._pause:
            self._pause = 0
            logger.warning("store_up", extra={"store": NAME})
            self._report(NAME, True)


class GuardedCounters:
    """A `CounterStore` behind a guard."""

    def __init__(self, inner: Any, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._inner, name)

        async def guarded(*arguments: Any, **named: Any) -> Any:
            return await self._guard.ask(lambda: method(*arguments, **named))

        return guarded
