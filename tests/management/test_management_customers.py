"""Customers, budgets and tags are made, shown, changed and deleted as LiteLLM's clients expect; a block blocks."""

from __future__ import annotations

import pytest
from management.asking import error, get, post

from extproc.management import customers, rows, tags


class TestCustomers:
    @pytest.mark.parametrize("folder", ["/customer", "/end_user"])
    async def test_both_names_of_the_endpoints_do_the_same(self, gateway, admin, folder):
        made = await post(
            admin, f"{folder}/new", user_id="c", alias="a", max_budget=5, budget_duration="30d", models=["m"],
            default_model="m", allowed_model_region="eu",
        )  # fmt: skip

        customers.CustomerRow.model_validate(made)
        assert made.keys() == customers.CustomerRow.model_fields.keys()
        assert (made["alias"], made["models"], made["default_model"]) == ("a", ["m"], "m")
        assert (made["litellm_budget_table"]["max_budget"], made["budget_reset_at"]) == (
            5.0,
            "2026-12-01T00:00:00.000Z",
        )
        assert await get(admin, f"{folder}/info", end_user_id="c") == made
        assert await get(admin, f"{folder}/list") == [made]
        assert (await post(admin, f"{folder}/update", user_id="c", spend=2))["spend"] == 2.0
        assert (await post(admin, f"{folder}/delete", user_ids=["c"]))["deleted_customers"] == 1
        error(await admin.get(f"{folder}/info", params={"end_user_id": "c"}), 404, type="not_found")
        assert gateway.forgotten == ["end_user c"] * 3
        assert gateway.unseeded == ["end_user c"] * 3

    async def test_a_block_is_stored_also_for_somebody_unknown(self, gateway, admin):
        await post(admin, "/customer/new", user_id="known")

        body = await post(admin, "/customer/block", user_ids=["known", "new", "new"])

        customers.BlockedCustomers.model_validate(body)
        assert [(row["user_id"], row["blocked"]) for row in body["blocked_users"]] == [("known", True), ("new", True)]
        assert (await gateway.store.find_end_user("new")).blocked is True
        assert "end_user new" in gateway.forgotten
        body = await post(admin, "/customer/unblock", user_ids=["new", "unknown"])
        assert body["blocked_users"] == []
        assert [row["user_id"] for row in body["unblocked_users"]] == ["new"]
        assert (await gateway.store.find_end_user("new")).blocked is False

    async def test_a_customer_may_name_a_budget_instead(self, gateway, admin):
        await post(admin, "/budget/new", budget_id="b", max_budget=7)

        made = await post(admin, "/customer/new", user_id="c", budget_id="b")

        rows.BudgetRow.model_validate(made["litellm_budget_table"])
        assert (made["budget_id"], made["max_budget"], made["litellm_budget_table"]["max_budget"]) == ("b", None, 7.0)
        assert (await gateway.store.find_end_user("c")).budget.max_budget == 7 * 10**9

    @pytest.mark.parametrize(
        ("body", "status"),
        [({"budget_id": "b", "max_budget": 1}, 422), ({"budget_id": "unknown"}, 400), ({"max_budget": -1}, 400),
         ({"user_id": ""}, 422), ({"allowed_model_region": "mars"}, 422), ({"rpm_limit": "many"}, 422)],
    )  # fmt: skip
    @pytest.mark.parametrize("path", ["/customer/new", "/customer/update"])
    async def test_what_cannot_be_is_said_so(self, admin, path, body, status):
        if path == "/customer/update":
            await post(admin, "/customer/new", user_id="c")

        assert (await admin.post(path, json={"user_id": "c", **body})).status_code == status

    async def test_a_taken_id_is_refused(self, admin):
        await post(admin, "/customer/new", user_id="c")

        error(await admin.post("/customer/new", json={"user_id": "c"}), 400, type="bad_request", param="user_id")

    @pytest.mark.parametrize("path", ["/customer/update", "/customer/delete"])
    async def test_an_unknown_customer_is_not_found(self, admin, path):
        error(
            await admin.post(path, json={"user_id": "x", "user_ids": ["x"]}), 404, type="not_found",
            message="End User Id=x does not exist in db",
        )  # fmt: skip


class TestBudgets:
    async def test_a_budget_is_made_shown_changed_and_deleted(self, gateway, admin):
        made = await post(
            admin, "/budget/new", budget_id="b", max_budget=5, soft_budget=4, budget_duration="1d", tpm_limit=1,
            model_max_budget={"m": {"max_budget": 1, "budget_duration": "1h"}},
        )  # fmt: skip

        rows.BudgetRow.model_validate(made)
        assert (made["budget_id"], made["max_budget"], made["budget_reset_at"]) == (
            "b",
            5.0,
            "2026-11-24T00:00:00.000Z",
        )
        assert await post(admin, "/budget/info", budgets=["b", "unknown"]) == [made]
        assert await get(admin, "/budget/list") == [made]
        changed = await post(admin, "/budget/update", budget_id="b", tpm_limit=None, max_budget=6)
        assert changed == made | {"tpm_limit": None, "max_budget": 6.0}
        assert await post(admin, "/budget/delete", id="b") == changed
        assert await post(admin, "/budget/info", budgets=["b"]) == []
        assert gateway.forgotten == ["budget b"] * 3

    @pytest.mark.parametrize(("path", "body"), [("update", {"budget_id": "x"}), ("delete", {"id": "x"})])
    async def test_an_unknown_budget_is_null_as_in_litellm(self, admin, path, body):
        assert await post(admin, f"/budget/{path}", **body) is None

    async def test_a_taken_id_is_refused_and_an_empty_body_makes_one(self, admin):
        await post(admin, "/budget/new", budget_id="b")
        assert len((await admin.post("/budget/new")).json()["budget_id"]) == 36

        error(await admin.post("/budget/new", json={"budget_id": "b"}), 400, param="budget_id")
        error(await admin.post("/budget/new", json={"soft_budget": -1}), 400, param="soft_budget")

    async def test_a_key_shows_the_budget_it_names(self, gateway, admin):
        await post(admin, "/budget/new", budget_id="b", max_budget=5)
        made = await gateway.generate(budget_id="b")

        shown = (await get(admin, "/key/info", key=made["key"]))["info"]

        assert (shown["budget_id"], shown["max_budget"]) == ("b", None)
        assert shown["litellm_budget_table"]["max_budget"] == 5.0


class TestTags:
    async def test_a_tag_is_made_shown_changed_and_deleted(self, gateway, admin):
        body = await post(admin, "/tag/new", name="batch", description="d", max_budget=5, budget_duration="7d")

        tags.ChangedTag.model_validate(body)
        assert body["message"] == "Tag batch created successfully"
        assert (body["tag"]["litellm_budget_table"]["max_budget"], body["tag"]["budget_reset_at"]) == (
            5.0, "2026-11-30T00:00:00.000Z"
        )  # fmt: skip
        assert await post(admin, "/tag/info", names=["batch", "unknown"]) == {"batch": body["tag"]}
        assert await get(admin, "/tag/list") == [body["tag"]]
        changed = await post(admin, "/tag/update", name="batch", spend=1, max_budget=None)
        assert (changed["tag"]["spend"], changed["tag"]["max_budget"]) == (1.0, None)
        assert await post(admin, "/tag/delete", name="batch") == {"message": "Tag batch deleted successfully"}
        assert gateway.forgotten == gateway.unseeded == ["tag batch"] * 3

    async def test_a_tag_may_name_a_budget(self, gateway, admin):
        await post(admin, "/budget/new", budget_id="b", max_budget=7)

        body = await post(admin, "/tag/new", name="batch", budget_id="b")

        assert body["tag"]["litellm_budget_table"]["max_budget"] == 7.0
        [found] = await gateway.store.find_tags(["batch"])
        assert found.budget.max_budget == 7 * 10**9
        error(await admin.post("/tag/update", json={"name": "batch", "budget_id": "unknown"}), 400, param="budget_id")

    async def test_a_taken_name_is_refused_and_an_unknown_one_not_found(self, admin):
        await post(admin, "/tag/new", name="batch")

        error(await admin.post("/tag/new", json={"name": "batch"}), 400, param="name")
        for path, body in [("update", {"name": "x"}), ("delete", {"name": "x"}), ("info", {"names": ["x"]})]:
            error(await admin.post(f"/tag/{path}", json=body), 404, message="Tag x not found")
        assert (await admin.post("/tag/new", json={"name": ""})).status_code == 422
