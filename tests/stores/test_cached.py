"""A bounded cache that never shows what is no longer true."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from extproc.holds import Scope
from extproc.model import EndUser, Key, Tag, Team
from extproc.stores.cached import CachedKeys

TTL, SIZE = 1_000, 3


def key(digest: str, **fields) -> Key:
    return Key(digest=digest, name="sk-...", **fields)


class Keys:
    """A small real store whose answers can be held back."""

    def __init__(self, *digests: str) -> None:
        self.rows = {digest: key(digest) for digest in digests}
        self.end_users: dict[str, EndUser] = {}
        self.tags: dict[str, Tag] = {}
        self.asked = 0
        self.asked_names: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, digest: str) -> Key | None:
        self.asked += 1
        row = self.rows.get(digest)
        await self.gate.wait()
        return row

    async def find_end_user(self, end_user: str) -> EndUser | None:
        self.asked_names.append(end_user)
        row = self.end_users.get(end_user)
        await self.gate.wait()
        return row

    async def find_tags(self, names: Sequence[str]) -> tuple[Tag, ...]:
        self.asked_names += names
        rows = tuple(self.tags[name] for name in reversed(names) if name in self.tags)
        await self.gate.wait()
        return rows


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def test_a_known_key_is_asked_for_once(clock):
    inner = Keys("a")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)

    assert [await cached.find("a") for _ in range(3)] == [key("a")] * 3
    assert inner.asked == 1


async def test_an_unknown_digest_is_asked_for_once(clock):
    inner = Keys()
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)

    assert [await cached.find("a") for _ in range(3)] == [None] * 3
    assert inner.asked == 1


@pytest.mark.parametrize("digest", ["a", "unknown"])
async def test_an_answer_is_believed_for_its_time_only(clock, digest):
    inner = Keys("a")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    await cached.find(digest)
    clock.now = TTL

    await cached.find(digest)

    assert inner.asked == 2


async def test_a_flood_of_unknown_keys_neither_grows_nor_evicts(clock):
    inner = Keys("a")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    await cached.find("a")

    for number in range(1_000):
        await cached.find(f"unknown-{number}")

    assert len(cached) == SIZE + 1
    asked = inner.asked
    await cached.find("a")
    assert inner.asked == asked


async def test_a_forgotten_key_is_asked_for_again(clock):
    inner = Keys("a")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    await cached.find("a")
    inner.rows["a"] = key("a", blocked=True)
    cached.forget(Scope("api_key", "a"))

    assert (await cached.find("a")).blocked is True


async def test_everything_can_be_forgotten(clock):
    inner = Keys("a")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    await cached.find("a")
    cached.forget_all()

    await cached.find("a")

    assert inner.asked == 2


async def test_a_lookup_that_was_under_way_when_the_key_changed_is_not_remembered(clock):
    inner = Keys("a")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    inner.gate.clear()
    stale = asyncio.create_task(cached.find("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    inner.rows["a"] = key("a", blocked=True)
    cached.forget(Scope("api_key", "a"))
    inner.gate.set()
    await stale

    assert (await cached.find("a")).blocked is True


async def test_lookups_of_one_digest_share_one_question(clock):
    inner = Keys("a")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)

    answers = await asyncio.gather(*(cached.find("a") for _ in range(20)))

    assert answers == [key("a")] * 20
    assert inner.asked == 1


async def test_a_caller_that_hangs_up_does_not_cancel_the_others(clock):
    inner = Keys("a")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    inner.gate.clear()
    first, second = (asyncio.create_task(cached.find("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    inner.gate.set()

    assert await second == key("a")


async def test_a_failed_question_is_asked_again(clock):
    class Failing(Keys):
        async def find(self, digest):
            self.asked += 1
            if self.asked == 1:
                raise ConnectionError
            return self.rows.get(digest)

    cached = CachedKeys(Failing("a"), ttl_ms=TTL, size=SIZE, now=clock)
    with pytest.raises(ConnectionError):
        await cached.find("a")

    assert await cached.find("a") == key("a")


@pytest.mark.parametrize(
    "scope", [Scope("team", "t"), Scope("user", "u"), Scope("team_member", "u:t"), Scope("budget", "b")]
)
async def test_all_keys_of_somebody_who_changed_are_asked_for_again_and_no_others(clock, scope):
    inner = Keys()
    inner.rows = {
        "mine": key("mine", team_id="t", user_id="u", budget_id="b"),
        "other": key("other", team_id="t2", user_id="u2", budget_id="b2"),
        "free": key("free"),
    }
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    for digest in inner.rows:
        await cached.find(digest)
    inner.rows["mine"] = msgspec.structs.replace(inner.rows["mine"], team=Team(id="t", blocked=True))

    cached.forget(scope)

    assert (await cached.find("mine")).team.blocked is True
    await cached.find("other")
    await cached.find("free")
    assert inner.asked == 4


async def test_a_lookup_that_was_under_way_when_its_team_changed_is_not_remembered(clock):
    inner = Keys()
    inner.rows["a"] = key("a", team_id="t", team=Team(id="t"))
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    inner.gate.clear()
    stale = asyncio.create_task(cached.find("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    inner.rows["a"] = key("a", team_id="t", team=Team(id="t", blocked=True))
    cached.forget(Scope("team", "t"))
    inner.gate.set()
    await stale

    assert (await cached.find("a")).team.blocked is True


async def test_end_users_and_tags_are_asked_for_once_also_those_that_do_not_exist(clock):
    inner = Keys()
    inner.end_users["e"] = EndUser(id="e")
    inner.tags = {name: Tag(name=name) for name in ("t1", "t2")}
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)

    for _ in range(3):
        assert await cached.find_end_user("e") == EndUser(id="e")
        assert await cached.find_end_user("nobody") is None
        assert await cached.find_tags(["t2", "none", "t1", "t2"]) == (Tag(name="t2"), Tag(name="t1"))
        assert await cached.find_tags([]) == ()
    assert inner.asked_names == ["e", "nobody", "t2", "none", "t1"]


async def test_only_tags_that_are_not_remembered_are_asked_for(clock):
    inner = Keys()
    inner.tags = {name: Tag(name=name) for name in ("t1", "t2")}
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    await cached.find_tags(["t1"])

    assert await cached.find_tags(["t1", "t2"]) == (Tag(name="t1"), Tag(name="t2"))
    assert inner.asked_names == ["t1", "t2"]


@pytest.mark.parametrize("by", ["itself", "its budget"])
async def test_end_users_and_tags_that_changed_are_asked_for_again(clock, by):
    inner = Keys()
    inner.end_users["e"], inner.tags["t"] = EndUser(id="e", budget_id="b"), Tag(name="t", budget_id="b")
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    await cached.find_end_user("e")
    await cached.find_tags(["t"])
    inner.end_users["e"], inner.tags["t"] = EndUser(id="e", blocked=True), Tag(name="t", spend=1)

    for scope in [Scope("budget", "b")] if by == "its budget" else [Scope("end_user", "e"), Scope("tag", "t")]:
        cached.forget(scope)

    assert (await cached.find_end_user("e")).blocked is True
    assert (await cached.find_tags(["t"]))[0].spend == 1


async def test_a_lookup_of_an_end_user_or_a_tag_that_was_under_way_when_it_changed_is_not_remembered(clock):
    inner = Keys()
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)
    inner.gate.clear()
    stale = [asyncio.create_task(cached.find_end_user("e")), asyncio.create_task(cached.find_tags(["t"]))]
    await asyncio.sleep(0)
    inner.end_users["e"], inner.tags["t"] = EndUser(id="e", blocked=True), Tag(name="t")
    cached.forget(Scope("end_user", "e"))
    inner.gate.set()
    await asyncio.gather(*stale)

    assert (await cached.find_end_user("e")).blocked is True
    assert await cached.find_tags(["t"]) == (Tag(name="t"),)


async def test_a_flood_of_unknown_end_users_and_tags_does_not_grow(clock):
    inner = Keys()
    cached = CachedKeys(inner, ttl_ms=TTL, size=SIZE, now=clock)

    for number in range(100):
        await cached.find_end_user(f"e{number}")
        await cached.find_tags([f"t{number}", f"u{number}"])

    assert len(cached) == 2 * SIZE


class Cache(RuleBasedStateMachine):
    """Whatever happens in whatever order: changed keys are seen, and the cache stays bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.inner = Keys()
        self.cached = CachedKeys(self.inner, ttl_ms=TTL, size=SIZE, now=self.clock)

    digests = st.sampled_from("abcdefgh")

    @rule(digest=digests, blocked=st.booleans())
    def change(self, digest, blocked):
        self.inner.rows[digest] = key(digest, blocked=blocked)
        self.cached.forget(Scope("api_key", digest))

    @rule(digest=digests)
    def delete(self, digest):
        self.inner.rows.pop(digest, None)
        self.cached.forget(Scope("api_key", digest))

    @rule(milliseconds=st.integers(0, 2 * TTL))
    def wait(self, milliseconds):
        self.clock.now += milliseconds

    @rule(digest=digests)
    def find(self, digest):
        assert self.loop.run_until_complete(self.cached.find(digest)) == self.inner.rows.get(digest)

    @invariant()
    def bounded(self):
        assert len(self.cached) <= 2 * SIZE

    def teardown(self):
        self.loop.close()


Cache.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
test_the_cache_never_lies = Cache.TestCase
