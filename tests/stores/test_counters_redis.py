"""What only a shared store must do: nothing leaks, nobody waits long, outages have one name, limits are shared."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
import uuid
from collections.abc import AsyncIterator

import pytest
from counting import DAY, KEY, TEAM, budget, places, rpm, tpm
from running_envoy import free_port
from running_redis import RunningRedis, running_redis

from extproc.errors import StoreUnavailable
from extproc.holds import Amounts, Ask, Booking, Full, Granted, Level, Limit
from extproc.stores.counters import REMEMBER_MS
from extproc.stores.counters_redis import MOST, RedisCounters

LIMITS = (budget(99), budget(99, TEAM, since=0, until=None), rpm(99), tpm(99), places(99))


@contextlib.asynccontextmanager
async def opened(server: RunningRedis, **options: object) -> AsyncIterator[RedisCounters]:
    store = RedisCounters(server.url, **{"namespace": uuid.uuid4().hex, "deadline_ms": 10_000, **options})  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(redis_server: RunningRedis) -> AsyncIterator[RedisCounters]:
    async with opened(redis_server) as one:
        yield one


@pytest.fixture
def own_server():
    """One that a test may break."""
    with running_redis() as server:
        yield server


async def seed(store: RedisCounters, *limits: Limit) -> None:
    for limit in limits:
        await store.begin_seed(limit, "token")
        await store.finish_seed(limit, "token", [(0, 0)])


async def live(store: RedisCounters) -> None:
    """One exchange that is booked, one that is settled, one that is open, and steps of several moments."""
    await seed(store, *LIMITS)
    now = int(time.time()) * 1000
    for number, event in enumerate(("booked", "settled", "open")):
        await store.reserve(Ask(event, LIMITS, Amounts(3, 3), b"draft"), now + 200 * number)
    for number, event in enumerate(("booked", "settled")):
        await store.settle(event, Amounts(2, 2), now + 600 + 200 * number)
    await store.booked([Booking("booked", Amounts(2, 2), (KEY, TEAM), new=True)])


async def three_steps(store: RedisCounters) -> int:
    """Five tokens in each of three seconds; the first moment of them."""
    now = int(time.time()) * 1000
    await seed(store, tpm(99))
    for number in range(3):
        await store.reserve(Ask(str(number), (tpm(99),), Amounts()), now + 1_000 * number)
        await store.settle(str(number), Amounts(5), now + 1_000 * number)
    return now


class TestKeys:
    async def test_every_key_expires(self, redis_server):
        async with opened(redis_server, namespace="expiring") as store:
            await live(store)

        keys = {key.decode(): redis_server.client.pttl(key) for key in redis_server.client.keys("{expiring}*")}

        hour = 3_600_000
        assert all(0 < expiry <= 37 * DAY for expiry in keys.values()), keys
        assert 0 < keys["{expiring}c:" + rpm(9).counter] <= hour
        assert 0 < keys["{expiring}r:" + rpm(9).counter] <= hour
        assert 0 < keys["{expiring}c:" + places(9).counter] <= hour
        assert DAY < keys["{expiring}c:" + LIMITS[0].counter] <= 2 * DAY
        assert 34 * DAY < keys["{expiring}c:" + LIMITS[1].counter] <= 35 * DAY
        assert 0 < keys["{expiring}x:booked"] <= REMEMBER_MS
        assert keys["{expiring}x:open"] > 34 * DAY
        assert keys["{expiring}d:settled"] > 34 * DAY

    async def test_the_list_of_who_is_on_a_counter_expires_when_it_is_made_again(self, redis_server):
        who = "{relisting}u:" + LIMITS[1].counter
        async with opened(redis_server, namespace="relisting") as store:
            await live(store)
            await store.booked([Booking(name, Amounts(2, 2), (), new=True) for name in ("settled", "open")])
            assert not redis_server.client.exists(who)

            await store.reserve(Ask("next", LIMITS, Amounts()))

        assert redis_server.client.pttl(who) > 34 * DAY

    async def test_what_is_in_use_does_not_expire(self, redis_server):
        who, listed = "{lasting}u:" + LIMITS[1].counter, "{lasting}s:team:team"
        async with opened(redis_server, namespace="lasting") as store:
            await live(store)
            for key in (who, listed):
                redis_server.client.pexpire(key, 60_000)

            await store.reserve(Ask("next", LIMITS[1:2], Amounts()), int(time.time()) * 1000 + 2 * DAY)

        assert redis_server.client.pttl(who) > 34 * DAY
        assert redis_server.client.pttl(listed) > 34 * DAY

    async def test_all_keys_share_one_hash_tag(self, own_server):
        async with opened(own_server, namespace="one-tag") as store:
            await live(store)
            await store.orphans(9)
            await store.unseed(KEY)

        keys = own_server.client.keys()

        assert len(keys) > 9
        assert all(key.startswith(b"{one-tag}") for key in keys)

    async def test_nothing_is_left_of_a_booked_exchange_but_that_it_was(self, redis_server):
        async with opened(redis_server, namespace="leaving") as store:
            await live(store)

        assert redis_server.client.get("{leaving}x:booked") == b"booked"
        assert redis_server.client.get("{leaving}d:booked") is None
        assert redis_server.client.zrange("{leaving}leases", 0, -1) == [b"open", b"settled"]
        assert redis_server.client.smembers("{leaving}u:" + tpm(99).counter) == {b"open", b"settled"}

    async def test_windows_that_have_ended_are_taken_out_of_the_list_of_their_scope(self, redis_server):
        now = int(time.time()) * 1000
        windows = [budget(9, since=now + end - DAY, until=now + end) for end in (-DAY, -60_000, DAY)]
        redis_server.client.zadd("{ending}s:api_key:digest", {"a window that has ended": now - 1})
        async with opened(redis_server, namespace="ending") as store:
            for window in windows:
                await store.begin_seed(window, "token")
            listed = redis_server.client.zrange("{ending}s:api_key:digest", 0, -1)

        assert listed == [window.counter.encode() for window in windows[1:]]

    async def test_namespaces_do_not_know_each_other(self, redis_server):
        async with opened(redis_server) as one, opened(redis_server) as other:
            await one.reserve(Ask("event", (places(1),), Amounts()))

            assert await other.levels([places(1)]) == [Level(0, 0)]

    @pytest.mark.parametrize("namespace", ["", "a{b", "a}b"])
    def test_a_namespace_must_be_a_hash_tag(self, namespace):
        with pytest.raises(ValueError, match="hash tag"):
            RedisCounters("redis://localhost", namespace=namespace)

    async def test_steps_that_were_thrown_out_make_their_counter_unseeded(self, redis_server):
        async with opened(redis_server, namespace="evicting") as store:
            now = await three_steps(store)
            redis_server.client.delete("{evicting}r:" + tpm(99).counter)

            assert await store.levels([tpm(99)], now + 3_000) == [Level(15, 0)]
            assert await store.levels([tpm(99)], now + 60_500) == [None]

    async def test_steps_of_a_counter_that_was_thrown_out_do_not_come_back(self, redis_server):
        async with opened(redis_server, namespace="leftover") as store:
            now = await three_steps(store)
            redis_server.client.delete("{leftover}c:" + tpm(99).counter)
            await store.begin_seed(tpm(99), "other")
            await store.finish_seed(tpm(99), "other", [(now + 500, 1), (now + 2_500, 1), (now + 2_700, 1)], now + 3_000)

            assert await store.levels([tpm(99)], now + 60_600) == [Level(2, 0)]

    async def test_the_lease_of_an_exchange_that_was_thrown_out_ends(self, redis_server):
        async with opened(redis_server, namespace="gone") as store:
            await live(store)
            redis_server.client.delete("{gone}x:open", "{gone}x:settled")

            assert await store.orphans(9, int(time.time()) * 1000 + DAY) == []
            assert redis_server.client.zcard("{gone}leases") == 0
            await store.unseed(KEY)
            assert await store.begin_seed(tpm(99), "next") == frozenset()

    async def test_a_limit_above_what_lua_can_count_is_that(self, store):
        limit = budget(10**18)
        await store.begin_seed(limit, "token")
        await store.finish_seed(limit, "token", [(0, MOST - 1)])

        assert await store.reserve(Ask("some", (limit,), Amounts(0, 2))) == Full(0, Level(MOST - 1, 0), 2, limit.until)
        assert isinstance(await store.reserve(Ask("less", (limit,), Amounts(0, 1))), Granted)


class TestScripts:
    async def test_each_operation_is_one_round_trip(self, own_server):
        async with opened(own_server) as store:
            await live(store)
            own_server.client.config_resetstat()

            await store.reserve(Ask("event", LIMITS, Amounts(1, 1)))
            await store.extend("event", Amounts(1, 1))
            await store.renew([Ask("event", LIMITS, Amounts(2, 2))])
            await store.settle("event", Amounts(1, 1))
            await store.booked([Booking("event", Amounts(1, 1), (KEY, TEAM), new=True)])

        assert own_server.client.info("commandstats")["cmdstat_evalsha"]["calls"] == 5
        assert own_server.client.info("clients")["connected_clients"] <= 2

    async def test_scripts_that_redis_has_forgotten_are_sent_again(self, own_server):
        async with opened(own_server) as store:
            await seed(store, budget(9))
            own_server.client.script_flush()

            assert isinstance(await store.reserve(Ask("event", (budget(9),), Amounts(0, 4))), Granted)
            assert await store.levels([budget(9)]) == [Level(0, 4)]

    async def test_without_a_moment_redis_own_clock_counts(self, store, redis_server):
        await seed(store, rpm(1))
        await store.reserve(Ask("event", (rpm(1),), Amounts()))

        answer = await store.reserve(Ask("other", (rpm(1),), Amounts()))

        seconds, _ = redis_server.client.time()
        assert isinstance(answer, Full)
        assert (seconds + 50) * 1_000 < (answer.frees_at or 0) <= (seconds + 61) * 1_000

    async def test_on_a_cluster_the_node_that_has_the_counters_is_found(self):
        # The nodes talk to each other ten thousand ports above, and there must be such a port.
        ports = list(itertools.islice((port for port in iter(free_port, 0) if port <= 55_535), 2))
        options = [("--cluster-enabled", "yes", "--port", str(port)) for port in ports]
        with running_redis(*options[0]) as first, running_redis(*options[1]) as second:
            second.client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            first.client.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1])
            await asyncio.gather(_in_a_cluster(first), _in_a_cluster(second))
            async with contextlib.AsyncExitStack() as stack:
                store = RedisCounters(f"redis://127.0.0.1:{ports[0]}", deadline_ms=10_000)
                stack.push_async_callback(store.close)
                await live(store)
                await store.unseed(TEAM)

                assert await store.levels(LIMITS[:2]) == [Level(4, 3), None]
            assert first.client.dbsize() == 0


async def _in_a_cluster(server: RunningRedis) -> None:
    """Wait until it knows who has which slots; Redis takes two seconds for that."""
    async with asyncio.timeout(30):
        while b"cluster_state:ok" not in server.client.execute_command("CLUSTER", "INFO"):
            await asyncio.sleep(0.05)


class TestOutages:
    async def test_a_server_that_is_not_there_is_an_outage(self):
        store = RedisCounters("unix:///nowhere/redis.sock")

        with pytest.raises(StoreUnavailable, match=r"^counters: ConnectionError$"):
            await store.reserve(Ask("event", (), Amounts()))

    async def test_a_server_that_does_not_answer_is_an_outage_at_the_deadline(self, own_server):
        async with opened(own_server, deadline_ms=500) as store:
            await store.ping()
            own_server.pause()
            started = time.monotonic()

            with pytest.raises(StoreUnavailable, match=r"no answer within 0\.5 s"):
                await store.reserve(Ask("event", (), Amounts()))

            assert time.monotonic() - started < 20
            own_server.resume()

    async def test_what_was_asked_too_late_is_not_taken_for_the_next_answer(self, own_server):
        async with opened(own_server, deadline_ms=500, connections=1) as store:
            await store.ping()
            own_server.pause()
            with pytest.raises(StoreUnavailable):
                await store.levels([places(1)] * 3)
            own_server.resume()
            own_server.client.ping()

        async with opened(own_server) as store:
            assert await store.levels([places(1)]) == [Level(0, 0)]

    async def test_a_server_that_comes_back_empty_is_used_at_once(self, own_server):
        async with opened(own_server) as store:
            await live(store)
            own_server.kill()
            with pytest.raises(StoreUnavailable):
                await store.levels([places(9)])
            own_server.restart()

            assert await store.levels([places(9), budget(9)]) == [Level(0, 0), None]

    async def test_a_connection_that_the_server_has_closed_is_opened_again(self, own_server):
        async with opened(own_server) as store:
            await store.ping()
            own_server.client.client_kill_filter(_type="normal", skipme=True)
            own_server.client.ping()
            for _ in range(3):
                await asyncio.sleep(0)

            await store.ping()

    async def test_an_error_of_redis_is_an_outage_by_its_name(self, own_server):
        own_server.client.config_set("maxmemory", 1)
        async with opened(own_server) as store:
            with pytest.raises(StoreUnavailable, match=r"^counters: (OutOfMemoryError|ResponseError OOM)$"):
                await store.reserve(Ask("event", (places(1),), Amounts()))

    async def test_an_outage_quotes_nothing(self, redis_server):
        redis_server.client.set("{broken}x:secret", b"secret")
        async with opened(redis_server, namespace="broken") as store:
            with pytest.raises(StoreUnavailable) as outage:
                await store.settle("secret", Amounts())

        assert str(outage.value) == "counters: ResponseError"
        assert outage.value.__cause__ is None

    async def test_more_questions_than_connections_wait_their_turn(self, own_server):
        async with opened(own_server, connections=2) as store:
            asks = [Ask(str(number), (places(99),), Amounts()) for number in range(50)]

            answers = await asyncio.gather(*(store.reserve(ask) for ask in asks))

            assert all(isinstance(answer, Granted) for answer in answers)
            assert own_server.client.info("clients")["connected_clients"] <= 3

    async def test_a_caller_that_gives_up_leaves_the_connection_usable(self, own_server):
        async with opened(own_server, connections=1) as store:
            await store.ping()
            own_server.pause()
            asking = asyncio.create_task(store.levels([places(1)] * 3))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            own_server.resume()

            assert await store.levels([places(1)]) == [Level(0, 0)]

    async def test_a_closed_store_is_an_outage(self, redis_server):
        store = RedisCounters(redis_server.url)
        await store.ping()
        await store.close()

        with pytest.raises(StoreUnavailable, match=r"^counters: closed$"):
            await store.ping()


_ONE_OF_MANY = """
import asyncio, sys
from extproc.holds import Amounts, Ask, Granted, Limit, Measure, Scope, Span
from extproc.stores.counters_redis import RedisCounters

async def main(url, namespace, name):
    store = RedisCounters(url, namespace=namespace, deadline_ms=20_000)
    await store.ping()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    team = Scope("team", "team")
    limits = (
        Limit(team, Measure.REQUESTS, Span.ROLLING, 10),
        Limit(team, Measure.PARALLEL, Span.GAUGE, 10),
        Limit(team, Measure.SPEND, Span.WINDOW, 10),
    )
    asks = (Ask(f"{name}-{number}", limits, Amounts(0, 1)) for number in range(10))
    answers = await asyncio.gather(*(store.reserve(ask) for ask in asks))
    print(sum(isinstance(answer, Granted) for answer in answers), flush=True)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_of_thirty_at_once_in_three_processes_ten_pass_a_limit_of_ten(redis_server):
    namespace = uuid.uuid4().hex
    async with opened(redis_server, namespace=namespace) as store:
        await seed(store, rpm(10, TEAM), budget(10, TEAM, since=0, until=None))
    command = (sys.executable, "-c", _ONE_OF_MANY, redis_server.url, namespace)
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, name, stdin=pipe, stdout=pipe) for name in "abc"]
    for process in processes:
        assert await process.stdout.readline() == b"ready\n"

    told = await asyncio.gather(*(process.communicate(b"\n") for process in processes))

    assert sum(int(output) for output, _ in told) == 10
