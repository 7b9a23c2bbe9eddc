"""A deadline and an edge-logged up/down state around a store of identities.

The data path must never wait for a store longer than it was told to. A question that takes too long, or that the store
fails, is `StoreUnavailable`; the state is logged once when it goes down and once when it comes back, and told to
`report` for the gauge. What an outage means is not decided here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from extproc.errors import StoreUnavailable
from extproc.model import EndUser, Key, Tag
from extproc.stores.contract import Identities
from extproc.stores.deadline import within

T = TypeVar("T")

logger = logging.getLogger(__name__)


class GuardedKeys:
    """`Identities` that answer within `deadline_ms` or raise `StoreUnavailable`."""

    def __init__(self, inner: Identities, name: str, *, deadline_ms: int, report: Callable[[str, bool], None]) -> None:
        self._inner = inner
        self._name = name
        self._deadline = deadline_ms / 1000
        self._report = report
        self._up = True
        report(name, True)

    async def find(self, digest: str) -> Key | None:
        return await self._within(self._inner.find(digest))

    async def find_end_user(self, end_user: str) -> EndUser | None:
        return await self._within(self._inner.find_end_user(end_user))

    async def find_tags(self, names: Sequence[str]) -> tuple[Tag, ...]:
        return await self._within(self._inner.find_tags(names))

    async def _within(self, question: Coroutine[Any, Any, T]) -> T:
        try:
            answer = await within(self._deadline, question)
        except TimeoutError:
            outage = StoreUnavailable(self._name, f"no answer within {self._deadline} s")
            self._mark(up=False, reason=outage.reason)
            raise outage from None
        except StoreUnavailable as outage:
            self._mark(up=False, reason=outage.reason)
            raise
        self._mark(up=True, reason="")
        return answer

    def _mark(self, *, up: bool, reason: str) -> None:
        if up == self._up:
            return
        self._up = up
        self._report(self._name, up)
        if up:
            logger.warning("store_up", extra={"store": self._name})
        else:
            logger.error("store_down", extra={"store": self._name, "reason": reason})
