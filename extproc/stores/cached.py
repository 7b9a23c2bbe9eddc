"""A bounded cache in front of any store of identities: keys with their owners, end users, tags, and who does not exist.

Each kind has two rooms, one for what was found and one for what was not, so that a flood of unknown names cannot push
out known ones. An entry lives for a short time and is forgotten at once when the management API changes it or, with a
key, anyone it belongs to; a lookup that was already on its way when that happened may be answered but not remembered.
Lookups of the same key at the same time share one question.

Somebody must hear of changes that others make. While nobody does (`trust`), an entry is believed for a second, and then
asked for again. Where that question fails the entry serves until its time is over: a database that does not answer
takes no changes either, so an outage of it stops no key that is in use.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from extproc.errors import StoreUnavailable
from extproc.holds import Scope
from extproc.model import EndUser, Key, Tag, UnixMs
from extproc.stores.contract import Identities

T = TypeVar("T")

#: How long an answer is believed while changes of others are not heard of.
DEAF_MS = 1_000


class Rooms(Generic[T]):
    """What is known of one kind, and which of its names are nobody's."""

    def __init__(self, *, ttl_ms: int, size: int, now: Callable[[], UnixMs]) -> None:
        self._ttl_ms = ttl_ms
        self._size = size
        self._now = now
        self._known: OrderedDict[str, tuple[UnixMs, T]] = OrderedDict()
        self._unknown: OrderedDict[str, UnixMs] = OrderedDict()

    def find(self, name: str, *, heard: bool = True) -> tuple[bool, T | None]:
        """Whether the answer is remembered, and the answer. Without `heard` it must be younger than `DEAF_MS`."""
        soonest = self._now() if heard else self._now() + max(0, self._ttl_ms - DEAF_MS)
        known = self._known.get(name)
        if known is not None and soonest < known[0]:
            self._known.move_to_end(name)
            return True, known[1]
        if soonest < self._unknown.get(name, 0):
            self._unknown.move_to_end(name)
            return True, None
        return False, None

    def remember(self, name: str, value: T | None, asked_at: UnixMs) -> None:
        """Keep an answer for its time, which began when it was asked for."""
        expiry = asked_at + self._ttl_ms
        self.forget(name)
        if value is None:
            _put(self._unknown, name, expiry, self._size)
        else:
            _put(self._known, name, (expiry, value), self._size)

    def forget(self, name: str) -> None:
        """Drop what is remembered of this name."""
        self._known.pop(name, None)
        self._unknown.pop(name, None)

    def forget_where(self, affected: Callable[[T], bool]) -> None:
        """Drop every value of which this is true."""
        for name in [name for name, (_, value) in self._known.items() if affected(value)]:
            del self._known[name]

    def clear(self) -> None:
        """Drop everything."""
        self._known.clear()
        self._unknown.clear()

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)


class CachedKeys:
    """`Identities`. `ttl_ms` is how long an answer is believed; `size` the most entries in each room."""

    def __init__(self, inner: Identities, *, ttl_ms: int, size: int, now: Callable[[], UnixMs]) -> None:
        self._inner = inner
        self._now = now
        self._heard: Callable[[], bool] = lambda: True
        self._down = False
        self._keys: Rooms[Key] = Rooms(ttl_ms=ttl_ms, size=size, now=now)
        self._end_users: Rooms[EndUser] = Rooms(ttl_ms=ttl_ms, size=size, now=now)
        self._tags: Rooms[Tag] = Rooms(ttl_ms=ttl_ms, size=size, now=now)
        self._asking: dict[str, asyncio.Task[Key | None]] = {}
        #: Grows whenever anything is forgotten: what was asked before that is not remembered.
        self._forgettings = 0

    def trust(self, heard: Callable[[], bool]) -> None:
        """`heard` says whether all that others changed until a moment ago has been heard of."""
        self._heard = heard

    async def find(self, digest: str) -> Key | None:
        heard = self._heard()
        remembered, key = self._keys.find(digest, heard=heard)
        if remembered:
            return key
        asking = self._question(digest)
        if self._down and not heard:
            # The question goes on, and tells when the store is back. Nobody needs to wait for that.
            remembered, key = self._keys.find(digest)
            if remembered:
                return key
        try:
            # One caller's hang-up must not cancel the question that others wait for.
            return await asyncio.shield(asking)
        except StoreUnavailable:
            remembered, key = self._keys.find(digest)
            if not remembered:
                raise
            return key

    async def find_end_user(self, end_user: str) -> EndUser | None:
        remembered, found = self._end_users.find(end_user, heard=self._heard())
        if remembered:
            return found
        forgettings, asked_at = self._forgettings, self._now()
        try:
            found = await self._inner.find_end_user(end_user)
        except StoreUnavailable:
            remembered, found = self._end_users.find(end_user)
            if not remembered:
                raise
            return found
        if forgettings == self._forgettings:
            self._end_users.remember(end_user, found, asked_at)
        return found

    async def find_tags(self, names: Sequence[str]) -> tuple[Tag, ...]:
        wanted, heard = tuple(dict.fromkeys(names)), self._heard()
        remembered = {name: self._tags.find(name, heard=heard) for name in wanted}
        missing = [name for name, (known, _) in remembered.items() if not known]
        if missing:
            remembered |= await self._ask_for_tags(missing)
        return tuple(tag for name in wanted if (tag := remembered[name][1]) is not None)

    def forget(self, scope: Scope) -> None:
        """Who has changed: an `api_key` (its digest), `team`, `user`, `team_member`, `end_user`, `tag` or `budget`.

        All that it is part of is asked for again next time, and what is being asked now is not remembered.
        """
        self._forgettings += 1
        if scope.kind == "api_key":
            # A key that was regenerated is found by other digests than its own, too.
            self._keys.forget(scope.id)
            self._keys.forget_where(lambda key: key.digest == scope.id)
            self._asking.clear()
        elif scope.kind == "end_user":
            self._end_users.forget(scope.id)
        elif scope.kind == "tag":
            self._tags.forget(scope.id)
        else:
            self._forget_owner(scope)

    def forget_all(self) -> None:
        """Anything may have changed."""
        self._forgettings += 1
        self._asking.clear()
        for rooms in (self._keys, self._end_users, self._tags):
            rooms.clear()

    def __len__(self) -> int:
        return len(self._keys) + len(self._end_users) + len(self._tags)

    def _forget_owner(self, scope: Scope) -> None:
        self._asking.clear()
        self._keys.forget_where(lambda key: scope.id == _owner(key, scope.kind))
        if scope.kind == "budget":
            self._end_users.forget_where(lambda end_user: end_user.budget_id == scope.id)
            self._tags.forget_where(lambda tag: tag.budget_id == scope.id)

    def _question(self, digest: str) -> asyncio.Task[Key | None]:
        """The question for this key that is on its way, or a new one."""
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._ask(digest))
            # Nobody may be left who waits for it, and a failure that nobody sees is complained of.
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return asking

    async def _ask(self, digest: str) -> Key | None:
        task, asked_at = asyncio.current_task(), self._now()
        try:
            key = await self._inner.find(digest)
        except StoreUnavailable:
            self._down = True
            raise
        else:
            self._down = False
            if self._asking.get(digest) is task:
                self._keys.remember(digest, key, asked_at)
            return key
        finally:
            if self._asking.get(digest) is task:
                del self._asking[digest]

    async def _ask_for_tags(self, names: Sequence[str]) -> dict[str, tuple[bool, Tag | None]]:
        forgettings, asked_at = self._forgettings, self._now()
        try:
            found = {tag.name: tag for tag in await self._inner.find_tags(names)}
        except StoreUnavailable:
            remembered = {name: self._tags.find(name) for name in names}
            if not all(known for known, _ in remembered.values()):
                raise
            return remembered
        if forgettings == self._forgettings:
            for name in names:
                self._tags.remember(name, found.get(name), asked_at)
        return {name: (True, found.get(name)) for name in names}


def _owner(key: Key, kind: str) -> str | None:
    """The id of whom the key belongs to, as a scope of this kind names them."""
    owners = {
        "team": key.team_id,
        "user": key.user_id,
        "team_member": f"{key.user_id}:{key.team_id}",
        "budget": key.budget_id,
    }
    return owners.get(kind)


def _put(room: OrderedDict[str, T], name: str, entry: T, size: int) -> None:
    room[name] = entry
    room.move_to_end(name)
    while len(room) > size:
        room.popitem(last=False)
