"""The master key sets what every key and team has spent to 0, and no more than that."""

from __future__ import annotations

from management.asking import error, get, post
from management.conftest import NOW

from extproc.holds import Limit, Measure, Scope, Span
from extproc.stores.contract import AuditFilter

DOLLAR = 10**9


async def spending(gateway, admin):
    """A key with a budget of a month, in a team with one, that spent a dollar; another key that spent nothing."""
    await post(admin, "/team/new", team_id="t", max_budget=5, budget_duration="30d")
    key = await gateway.generate(team_id="t", max_budget=5, budget_duration="30d")
    await gateway.generate()
    await gateway.book(key["token"], team_id="t", spend=DOLLAR)
    gateway.now = NOW + 60_000
    return key["token"]


async def test_keys_and_teams_begin_anew_in_the_window_of_now(gateway, admin):
    token = await spending(gateway, admin)
    assert (await get(admin, "/team/info", team_id="t"))["team_info"]["spend"] == 1

    told = await post(admin, "/global/spend/reset")

    assert told["status"] == "success"
    assert (told["keys"], told["teams"]) == (2, 1)
    assert (await get(admin, "/team/info", team_id="t"))["team_info"]["spend"] == 0
    assert (await get(admin, "/key/info", key=token))["info"]["spend"] == 0
    assert {f"api_key {token}", "team t"} <= {*gateway.unseeded} & {*gateway.forgotten}


async def test_what_is_spent_afterwards_counts(gateway, admin):
    token = await spending(gateway, admin)
    await post(admin, "/global/spend/reset")
    await gateway.book(token, "later", team_id="t", spend=2 * DOLLAR, started_at=NOW + 60_001)

    assert (await get(admin, "/team/info", team_id="t"))["team_info"]["spend"] == 2
    for kind, name in (("team", "t"), ("api_key", token)):
        endless = Limit(Scope(kind, name), Measure.SPEND, Span.WINDOW, 1)
        assert [*await gateway.store.settled(endless, gateway.now)] == [(gateway.now, 2 * DOLLAR)]


async def test_the_ledger_and_the_sums_by_day_stay(gateway, admin):
    token = await spending(gateway, admin)
    await post(admin, "/global/spend/reset")

    assert (await get(admin, "/global/spend"))["spend"] == 1
    [first, *_] = await get(admin, "/spend/keys")
    assert (first["token"], first["spend"], first["total_spend"]) == (token, 0, 1)


async def test_each_reset_is_an_entry_of_the_audit_trail(gateway, admin):
    token = await spending(gateway, admin)
    await post(admin, "/global/spend/reset")

    page = await gateway.store.trail.list(AuditFilter(action="updated"), page=1, size=10, descending=True)
    assert {entry.object_id for entry in page.rows} >= {token, "t"}


async def test_a_proxy_admin_without_the_master_key_is_refused(gateway, admin):
    token = await spending(gateway, admin)
    await post(admin, "/user/new", user_id="boss", user_role="proxy_admin", auto_create_key=False)
    boss = await gateway.generate(user_id="boss")

    async with gateway.caller(boss["key"]) as caller:
        error(await caller.post("/global/spend/reset"), 403, type="auth_error")

    assert (await get(admin, "/key/info", key=token))["info"]["spend"] == 1


async def test_counters_that_cannot_be_told_do_not_stop_it(gateway, admin):
    await spending(gateway, admin)
    gateway.counters_down = True

    assert (await post(admin, "/global/spend/reset"))["teams"] == 1
    assert (await get(admin, "/team/info", team_id="t"))["team_info"]["spend"] == 0
