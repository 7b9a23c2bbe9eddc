"""A regenerated key is the same key under another credential, and the old one ends on time."""

from __future__ import annotations

from typing import Any

import pytest
from management.asking import error, get, post
from management.conftest import MASTER, NOW

from extproc.management import rows
from extproc.management.key_regeneration import SpendReset

DAY = 86_400_000


async def status(gateway, key: str) -> int:
    """What the key meets when it asks for the models."""
    async with gateway.caller(key) as owner:
        return (await owner.get("/v1/models")).status_code


class TestRegenerate:
    @pytest.mark.parametrize("by", ["key", "token"])
    @pytest.mark.parametrize("in_path", [True, False])
    async def test_the_new_key_works_and_the_old_one_does_not(self, gateway, admin, by, in_path):
        made = await gateway.generate(key_alias="a", max_budget=5)
        body = {} if in_path else {"key": made[by]}
        again = await post(admin, f"/key/{made[by]}/regenerate" if in_path else "/key/regenerate", **body)

        assert again.keys() == rows.GeneratedKey.model_fields.keys()
        assert again["key"] not in {made["key"], ""}
        assert (again["key_alias"], again["max_budget"]) == ("a", 5.0)
        assert again["key_name"] == f"sk-...{again['key'][-4:]}"
        assert (await status(gateway, made["key"]), await status(gateway, again["key"])) == (401, 200)

    async def test_it_is_the_same_key_to_everything_that_counts(self, gateway, admin):
        made = await gateway.generate(max_budget=5, budget_duration="1d")
        await gateway.book(made["token"], spend=2 * 10**9)
        again = await post(admin, f"/key/{made['token']}/regenerate")
        await gateway.book((await gateway.store.find(again["token"])).digest, "second", spend=10**9)

        assert (again["token"], again["token_id"], again["spend"]) == (made["token"], made["token"], 2.0)
        assert (await get(admin, "/key/info", key=again["key"]))["info"]["spend"] == 3.0

    async def test_the_old_key_works_until_the_grace_period_is_over(self, gateway, admin):
        made = await gateway.generate()
        again = await post(admin, f"/key/{made['token']}/regenerate", grace_period="24h")

        gateway.now += DAY - 1
        assert (await status(gateway, made["key"]), await status(gateway, again["key"])) == (200, 200)
        gateway.now += 1
        assert (await status(gateway, made["key"]), await status(gateway, again["key"])) == (401, 200)

    async def test_an_old_key_is_unknown_to_the_management_api_too(self, gateway, admin):
        made = await gateway.generate()
        await post(admin, f"/key/{made['token']}/regenerate")

        error(await admin.get("/key/info", params={"key": made["key"]}), 404)
        error(await admin.post("/key/delete", json={"keys": [made["key"]]}), 404)
        error(await admin.post("/key/block", json={"key": made["key"]}), 404)

    async def test_every_name_of_the_key_leads_to_it(self, gateway, admin):
        made = await gateway.generate()
        again = await post(admin, f"/key/{made['token']}/regenerate")
        await post(admin, "/key/update", key=again["key"], rpm_limit=7)

        assert (await get(admin, "/key/info", key=made["token"]))["info"]["rpm_limit"] == 7
        assert (await get(admin, "/key/list", key_hash=again["key"]))["keys"] == [made["token"]]
        await post(admin, "/key/delete", keys=[again["key"]])
        assert await status(gateway, again["key"]) == 401

    async def test_what_the_request_names_changes_and_the_rest_stays(self, gateway, admin):
        made = await gateway.generate(models=["gpt-4o"], rpm_limit=1, tags=["x"], duration="1d")
        again = await post(admin, "/key/regenerate", key=made["key"], rpm_limit=2, duration="2d", metadata={"a": 1})

        assert (again["models"], again["rpm_limit"], again["tags"], again["metadata"]) == (
            ["gpt-4o"], 2, ["x"], {"a": 1},
        )  # fmt: skip
        assert (made["expires"], again["expires"]) == ("2026-11-24T15:04:05.678Z", "2026-11-25T15:04:05.678Z")
        assert again["duration"] == "2d"

    async def test_the_new_key_may_be_chosen(self, gateway, admin):
        made = await gateway.generate()

        again = await post(admin, "/key/regenerate", key=made["key"], new_key="sk-chosen-by-myself")
        assert again["key"] == "sk-chosen-by-myself"
        assert await status(gateway, "sk-chosen-by-myself") == 200

    async def test_caches_hear_of_the_key_and_of_its_new_credential(self, gateway, admin):
        made = await gateway.generate()
        gateway.forgotten.clear()
        again = await post(admin, "/key/regenerate", key=made["key"])

        assert [f"api_key {made['token']}"] == [one for one in gateway.forgotten if made["token"] in one]
        assert len(gateway.forgotten) == 2
        assert again["key"] not in str(gateway.forgotten)

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"grace_period": "soon"}, "grace_period"),
            ({"grace_period": "-1h"}, "grace_period"),
            ({"duration": "1x"}, "duration"),
            ({"max_budget": -1}, "max_budget"),
            ({"new_key": "pk-0123456789012345"}, "new_key"),
            ({"new_key": "sk-short"}, "new_key"),
            ({"new_key": MASTER}, "key"),
            ({"auto_rotate": True}, "rotation_interval"),
            ({"auto_rotate": True, "rotation_interval": "often"}, "rotation_interval"),
        ],
    )
    async def test_what_cannot_be_is_refused_and_the_old_key_still_works(self, gateway, admin, body, param):
        made = await gateway.generate()

        error(await admin.post(f"/key/{made['token']}/regenerate", json=body), 400, param=param)
        assert await status(gateway, made["key"]) == 200

    async def test_a_key_that_exists_cannot_be_the_new_one(self, gateway, admin):
        made, other = await gateway.generate(), await gateway.generate()

        for taken in (made["key"], other["key"]):
            error(await admin.post("/key/regenerate", json={"key": made["key"], "new_key": taken}), 400, param="key")
        assert await status(gateway, made["key"]) == 200

    async def test_unknown_keys_and_no_key_are_refused(self, admin):
        error(await admin.post("/key/regenerate", json={"key": "sk-unknown-0123456789"}), 404)
        error(await admin.post("/key/regenerate"), 400, param="key")

    async def test_the_master_key_is_not_changed_here(self, admin):
        response = await admin.post("/key/regenerate", json={"new_master_key": "sk-another-master-key"})

        assert response.status_code == 422
        assert "rotate-master-key" in response.text
        assert "another" not in response.text


class TestRotation:
    async def test_a_key_is_due_when_its_interval_is_over_and_again_after_the_next(self, gateway, admin):
        made = await gateway.generate(auto_rotate=True, rotation_interval="30d")
        await gateway.generate(rotation_interval="1s")
        assert made["key_rotation_at"] == "2026-12-23T15:04:05.678Z"
        assert (await get(admin, "/key/list", rotation_due=True))["keys"] == []

        gateway.now += 30 * DAY
        assert (await get(admin, "/key/list", rotation_due=True))["keys"] == [made["token"]]
        again = await post(admin, "/key/regenerate", key=made["key"])
        assert (await get(admin, "/key/list", rotation_due=True))["keys"] == []
        assert again["key_rotation_at"] == "2027-01-22T15:04:05.678Z"
        assert (again["rotation_count"], again["last_rotation_at"]) == (1, "2026-12-23T15:04:05.678Z")

    async def test_a_key_that_shall_not_rotate_any_more_is_never_due(self, gateway, admin):
        made = await gateway.generate(auto_rotate=True, rotation_interval="1s")
        gateway.now += DAY

        changed = await post(admin, "/key/update", key=made["key"], auto_rotate=False)
        assert changed["key_rotation_at"] is None
        assert (await get(admin, "/key/list", rotation_due=True))["keys"] == []

    async def test_an_interval_is_needed(self, admin):
        error(await admin.post("/key/generate", json={"auto_rotate": True}), 400, param="rotation_interval")


class TestResetSpend:
    async def test_a_key_without_a_window_goes_on_from_there(self, gateway, admin):
        made = await gateway.generate(max_budget=5)
        await gateway.book(made["token"], spend=4 * 10**9)

        body = await post(admin, f"/key/{made['token']}/reset_spend", reset_to=1.5)
        SpendReset.model_validate(body)
        assert body == {
            "key_hash": made["token"], "spend": 1.5, "previous_spend": 4.0, "max_budget": 5.0, "budget_reset_at": None,
        }  # fmt: skip
        await gateway.book(made["token"], "second", spend=10**9)
        assert (await get(admin, "/key/info", key=made["key"]))["info"]["spend"] == 2.5

    async def test_so_does_one_with_a_window_until_the_next_begins(self, gateway, admin):
        made = await gateway.generate(max_budget=5, budget_duration="1d")
        await gateway.book(made["token"], spend=4 * 10**9)
        gateway.now += 1_000

        body = await post(admin, f"/key/{made['token']}/reset_spend", reset_to=1)
        assert (body["spend"], body["previous_spend"]) == (1.0, 4.0)
        assert body["budget_reset_at"] == "2026-11-24T00:00:00.000Z"
        await gateway.book(made["token"], "second", spend=10**9, started_at=gateway.now)
        assert (await get(admin, "/key/info", key=made["key"]))["info"]["spend"] == 2.0
        gateway.now += DAY
        assert (await get(admin, "/key/info", key=made["key"]))["info"]["spend"] == 0.0

    async def test_counters_hear_of_it(self, gateway, admin):
        made = await gateway.generate(max_budget=5)
        gateway.unseeded.clear()

        await post(admin, f"/key/{made['token']}/reset_spend", reset_to=0)
        assert gateway.unseeded == [f"api_key {made['token']}"]

    @pytest.mark.parametrize("body", [{}, {"reset_to": True}, {"reset_to": "much"}, {"reset_to": None}])
    async def test_what_is_no_amount_is_a_422(self, gateway, admin, body):
        made = await gateway.generate()

        assert (await admin.post(f"/key/{made['token']}/reset_spend", json=body)).status_code == 422

    async def test_a_negative_amount_and_an_unknown_key_are_refused(self, gateway, admin):
        made = await gateway.generate()

        error(await admin.post(f"/key/{made['token']}/reset_spend", json={"reset_to": -1}), 400, param="reset_to")
        error(await admin.post("/key/unknown/reset_spend", json={"reset_to": 0}), 404)


class TestWindows:
    async def shown(self, admin, key: str) -> dict[str, Any]:
        info: dict[str, Any] = (await get(admin, "/key/info", key=key))["info"]
        return info

    async def test_the_spend_shown_is_that_of_the_window_of_now(self, gateway, admin):
        made = await gateway.generate(max_budget=5, budget_duration="1d")
        await gateway.book(made["token"], spend=2 * 10**9, started_at=NOW - DAY)
        await gateway.book(made["token"], "second", spend=10**9)

        assert (await self.shown(admin, made["key"]))["spend"] == 1.0
        [listed] = (await get(admin, "/key/list", return_full_object=True))["keys"]
        assert listed["spend"] == 1.0

    async def test_the_reset_shown_is_the_next(self, gateway, admin):
        made = await gateway.generate(max_budget=5, budget_duration="3d")
        assert made["budget_reset_at"] == "2026-11-26T00:00:00.000Z"

        gateway.now += 4 * DAY
        assert (await self.shown(admin, made["key"]))["budget_reset_at"] == "2026-11-29T00:00:00.000Z"

    async def test_the_window_of_a_named_budget_counts_too(self, gateway, admin):
        await post(admin, "/budget/new", budget_id="b", max_budget=5, budget_duration="1d")
        made = await gateway.generate(budget_id="b")
        await gateway.book(made["token"], spend=2 * 10**9, started_at=NOW - DAY)

        shown = await self.shown(admin, made["key"])
        assert (shown["spend"], shown["budget_reset_at"]) == (0.0, None)


async def test_the_ledgers_rows_of_a_regenerated_key_are_found_by_its_new_credential(gateway, admin):
    made = await gateway.generate()
    await gateway.book(made["token"])
    again = await post(admin, "/key/regenerate", key=made["key"])

    async with gateway.caller(again["key"]) as owner:
        for client in (admin, owner):
            for key in (again["key"], again["token"]):
                [row] = await get(client, "/spend/logs", api_key=key)
                assert row["api_key"] == made["token"]
