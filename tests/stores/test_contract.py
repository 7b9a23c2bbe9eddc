"""What every store of keys and receipts must do, whatever it is made of."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores.samples import NOW, fresh, key, receipt

from extproc.errors import AlreadyExists
from extproc.model import MASTER_KEY_DIGEST, Key, Receipt, Role, Usage
from extproc.stores.contract import KeyFilter, SpendFilter

DAY = 86_400_000

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


FULL = key(
    alias="frontend", role=Role.PROXY_ADMIN, models=("gpt-4o", "openai/*"), blocked=True, expires_at=NOW + 1,
    user_id="u", team_id="t", organization_id="o", spend=5, max_budget=10**18, soft_budget=0, budget_duration="30d",
    budget_reset_at=NOW + 2, max_parallel_requests=0, rpm_limit=1, tpm_limit=2**53, tpd_limit=3,
    metadata={"a": [1, None, {"ü": "\u0000 \U0001f600"}]}, fields={"aliases": {"x": "y"}, "tags": ["t"], "big": 10**30},
    created_by="admin", updated_by="admin", last_active=NOW,
)  # fmt: skip


class TestKeys:
    @pytest.mark.parametrize("stored", [FULL, key()], ids=["full", "plain"])
    async def test_a_key_comes_back_as_it_was_stored(self, store, stored):
        assert await store.create(stored) == stored
        assert await store.find(stored.digest) == stored

    async def test_an_unknown_digest_is_none(self, store):
        assert await store.find("unknown") is None
        assert await store.find_by_alias("unknown") is None

    async def test_a_key_is_found_by_its_alias(self, store):
        stored = await store.create(key(alias="frontend"))

        assert await store.find_by_alias("frontend") == stored

    async def test_a_taken_digest_is_refused(self, store):
        stored = await store.create(key())

        with pytest.raises(AlreadyExists) as refused:
            await store.create(key(digest=stored.digest))
        assert refused.value.field == "key"

    async def test_a_taken_alias_is_refused_and_nothing_is_stored(self, store):
        await store.create(key(alias="taken"))
        second = key(alias="taken")

        with pytest.raises(AlreadyExists) as refused:
            await store.create(second)
        assert (refused.value.field, refused.value.value) == ("key_alias", "taken")
        assert await store.find(second.digest) is None

    async def test_many_keys_have_no_alias(self, store):
        await store.create(key())
        await store.create(key())

    async def test_an_update_sets_what_it_names_and_nothing_else(self, store):
        stored = await store.create(msgspec.structs.replace(FULL, digest=fresh("digest")))

        changed = await store.update(stored.digest, {"models": ("a",), "max_budget": None, "blocked": False})

        assert changed == msgspec.structs.replace(stored, models=("a",), max_budget=None, blocked=False)
        assert await store.find(stored.digest) == changed

    async def test_further_fields_are_merged_by_name_and_taken_away_by_none(self, store):
        stored = await store.create(key(fields={"tags": ["a"], "aliases": {"x": "y"}}))

        changed = await store.update(stored.digest, {"fields": {"tags": None, "guardrails": ["g"]}})

        assert changed is not None
        assert changed.fields == {"aliases": {"x": "y"}, "guardrails": ["g"]}

    async def test_updates_of_different_fields_at_the_same_time_are_all_kept(self, store):
        stored = await store.create(key())

        await asyncio.gather(*(store.update(stored.digest, {"fields": {f"f{n}": n}}) for n in range(20)))

        changed = await store.find(stored.digest)
        assert changed.fields == {f"f{n}": n for n in range(20)}

    async def test_updating_an_unknown_key_is_none(self, store):
        assert await store.update("unknown", {"blocked": True, "fields": {"a": 1}}) is None

    async def test_an_alias_cannot_be_taken_from_another_key(self, store):
        await store.create(key(alias="taken"))
        stored = await store.create(key())

        with pytest.raises(AlreadyExists) as refused:
            await store.update(stored.digest, {"alias": "taken"})
        assert refused.value.field == "key_alias"

    @pytest.mark.parametrize("field", ["digest", "role", "token"])
    async def test_what_identifies_a_key_cannot_be_changed(self, store, field):
        with pytest.raises(ValueError, match=field):
            await store.update("digest", {field: "x"})

    async def test_deleted_keys_are_gone_and_their_names_free(self, store):
        stored = await store.create(key(alias="frontend"))

        assert await store.delete([stored.digest, stored.digest], deleted_by="admin", now=NOW) == (stored.digest,)
        assert await store.find(stored.digest) is None
        assert await store.create(stored) == stored
        assert await store.delete([stored.digest], deleted_by="admin", now=NOW) == (stored.digest,)

    async def test_either_all_are_deleted_or_none(self, store):
        stored = await store.create(key())

        assert await store.delete([stored.digest, "unknown"], deleted_by="admin", now=NOW) == ()
        assert await store.find(stored.digest) == stored

    async def test_of_two_that_delete_the_same_key_one_succeeds(self, store):
        stored = await store.create(key())

        results = await asyncio.gather(*(store.delete([stored.digest], deleted_by="admin", now=NOW) for _ in range(5)))

        assert sorted(map(len, results)) == [0, 0, 0, 0, 1]

    async def test_of_two_that_create_the_same_alias_one_succeeds(self, store):
        results = await asyncio.gather(*(store.create(key(alias="one")) for _ in range(5)), return_exceptions=True)

        assert sum(isinstance(result, AlreadyExists) for result in results) == 4


class TestListing:
    @pytest.fixture
    async def five(self, store) -> list[Key]:
        rows = [
            key(digest=f"d{n}", alias=alias, user_id=user, team_id="t", created_at=NOW + n, max_budget=budget)
            for n, (alias, user, budget) in enumerate(
                [("Front-a", "u", 3), ("front_b", "u", None), ("back%c", "v", 1), (None, "v", None), ("d", None, 2)]
            )
        ]
        return [await store.create(row) for row in rows]

    async def shown(self, store, wanted, **kwargs) -> tuple[list[str], int]:
        options = {"page": 1, "size": 10, "sort_by": "created_at", "descending": False, **kwargs}
        page = await store.list(wanted, **options)
        return [row.digest for row in page.keys], page.total

    async def test_pages_follow_each_other_and_know_the_whole(self, store, five):
        assert await self.shown(store, KeyFilter(), size=2) == (["d0", "d1"], 5)
        assert await self.shown(store, KeyFilter(), size=2, page=3) == (["d4"], 5)
        assert await self.shown(store, KeyFilter(), size=2, page=4) == ([], 5)

    @pytest.mark.parametrize(
        ("wanted", "digests"),
        [
            (KeyFilter(user_id="u"), ["d0", "d1"]),
            (KeyFilter(user_id="v", team_id="t", alias="back%c"), ["d2"]),
            (KeyFilter(digest="d4"), ["d4"]),
            (KeyFilter(organization_id="o"), []),
            (KeyFilter(search="front"), ["d0", "d1"]),
            (KeyFilter(search="%"), ["d2"]),
            (KeyFilter(search="t_b"), ["d1"]),
        ],
    )
    async def test_every_given_field_must_match(self, store, five, wanted, digests):
        assert await self.shown(store, wanted) == (digests, len(digests))

    async def test_keys_without_the_value_come_last_in_both_directions(self, store, five):
        assert (await self.shown(store, KeyFilter(), sort_by="max_budget"))[0] == ["d2", "d4", "d0", "d1", "d3"]
        descending = await self.shown(store, KeyFilter(), sort_by="max_budget", descending=True)
        assert descending[0] == ["d0", "d4", "d2", "d1", "d3"]


class TestBooking:
    async def test_a_receipt_comes_back_as_it_was_booked(self, store):
        full = receipt(
            provider_response_id="chatcmpl-1", first_byte_at=NOW + 1, key_alias="a", user_id="u", team_id="t",
            organization_id="o", end_user="e", requester_ip="::1", user_agent="curl", tags=("x", "ü"), stream=True,
            metadata={"m": [1, {"\u0000": None}]}, estimated=True, cut=True, spend=None, usage=Usage(
                input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4, reasoning_tokens=5,
                input_audio_tokens=6, output_audio_tokens=7),
        )  # fmt: skip
        assert len(await store.record([full], now=NOW + 9)) == 1

        [row] = await store.rows(SpendFilter(request_id=full.event_id), limit=5)
        assert (row.receipt, row.booked_at) == (full, NOW + 9)

    async def test_nothing_to_book_is_nothing_booked(self, store):
        assert len(await store.record([], now=NOW)) == 0

    async def test_the_first_of_two_receipts_with_one_event_id_counts(self, store):
        stored = await store.create(key())
        first = receipt(key_digest=stored.digest, spend=1)
        again = msgspec.structs.replace(first, spend=100)

        assert len(await store.record([first, again], now=NOW)) == 1
        assert len(await store.record([again], now=NOW)) == 0
        assert (await store.find(stored.digest)).spend == 1

    async def test_booking_adds_spend_and_tells_when_the_key_was_last_used(self, store):
        stored = await store.create(key(spend=100))
        late, early = (receipt(key_digest=stored.digest, ended_at=NOW + n, spend=n) for n in (50, 20))

        await store.record([late], now=NOW)
        await store.record([early], now=NOW)

        assert await store.find(stored.digest) == msgspec.structs.replace(stored, spend=170, last_active=NOW + 50)

    async def test_an_unpriced_receipt_costs_nothing_and_stays_unpriced(self, store):
        stored = await store.create(key())
        await store.record([receipt(key_digest=stored.digest, spend=None)], now=NOW)

        [row] = await store.rows(SpendFilter(key_digest=stored.digest), limit=5)
        assert row.receipt.spend is None
        assert (await store.find(stored.digest)).spend == 0

    async def test_the_master_key_and_deleted_keys_are_booked_too(self, store):
        await store.record([receipt(key_digest=MASTER_KEY_DIGEST), receipt(key_digest="deleted")], now=NOW)

        assert len(await store.rows(SpendFilter(), limit=5)) == 2

    async def test_a_thousand_receipts_are_one_booking(self, store):
        stored = await store.create(key())
        batch = [receipt(key_digest=stored.digest, spend=1) for _ in range(1_000)]

        assert len(await store.record(batch, now=NOW)) == 1_000
        assert len(await store.record([*batch, receipt(key_digest=stored.digest, spend=1)], now=NOW)) == 1
        assert (await store.find(stored.digest)).spend == 1_001

    async def test_nonsense_from_a_provider_does_not_stop_the_batch(self, store):
        stored = await store.create(key())
        nonsense = receipt(
            key_digest=stored.digest, model="a\u0000b\ud800", spend=10**30, usage=Usage(input_tokens=2**70),
            metadata={"x": "\ud800\u0000"},
        )  # fmt: skip

        assert len(await store.record([nonsense, receipt(key_digest=stored.digest, spend=1)], now=NOW)) == 2
        [row] = await store.rows(SpendFilter(request_id=nonsense.event_id), limit=1)
        assert (row.receipt.model, row.receipt.usage.input_tokens) == ("a\ufffdb?", 2**53 - 1)
        assert (await store.find(stored.digest)).spend == 2**53

    async def test_spend_stops_at_what_a_column_holds(self, store):
        stored = await store.create(key(spend=2**63 - 10))

        await store.record([receipt(key_digest=stored.digest, spend=100)], now=NOW)

        assert (await store.find(stored.digest)).spend == 2**63 - 1

    @quick
    @given(
        batches=st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=8), min_size=1, max_size=6),
        prices=st.lists(st.one_of(st.none(), st.integers(0, 10**12)), min_size=10, max_size=10),
        at_once=st.booleans(),
    )
    async def test_any_sequence_of_bookings_with_repeats_sums_up_as_if_each_came_once(
        self, store, batches, prices, at_once
    ):
        stored = [await store.create(key()) for _ in range(3)]
        run = fresh("run")

        def made(number: int, owner: int) -> Receipt:
            return receipt(
                event_id=f"{run}-{number}-{owner}", key_digest=stored[owner].digest, spend=prices[number], user_id=run
            )

        bookings = [store.record([made(*pair) for pair in batch], now=NOW) for batch in batches]
        new = await asyncio.gather(*bookings) if at_once else [await booking for booking in bookings]

        distinct = {pair for batch in batches for pair in batch}
        assert sum(map(len, new)) == len(distinct)
        for owner, row in enumerate(stored):
            expected = sum(prices[number] or 0 for number, whose in distinct if whose == owner)
            assert (await store.find(row.digest)).spend == expected
        days = await store.by_day(SpendFilter(user_id=run))
        assert sum(day.spend for day in days) == sum(prices[number] or 0 for number, _ in distinct)

    @quick
    @given(amounts=st.lists(st.integers(0, 10**9), min_size=1, max_size=12))
    async def test_bookings_and_updates_at_the_same_time_lose_nothing(self, store, amounts):
        stored = await store.create(key())
        bookings = [store.record([receipt(key_digest=stored.digest, spend=amount)], now=NOW) for amount in amounts]
        updates = [store.update(stored.digest, {"rpm_limit": n, "metadata": {"n": n}}) for n, _ in enumerate(amounts)]

        await asyncio.gather(*(call for pair in zip(bookings, updates, strict=True) for call in pair))

        changed = await store.find(stored.digest)
        assert changed.spend == sum(amounts)
        assert changed.metadata == {"n": changed.rpm_limit}

    async def test_spend_that_is_set_is_where_later_bookings_start(self, store):
        stored = await store.create(key())
        await store.record([receipt(key_digest=stored.digest, spend=5)], now=NOW)
        await store.update(stored.digest, {"spend": 0})
        await store.record([receipt(key_digest=stored.digest, spend=7)], now=NOW)

        assert (await store.find(stored.digest)).spend == 7
        [shown] = await store.by_key(limit=5)
        assert shown.spend == 12


class TestReading:
    @pytest.fixture
    async def four(self, store) -> list[Receipt]:
        rows = [
            receipt(
                event_id=f"e{n}", call_id=f"call-{n}", provider_response_id="same", key_digest=digest, user_id=user,
                model=model, started_at=NOW - NOW % DAY + moment, spend=spend,
            )
            for n, (digest, user, model, moment, spend) in enumerate(
                [
                    ("a", "u", "m", 0, 1),
                    ("a", None, "n", DAY - 1, 2),
                    ("b", "u", "m", DAY, 4),
                    ("b", "u", "m", DAY + 1, None),
                ]
            )
        ]  # fmt: skip
        await store.record(rows, now=NOW)
        return rows

    @pytest.mark.parametrize(
        ("wanted", "events"),
        [
            (SpendFilter(), ["e3", "e2", "e1", "e0"]),
            (SpendFilter(key_digest="a"), ["e1", "e0"]),
            (SpendFilter(user_id="u"), ["e3", "e2", "e0"]),
            (SpendFilter(request_id="same"), ["e3", "e2", "e1", "e0"]),
            (SpendFilter(request_id="call-2"), ["e2"]),
            (SpendFilter(request_id="e1", key_digest="a"), ["e1"]),
            (SpendFilter(request_id="e1", key_digest="b"), []),
            (SpendFilter(since=NOW - NOW % DAY + DAY - 1, before=NOW - NOW % DAY + DAY + 1), ["e2", "e1"]),
        ],
    )
    async def test_rows_are_chosen_and_the_newest_come_first(self, store, four, wanted, events):
        assert [row.receipt.event_id for row in await store.rows(wanted, limit=10)] == events

    async def test_rows_are_limited(self, store, four):
        assert [row.receipt.event_id for row in await store.rows(SpendFilter(), limit=2)] == ["e3", "e2"]

    async def test_days_are_utc_days_with_sums_by_key_user_and_model(self, store, four):
        first, second = await store.by_day(SpendFilter())

        assert (first.spend, first.keys, first.users, first.models) == (3, {"a": 3}, {"u": 1, "": 2}, {"m": 1, "n": 2})
        assert (second.spend, second.keys, second.users, second.models) == (4, {"b": 4}, {"u": 4}, {"m": 4})
        assert first.day < second.day

    async def test_keys_are_shown_with_what_was_booked_the_dearest_first(self, store, four):
        cheap, dear = key(digest="a"), key(digest="b")
        for row in (cheap, dear):
            await store.create(row)
        await store.record([receipt(key_digest="a", spend=1), receipt(key_digest="b", spend=9)], now=NOW)

        assert [(row.key.digest, row.spend) for row in await store.by_key(limit=10)] == [("b", 9), ("a", 1)]
        assert len(await store.by_key(limit=1)) == 1

    async def test_a_store_that_answers_can_be_pinged(self, store):
        await store.ping()
