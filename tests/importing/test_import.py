"""An import from LiteLLM's database into ours, on both kinds of database."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from importing.conftest import KEY, NOW
from importing.litellm_database import LONG_AGO, as_json, budget_row, key_row, spend_row, team_row, user_row
from sqlalchemy import text
from stores.samples import receipt
from trails import problems

from extproc.errors import ConfigError
from extproc.importing import source
from extproc.policy import credentials
from extproc.stores.audit_chain import Verifier
from extproc.stores.contract import AuditFilter, SpendFilter

DOLLAR = 1_000_000_000
LONG_AGO_MS = 1_767_323_045_000
DIGEST = credentials.digest("sk-of-the-front-end-1234")


def counts(imported, kind):
    written = imported.rows[kind]
    return written.made, written.changed, written.kept


def remarks(imported):
    return {remark.text: (remark.count, remark.examples) for remark in imported.notes}


async def entries(ours):
    """The newest first."""
    return (await ours.trail.list(AuditFilter(), page=1, size=100, descending=True)).rows


async def test_a_key_arrives_by_its_digest_with_all_that_limits_it(run, litellm, ours):
    await litellm.rows("BudgetTable", budget_row("b", max_budget=7.5, budget_duration="7d", tpm_limit=70))
    metadata = {"model_rpm_limit": {"gpt-4o": 3}, "tags": ["prod"], "app": "chat", "temp_budget_increase": 2,
                "temp_budget_expiry": "2026-02-01T00:00:00+00:00"}  # fmt: skip
    await litellm.rows("VerificationToken", key_row(
        DIGEST, key_alias="front", spend=1.25, models=["gpt-4o"], user_id="u", team_id="t", budget_id="b",
        max_budget=100.0, budget_duration="30d", rpm_limit=10, tpm_limit=20, max_parallel_requests=2, blocked=True,
        expires=LONG_AGO + timedelta(days=900), metadata=metadata, allowed_routes=["llm_api_routes"],
        model_max_budget={"gpt-4o": {"budget_limit": 0.5, "time_period": "1d"}},
        budget_limits=as_json({"budget_duration": "1h", "max_budget": 1}),
    ))  # fmt: skip

    imported = await run()
    key = await ours.find(DIGEST)

    assert counts(imported, "keys") == (1, 0, 0)
    assert (key.alias, key.name, key.spend, key.models, key.blocked) == (
        "front",
        "sk-...wxyz",
        1_250_000_000,
        ("gpt-4o",),
        True,
    )
    assert (key.user_id, key.team_id, key.budget_id, key.budget.max_budget) == ("u", "t", "b", 7_500_000_000)
    assert (key.max_budget, key.budget_duration, key.rpm_limit, key.tpm_limit) == (100 * DOLLAR, "30d", 10, 20)
    assert (key.max_parallel_requests, key.model_rpm_limit) == (2, {"gpt-4o": 3})
    assert key.model_max_budget == {"gpt-4o": (500_000_000, "1d")}
    assert key.budget_limits == (("1h", DOLLAR),)
    assert (key.temp_budget_increase, key.temp_budget_expiry) == (2 * DOLLAR, 1_769_904_000_000)
    assert key.expires_at == LONG_AGO_MS + 900 * 86_400_000
    assert (key.created_at, key.updated_at) == (LONG_AGO_MS, LONG_AGO_MS)
    assert key.metadata == {"app": "chat"}
    assert key.fields == {"tags": ["prod"], "allowed_routes": ["llm_api_routes"]}


async def test_teams_bring_their_members_with_limits_of_their_own(run, litellm, ours):
    await litellm.rows("BudgetTable", budget_row("mine", max_budget=3.0, rpm_limit=4, allowed_models=["gpt-4o"]))
    await litellm.rows("ModelTable", {"aliases": {"fast": "gpt-4o-mini"}, "created_by": "a", "updated_by": "a"})
    members = as_json({"role": "admin", "user_id": "ann"}, {"role": "user", "user_id": "bob", "user_email": "b@x.org"})
    await litellm.rows("TeamTable", team_row(
        "t", team_alias="engineering", max_budget=1000.0, budget_duration="30d", rpm_limit=500, blocked=True, spend=9.0,
        models=["gpt-4o"], members_with_roles=members, team_member_permissions=["/key/info"], model_id=1,
        metadata={"model_tpm_limit": {"gpt-4o": 9}},
    ))  # fmt: skip
    await litellm.rows("TeamMembership", {"user_id": "bob", "team_id": "t", "spend": 0.5, "budget_id": "mine"})
    await litellm.rows("UserTable", user_row("bob", user_email="b@x.org", user_role="internal_user", password="x"))

    imported = await run()
    team, bob = await ours.teams.find("t"), await ours.users.find("bob")
    ann, member = sorted(await ours.members.of_teams(["t"]), key=lambda each: each.user_id)

    assert (team.alias, team.max_budget, team.rpm_limit, team.blocked) == ("engineering", 1000 * DOLLAR, 500, True)
    assert (team.spend, team.model_tpm_limit, team.models) == (9 * DOLLAR, {"gpt-4o": 9}, ("gpt-4o",))
    assert team.fields == {"team_member_permissions": ["/key/info"], "model_aliases": {"fast": "gpt-4o-mini"}}
    assert (ann.user_id, ann.role, ann.max_budget) == ("ann", "admin", None)
    assert (member.role, member.max_budget, member.rpm_limit, member.spend) == ("user", 3 * DOLLAR, 4, 500_000_000)
    assert member.models == ("gpt-4o",)
    assert (bob.email, bob.role, bob.fields) == ("b@x.org", "internal_user", {})
    assert remarks(imported)["passwords are not taken along"] == (1, ["bob"])


async def test_customers_and_tags_arrive_and_a_blocked_customer_is_really_blocked(run, litellm, ours):
    await litellm.rows("BudgetTable", budget_row("b", max_budget=1.0))
    await litellm.rows("EndUserTable", {"user_id": "c", "alias": "Customer", "blocked": True, "budget_id": "b"})
    await litellm.rows("TagTable", {"tag_name": "prod", "description": "d", "spend": 2.0, "budget_id": "b"})

    imported = await run()
    customer, (tag,) = await ours.find_end_user("c"), await ours.find_tags(["prod"])

    assert (customer.alias, customer.blocked, customer.budget.max_budget) == ("Customer", True, DOLLAR)
    assert (tag.description, tag.spend, tag.budget.max_budget) == ("d", 2 * DOLLAR, DOLLAR)
    assert remarks(imported)["blocked customers are really blocked here"] == (1, ["c"])


async def test_spend_rows_become_receipts_without_their_content(run, litellm, ours):
    usage = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    await litellm.rows("SpendLogs", spend_row(
        "chatcmpl-1", api_key=DIGEST, spend=0.0125, prompt_tokens=10, completion_tokens=5, model="gpt-4o-2024",
        model_group="gpt-4o", custom_llm_provider="openai", user="u", team_id="t", end_user="c", status="success",
        request_tags=as_json("prod"), messages={"secret": "words"}, metadata={"usage_object": usage},
    ), spend_row("chatcmpl-2", api_key="sk-of-the-front-end-1234", status="failure"))  # fmt: skip

    await run()
    failed, row = sorted(
        (each.receipt for each in await ours.rows(SpendFilter(key_digest=DIGEST), limit=10)), key=lambda r: r.status
    )

    assert (row.event_id, row.provider_response_id, row.spend) == ("litellm:chatcmpl-1", "chatcmpl-1", 12_500_000)
    assert (row.usage.input_tokens, row.usage.output_tokens) == (10, 5)
    assert (row.usage.cache_read_tokens, row.usage.reasoning_tokens) == (4, 2)
    assert (row.user_id, row.team_id, row.end_user, row.tags) == ("u", "t", "c", ("prod",))
    assert (row.operation, row.provider, row.model_group) == ("acompletion", "openai", "gpt-4o")
    assert (row.started_at, row.status, row.http_status) == (LONG_AGO_MS, "success", 200)
    assert (failed.status, failed.spend, failed.http_status) == ("failure", 0, 0)


async def test_spend_is_counted_once_however_often_it_is_imported(run, litellm, ours):
    await litellm.rows("TeamTable", team_row("t", spend=2.0))
    await litellm.rows("UserTable", user_row("u", spend=2.0))
    await litellm.rows("VerificationToken", key_row(DIGEST, spend=2.0, user_id="u", team_id="t"))
    await litellm.rows("SpendLogs", spend_row("1", api_key=DIGEST, spend=2.0, user="u", team_id="t"))

    first = await run()
    again = await run()
    key = await ours.find(DIGEST)

    assert counts(first, "spend rows") == (1, 0, 0)
    assert counts(again, "spend rows") == (0, 0, 1)
    assert (key.spend, key.team.spend, key.user.spend) == (2 * DOLLAR,) * 3


async def test_a_repeated_import_brings_what_changed_there_and_keeps_what_was_spent_here(run, litellm, ours):
    await litellm.rows("VerificationToken", key_row(DIGEST, spend=2.0, rpm_limit=1))
    await run()
    await ours.record(
        [receipt(event_id="own", key_digest=DIGEST, spend=3 * DOLLAR, user_id=None, team_id=None)], now=NOW
    )
    await litellm.connection.execute(
        'UPDATE "LiteLLM_VerificationToken" SET spend = 2.5, rpm_limit = 9, updated_at = $1',
        LONG_AGO + timedelta(days=1),
    )

    imported = await run()
    key = await ours.find(DIGEST)

    assert counts(imported, "keys") == (0, 1, 0)
    assert (key.rpm_limit, key.spend) == (9, 5_500_000_000)


async def test_what_was_changed_here_since_stays_unless_it_is_to_be_overwritten(run, litellm, ours):
    await litellm.rows("VerificationToken", key_row(DIGEST, rpm_limit=1))
    await run()
    await ours.update(DIGEST, {"rpm_limit": 77, "updated_at": NOW})

    kept = await run()
    limit_then = (await ours.find(DIGEST)).rpm_limit
    overwritten = await run(overwrite=True)

    assert counts(kept, "keys") == (0, 0, 1)
    assert limit_then == 77
    assert counts(overwritten, "keys") == (0, 1, 0)
    assert (await ours.find(DIGEST)).rpm_limit == 1


async def test_each_row_that_is_made_leaves_an_entry_in_the_audit_trail_which_stays_whole(run, litellm, ours):
    await litellm.rows("TeamTable", team_row("t", members_with_roles=as_json({"user_id": "u", "role": "user"})))
    await litellm.rows("VerificationToken", key_row(DIGEST, key_alias="front", max_budget=2.5, spend=1.0))

    await run()
    found = {entry.table_name: entry for entry in await entries(ours)}

    assert {table: (entry.action, entry.object_id) for table, entry in found.items()} == {
        "LiteLLM_TeamTable": ("created", "t"),
        "LiteLLM_TeamMembership": ("created", "u:t"),
        "LiteLLM_VerificationToken": ("created", DIGEST),
    }
    told = json.loads(found["LiteLLM_VerificationToken"].after)
    assert (told["key_alias"], told["max_budget"], told["spend"]) == ("front", 2.5, 1)
    assert await problems(ours, Verifier([KEY])) == []


async def test_a_row_leaves_another_entry_where_it_is_different_afterwards_and_none_where_it_is_not(run, litellm, ours):
    await litellm.rows("TeamTable", team_row("t", metadata={"a": 1}, model_max_budget={"gpt-4o": {"budget_limit": 1}}))
    await litellm.rows("VerificationToken", key_row(DIGEST, rpm_limit=1, budget_limits=as_json(
        {"budget_duration": "1h", "max_budget": 1}
    )))  # fmt: skip
    await run()
    await run(overwrite=True)
    before = await entries(ours)
    later = LONG_AGO + timedelta(days=1)
    await litellm.connection.execute('UPDATE "LiteLLM_VerificationToken" SET rpm_limit = 9, updated_at = $1', later)

    await run()
    newest, *others = await entries(ours)

    assert (len(before), [*before]) == (2, others)
    assert (newest.action, newest.object_id) == ("updated", DIGEST)
    assert (json.loads(newest.before), json.loads(newest.after)) == ({"rpm_limit": 1}, {"rpm_limit": 9})


async def test_a_dry_run_tells_the_same_and_writes_nothing(run, litellm, ours):
    await litellm.rows("TeamTable", team_row("t", members_with_roles=as_json({"user_id": "u", "role": "user"})))
    await litellm.rows("VerificationToken", key_row(DIGEST), key_row("0" * 64))
    await litellm.rows("SpendLogs", spend_row("1", api_key=DIGEST, spend=2.0))

    tried = await run(dry_run=True)
    async with ours.database.reading() as connection:
        found = [
            await connection.scalar(text(f"SELECT count(*) FROM {table}"))
            for table in ("keys", "teams", "memberships", "ledger", "audit")
        ]
    done = await run()

    assert found == [0, 0, 0, 0, 0]
    assert {kind: counts(tried, kind) for kind in tried.rows} == {kind: counts(done, kind) for kind in done.rows}


async def test_of_two_keys_with_one_alias_the_second_gets_none(run, litellm, ours):
    await litellm.rows("VerificationToken", key_row("1" * 64, key_alias="a"), key_row("2" * 64, key_alias="a"))

    imported = await run()

    assert [(await ours.find(digit * 64)).alias for digit in "12"] == ["a", None]
    assert remarks(imported)["a second one had the same alias: it got none"] == (1, ["a (22222222)"])


async def test_an_alias_that_a_key_has_here_stays_with_it(run, litellm, ours):
    await litellm.rows("VerificationToken", key_row("1" * 64, key_alias="a"))
    await run()
    await litellm.connection.execute('DELETE FROM "LiteLLM_VerificationToken"')
    await litellm.rows("VerificationToken", key_row("2" * 64, key_alias="a"))

    imported = await run()

    assert [(await ours.find(digit * 64)).alias for digit in "12"] == ["a", None]
    assert remarks(imported)["a name is taken here by somebody else: it was left out"] == (1, ["a"])


async def test_what_has_no_counterpart_is_remarked_on(run, litellm, ours):
    await litellm.rows("OrganizationTable", {
        "organization_id": "o", "organization_alias": "o", "budget_id": "b", "created_by": "a", "updated_by": "a",
    })  # fmt: skip
    await litellm.rows("VerificationToken", key_row(
        DIGEST, key_alias="odd", object_permission_id="p", max_budget=-1.0, budget_duration="soon", organization_id="o",
    ))  # fmt: skip

    said = remarks(await run())
    key = await ours.find(DIGEST)

    assert said["object permissions (MCP servers, vector stores) have no counterpart"] == (1, ["odd"])
    assert said["a negative budget became 0"] == (1, ["odd"])
    assert said["a budget_duration that cannot be read was dropped: the budget never begins anew"] == (1, ["odd"])
    assert said[f"not taken along: {source.NOT_TAKEN['LiteLLM_OrganizationTable']}"] == (1, [])
    assert (key.max_budget, key.budget_duration, key.organization_id) == (0, None, "o")


async def test_an_older_litellm_without_some_columns_and_tables_is_read_too(run, litellm, ours):
    await litellm.rows("VerificationToken", key_row(DIGEST, rpm_limit=1))
    await litellm.connection.execute(
        'ALTER TABLE "LiteLLM_VerificationToken" DROP COLUMN tpd_limit, DROP COLUMN budget_limits;'
        'DROP TABLE "LiteLLM_TagTable"; DROP TABLE "LiteLLM_ModelTable"'
    )

    imported = await run()

    assert counts(imported, "keys") == (1, 0, 0)
    assert counts(imported, "tags") == (0, 0, 0)
    assert (await ours.find(DIGEST)).rpm_limit == 1


async def test_only_spend_since_a_day_is_read_where_one_is_given(run, litellm, ours):
    old, young = spend_row("old", startTime=LONG_AGO), spend_row("young", startTime=LONG_AGO + timedelta(days=30))
    await litellm.rows("SpendLogs", old, young)

    imported = await run(since=LONG_AGO + timedelta(days=13))
    without = await run(since=None)

    assert counts(imported, "spend rows") == (1, 0, 0)
    assert "spend rows" not in without.rows


async def test_a_table_is_read_in_batches(run, litellm, monkeypatch):
    monkeypatch.setattr(source, "_BATCH", 2)
    await litellm.rows("VerificationToken", *(key_row(str(digit) * 64) for digit in range(5)))
    told = []

    imported = await run(progress=lambda kind, total, done: told.append((total, done)) if kind == "keys" else None)

    assert counts(imported, "keys") == (5, 0, 0)
    assert told == [(5, 0), (5, 2), (5, 2), (5, 1)]


async def test_litellms_database_cannot_be_changed_by_an_import(litellm):
    async with source.opened(litellm.url) as reading:
        with pytest.raises(Exception, match=r"read-only|ReadOnly"):
            await reading._connection.execute(text('DELETE FROM "LiteLLM_TeamTable"'))
        await reading._connection.rollback()


async def test_another_database_is_refused(ours):
    if ours.database.dialect == "sqlite":
        with pytest.raises(ConfigError, match="begins with postgresql://"):
            async with source.opened("sqlite+aiosqlite:///x.db"):
                pass
        return
    url = ours.database._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with pytest.raises(ConfigError, match="not a database of LiteLLM's"):
        async with source.opened(url):
            pass
