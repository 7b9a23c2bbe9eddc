"""Many keys at once, keys of no person, and what keys may ask beside their own information."""

from __future__ import annotations

from management.asking import error, get, post

from extproc.management import key_bulk, rows


class TestBulkUpdate:
    async def test_each_is_changed_by_itself_and_failures_are_told(self, gateway, admin):
        one, two = await gateway.generate(key_alias="one"), await gateway.generate(key_alias="two")
        body = await post(
            admin,
            "/key/bulk_update",
            keys=[
                {"key": one["key"], "max_budget": 5},
                {"key": "sk-unknown-0123456789", "max_budget": 5},
                {"key": two["token"], "max_budget": -5},
                {"key": two["token"], "key_alias": "one"},
                {"key_alias": "two", "rpm_limit": 7},
            ],
        )

        key_bulk.UpdatedKeys.model_validate(body)
        assert body["total_requested"] == 5
        assert [(each["key"], each["key_info"]["max_budget"]) for each in body["successful_updates"]] == [
            (one["key"], 5.0),
            ("two", None),
        ]
        assert [(each["key"], each["failed_reason"].partition(".")[0]) for each in body["failed_updates"]] == [
            ("sk-unknown-0123456789", "Key not found"),
            (two["token"], "max_budget cannot be negative"),
            (two["token"], "Key with alias 'one' already exists"),
        ]
        assert (await get(admin, "/key/info", key=two["key"]))["info"]["rpm_limit"] == 7

    async def test_what_does_not_fit_the_schema_changes_nothing(self, gateway, admin):
        made = await gateway.generate()

        response = await admin.post(
            "/key/bulk_update", json={"keys": [{"key": made["key"], "rpm_limit": 1}, {"rpm_limit": 1}]}
        )
        assert response.status_code == 422
        assert (await get(admin, "/key/info", key=made["key"]))["info"]["rpm_limit"] is None
        assert (await admin.post("/key/bulk_update", json={"keys": []})).status_code == 422


class TestServiceAccounts:
    async def test_a_key_of_a_team_and_of_no_user(self, admin):
        await post(admin, "/team/new", team_id="t")

        made = await post(admin, "/key/service-account/generate", team_id="t", key_alias="ci", metadata={"a": 1})
        assert made.keys() == rows.GeneratedKey.model_fields.keys()
        assert (made["team_id"], made["user_id"]) == ("t", None)
        assert made["metadata"] == {"a": 1, "service_account_id": "ci"}

    async def test_it_needs_a_team_that_exists_and_takes_no_user(self, admin):
        path = "/key/service-account/generate"

        error(await admin.post(path, json={}), 400, param="team_id")
        error(await admin.post(path, json={"team_id": "t"}), 400, param="team_id")
        error(await admin.post(path, json={"team_id": "t", "user_id": "u"}), 400, param="user_id")


async def test_many_keys_are_shown_at_once_and_unknown_ones_left_out(gateway, admin):
    one, two = await gateway.generate(key_alias="one"), await gateway.generate(key_alias="two")
    asked = [one["key"], "sk-unknown-0123456789", two["token"]]

    body = await post(admin, "/v2/key/info", keys=asked)
    key_bulk.ShownKeys.model_validate(body)
    assert body["key"] == asked
    assert [info["key_alias"] for info in body["info"]] == ["one", "two"]
    assert (await admin.post("/v2/key/info", json={})).status_code == 422


class TestAliases:
    async def test_they_come_in_their_order_page_by_page(self, gateway, admin):
        for alias in ("c", "a", None, "b"):
            await gateway.generate(key_alias=alias, team_id="t" if alias == "b" else None)

        assert await get(admin, "/key/aliases", size=2) == {
            "aliases": ["a", "b"], "total_count": 3, "current_page": 1, "total_pages": 2, "size": 2,
        }  # fmt: skip
        assert (await get(admin, "/key/aliases", size=2, page=2))["aliases"] == ["c"]
        assert (await get(admin, "/key/aliases", search="B"))["aliases"] == ["b"]
        assert (await get(admin, "/key/aliases", team_id="t"))["aliases"] == ["b"]

    async def test_a_key_sees_its_users_or_its_own(self, gateway):
        mine = await gateway.generate(key_alias="mine", user_id="u")
        await gateway.generate(key_alias="also mine", user_id="u")
        nobodys = await gateway.generate(key_alias="nobody's")

        async with gateway.caller(mine["key"]) as owner:
            assert (await get(owner, "/key/aliases"))["aliases"] == ["also mine", "mine"]
        async with gateway.caller(nobodys["key"]) as owner:
            assert (await get(owner, "/key/aliases"))["aliases"] == ["nobody's"]


async def test_a_key_that_may_ask_is_healthy(gateway):
    made, blocked = await gateway.generate(), await gateway.generate(blocked=True)

    async with gateway.caller(made["key"]) as owner:
        assert await post(owner, "/key/health") == {"key": "healthy", "logging_callbacks": None}
    async with gateway.caller(blocked["key"]) as owner:
        error(await owner.post("/key/health"), 401)
