"""What counters start from: the ledger's own sums, for every kind of scope, measure and span."""

from __future__ import annotations

import pytest
from stores.samples import NOW, receipt

from extproc.holds import ROLLING_MS, Limit, Measure, Scope, Span
from extproc.model import EndUser, Key, Membership, Receipt, Tag, Team, Usage, User

#: Every kind of scope, and the one that the receipts of `booked` count for.
SCOPES = {
    "api_key": "d", "team": "t", "user": "u:v", "team_member": "u:v:t", "end_user": "e", "model": "m:1",
    "model_per_key": "d:m:1", "model_per_team": "t:m:1", "tag": "x", "global": "",
}  # fmt: skip
MINUTE = ROLLING_MS


def limit(kind: str, measure: Measure, span: Span, scope_id: str | None = None, **fields: int | None) -> Limit:
    scope = Scope(kind, SCOPES[kind] if scope_id is None else scope_id)
    return Limit(scope, measure, span, maximum=1, **fields)  # type: ignore[arg-type]


def mine(started_at: int, ended_at: int, spend: int | None = 5) -> Receipt:
    return receipt(
        key_digest="d", team_id="t", user_id="u:v", end_user="e", model_group="m:1", tags=("x", "z", "x"),
        started_at=started_at, ended_at=ended_at, spend=spend, usage=Usage(input_tokens=10, output_tokens=3),
    )  # fmt: skip


def of_others() -> list[Receipt]:
    """One receipt that differs in each name from those of `mine`."""
    shared = {"started_at": NOW, "ended_at": NOW, "spend": 1_000}
    return [
        receipt(key_digest="o", team_id="o", user_id="o", end_user="o", model_group="m", tags=("y",), **shared),
        receipt(key_digest="d", model_group="other", **shared),
        receipt(team_id="t", user_id="w", model_group="other", **shared),
        receipt(team_id="s", user_id="u:v", model_group="other", **shared),
        receipt(**shared),
    ]  # fmt: skip


@pytest.fixture
async def booked(store):
    await store.record([mine(NOW, NOW + 10), mine(NOW + 5, NOW + 10), mine(NOW - MINUTE, NOW + 1)], now=NOW)
    return store


@pytest.mark.parametrize("kind", [kind for kind in SCOPES if kind != "global"])
async def test_a_scope_sums_up_its_own_rows_only(booked, kind):
    await booked.record(of_others(), now=NOW)
    expected = {
        "api_key": 1_010, "team": 1_010, "user": 1_010
    }.get(kind, 10)  # fmt: skip

    asked = limit(kind, Measure.SPEND, Span.WINDOW, since=NOW, until=NOW + MINUTE)
    assert await booked.settled(asked, NOW + MINUTE) == ((NOW, expected),)


@pytest.mark.parametrize("kind", SCOPES)
class TestEveryKind:
    async def test_requests_of_the_last_minute_by_when_they_started(self, booked, kind):
        asked = limit(kind, Measure.REQUESTS, Span.ROLLING)

        assert [*await booked.settled(asked, NOW + 5)] == [(NOW, 1), (NOW + 5, 1)]
        assert [*await booked.settled(asked, NOW + MINUTE - 1)] == [(NOW, 1), (NOW + 5, 1)]
        assert [*await booked.settled(asked, NOW + MINUTE)] == [(NOW + 5, 1)]
        assert [*await booked.settled(asked, NOW - 1)] == [(NOW - MINUTE, 1), (NOW, 1), (NOW + 5, 1)]

    async def test_tokens_of_the_last_minute_by_when_they_ended(self, booked, kind):
        asked = limit(kind, Measure.TOKENS, Span.ROLLING)

        assert [*await booked.settled(asked, NOW + 5)] == [(NOW + 1, 13), (NOW + 10, 26)]
        assert [*await booked.settled(asked, NOW + MINUTE + 1)] == [(NOW + 10, 26)]

    async def test_a_window_is_one_sum_of_what_started_in_it(self, booked, kind):
        for measure, each in [(Measure.SPEND, 5), (Measure.TOKENS, 13), (Measure.REQUESTS, 1)]:
            for since, until, count in [(NOW - MINUTE, NOW, 1), (NOW, NOW + 5, 1), (NOW, NOW + 6, 2), (NOW, None, 2)]:
                asked = limit(kind, measure, Span.WINDOW, since=since, until=until)
                assert [*await booked.settled(asked, NOW + 10)] == [(since, count * each)]

    async def test_an_empty_window_is_nothing_and_a_gauge_has_no_settled_part(self, booked, kind):
        empty = limit(kind, Measure.SPEND, Span.WINDOW, since=NOW + 100, until=NOW + 200)

        assert [*await booked.settled(empty, NOW + 150)] == [(NOW + 100, 0)]
        assert [*await booked.settled(limit(kind, Measure.PARALLEL, Span.GAUGE), NOW)] == []

    async def test_without_an_owners_row_an_endless_window_is_the_ledgers_sum(self, booked, kind):
        asked = limit(kind, Measure.SPEND, Span.WINDOW)

        assert [amount for _, amount in await booked.settled(asked, NOW)] == [15]


@pytest.mark.parametrize("kind", ["api_key", "team", "user", "team_member", "end_user", "tag"])
async def test_an_endless_budget_starts_from_the_spend_that_was_set(booked, kind):
    await booked.create(Key(digest="d", name="", spend=77))
    await booked.teams.create(Team(id="t", spend=77))
    await booked.users.create(User(id="u:v", spend=77))
    await booked.members.add([Membership(user_id="u:v", team_id="t", spend=77)])
    await booked.end_users.create(EndUser(id="e", spend=77))
    await booked.tags.create(Tag(name="x", spend=77))

    spend = limit(kind, Measure.SPEND, Span.WINDOW)
    assert [*await booked.settled(spend, NOW)] == [(NOW, 77)]
    # Only money stands there, and only for ever.
    tokens, since = limit(kind, Measure.TOKENS, Span.WINDOW), limit(kind, Measure.SPEND, Span.WINDOW, since=1)
    assert [amount for _, amount in await booked.settled(tokens, NOW)] == [39]
    assert [amount for _, amount in await booked.settled(since, NOW)] == [15]

    new = mine(NOW, NOW)
    await booked.record([new], now=NOW)
    assert [*await booked.settled(spend, NOW)] == [(NOW, 82)]
    assert [*await booked.settled(spend, NOW, {new.event_id, "unknown"})] == [(NOW, 77)]


@pytest.mark.parametrize("kind", SCOPES)
async def test_what_is_left_out_is_in_no_sum(booked, kind):
    new = mine(NOW, NOW)
    last_minute = limit(kind, Measure.REQUESTS, Span.ROLLING), limit(kind, Measure.TOKENS, Span.ROLLING)
    window, endless = (limit(kind, Measure.SPEND, Span.WINDOW, since=since) for since in (NOW, 0))
    asked = (*last_minute, window, endless)
    before = [[*await booked.settled(each, NOW + 5)] for each in asked]
    await booked.record([new], now=NOW)

    assert [[*await booked.settled(each, NOW + 5)] for each in asked] != before
    assert [[*await booked.settled(each, NOW + 5, {new.event_id, "unknown"})] for each in asked] == before


async def test_more_may_be_left_out_than_a_statement_has_parameters(booked):
    new = mine(NOW, NOW)
    await booked.record([new], now=NOW)
    window = limit("global", Measure.SPEND, Span.WINDOW, since=NOW)

    assert [*await booked.settled(window, NOW, {new.event_id, *map(str, range(50_000))})] == [(NOW, 10)]


async def test_unpriced_exchanges_cost_nothing(store):
    await store.record([mine(NOW, NOW, spend=None)], now=NOW)

    assert [*await store.settled(limit("api_key", Measure.SPEND, Span.WINDOW, since=1), NOW)] == [(1, 0)]


async def test_a_kind_of_scope_that_no_column_names_is_a_mistake(store):
    with pytest.raises(ValueError, match="organization"):
        await store.settled(limit("organization", Measure.SPEND, Span.WINDOW, "o"), NOW)


async def test_a_window_goes_on_from_where_its_spend_was_set(store):
    await store.create(Key(digest="d", name="k", spend_set_at=NOW + 1, spend_set_to=100))
    await store.record([mine(NOW, NOW + 10), mine(NOW + 1, NOW + 10), mine(NOW - MINUTE, NOW + 1)], now=NOW)

    async def sums(since: int, until: int, measure: Measure = Measure.SPEND) -> int:
        asked = limit("api_key", measure, Span.WINDOW, since=since, until=until)
        return sum(amount for _, amount in await store.settled(asked, NOW))

    assert await sums(NOW, NOW + MINUTE) == 105
    assert await sums(NOW - MINUTE, NOW + 1) == 10
    assert await sums(NOW + 2, NOW + MINUTE) == 0
    assert await sums(NOW, NOW + MINUTE, Measure.TOKENS) == 26
