"""Keys are shown, changed, blocked, deleted and listed as LiteLLM's clients expect."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.errors import StoreUnavailable
from extproc.management import rows, schemas
from extproc.model import Key


def error(response, status: int, **expected: object) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()["error"]
    assert body["code"] == str(status)
    assert {name: body[name] for name in expected} == expected
    return body


async def info(admin, key: str) -> dict[str, Any]:
    response = await admin.get("/key/info", params={"key": key})
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()["info"]
    return shown


class TestInfo:
    async def test_a_key_is_shown_by_itself_or_by_its_digest(self, gateway, admin):
        made = await gateway.generate(key_alias="a")

        for asked in (made["key"], made["token"]):
            body = (await admin.get("/key/info", params={"key": asked})).json()
            assert body["key"] == asked
            assert body["info"]["key_alias"] == "a"
            rows.KeyInfo.model_validate(body["info"])
            assert body["info"].keys() == rows.KeyInfo.model_fields.keys()

    async def test_the_information_holds_neither_key_nor_digest(self, gateway, admin):
        made = await gateway.generate()

        body = (await admin.get("/key/info", params={"key": made["key"]})).json()["info"]
        assert made["key"] not in str(body)
        assert made["token"] not in str(body)

    async def test_a_key_asks_about_itself_without_naming_itself(self, gateway):
        made = await gateway.generate(key_alias="mine")
        async with gateway.caller(made["key"]) as owner:
            body = (await owner.get("/key/info")).json()

        assert (body["key"], body["info"]["key_alias"]) == (made["token"], "mine")

    async def test_a_key_learns_nothing_of_another_not_even_whether_it_exists(self, gateway):
        mine, other = await gateway.generate(), await gateway.generate()
        async with gateway.caller(mine["key"]) as owner:
            answers = [
                await owner.get("/key/info", params={"key": key}) for key in (other["key"], other["token"], "f" * 64)
            ]

        assert {answer.status_code for answer in answers} == {403}
        assert len({answer.text for answer in answers}) == 1

    @pytest.mark.parametrize("key", ["sk-unknown-0123456789", "f" * 64, "x", None, ""])
    async def test_an_unknown_key_is_not_found(self, admin, key):
        error(
            await admin.get("/key/info", params={"key": key} if key is not None else {}), 404,
            message="Key not found in database", type="not_found_error",
        )  # fmt: skip

    async def test_status_tells_blocked_and_expired(self, gateway, admin):
        expired, blocked = await gateway.generate(duration="1s"), await gateway.generate(blocked=True)
        gateway.now += 2_000

        assert (await info(admin, expired["key"]))["status"] == "expired"
        assert (await info(admin, blocked["key"]))["status"] == "blocked"


class TestUpdate:
    async def test_what_is_named_changes_and_the_rest_stays(self, gateway, admin):
        made = await gateway.generate(key_alias="a", models=["x"], max_budget=5, tags=["t"], duration="1d")
        gateway.now += 1_000

        body = (await admin.post("/key/update", json={"key": made["key"], "rpm_limit": 7, "guardrails": ["g"]})).json()

        rows.UpdatedKey.model_validate(body)
        expected = {**made, "rpm_limit": 7, "guardrails": ["g"], "updated_at": "2026-11-23T15:04:06.678Z"}
        for name in ("token_id", "duration"):
            del expected[name]
        assert body == expected

    async def test_null_takes_a_limit_a_budget_and_an_id_away(self, gateway, admin):
        made = await gateway.generate(
            key_alias="a", models=["x"], max_budget=5, budget_duration="1d", rpm_limit=1, user_id="u",
            metadata={"a": 1},
            tags=["t"], blocked=True, spend=3,
        )  # fmt: skip
        nulls = ("key_alias", "models", "max_budget", "budget_duration", "rpm_limit", "user_id", "metadata", "tags")

        changed = await admin.post(
            "/key/update", json={"key": made["token"], **dict.fromkeys(nulls), "blocked": None, "spend": None}
        )

        body = changed.json()
        assert {name: body[name] for name in (*nulls, "budget_reset_at", "blocked", "spend")} == {
            **dict.fromkeys(nulls), "models": [], "metadata": {}, "budget_reset_at": None, "blocked": True, "spend": 3.0
        }  # fmt: skip

    async def test_a_new_budget_window_moves_the_reset(self, gateway, admin):
        made = await gateway.generate(budget_duration="1d")

        body = (await admin.post("/key/update", json={"key": made["key"], "budget_duration": "7d"})).json()

        assert (made["budget_reset_at"], body["budget_reset_at"]) == (
            "2026-11-24T00:00:00.000Z", "2026-11-30T00:00:00.000Z"
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("duration", "expires"),
        [("2d", "2026-11-25T15:04:05.678Z"), ("-1", None),
         ("", "2026-11-24T15:04:05.678Z"), (None, "2026-11-24T15:04:05.678Z")],
    )  # fmt: skip
    async def test_a_duration_counts_from_now_and_only_minus_one_is_for_ever(self, gateway, admin, duration, expires):
        made = await gateway.generate(duration="1d")

        body = (await admin.post("/key/update", json={"key": made["key"], "duration": duration})).json()

        assert body["expires"] == expires

    async def test_a_key_is_named_by_its_alias_or_renamed(self, gateway, admin):
        made = await gateway.generate(key_alias="old")

        by_alias = (await admin.post("/key/update", json={"key_alias": "old", "rpm_limit": 1})).json()
        renamed = (await admin.post("/key/update", json={"key": made["key"], "key_alias": "new"})).json()

        assert (by_alias["key"], by_alias["token"], by_alias["key_alias"]) == ("old", made["token"], "old")
        assert (renamed["key"], renamed["key_alias"], renamed["rpm_limit"]) == (made["key"], "new", 1)

    async def test_an_alias_cannot_be_taken_away_from_another_key(self, gateway, admin):
        await gateway.generate(key_alias="taken")
        made = await gateway.generate()

        error(await admin.post("/key/update", json={"key": made["key"], "key_alias": "taken"}), 400, param="key_alias")

    @pytest.mark.parametrize("named", [{"key": "sk-unknown-0123456789"}, {"key_alias": "unknown"}])
    async def test_an_unknown_key_is_not_found(self, admin, named):
        error(await admin.post("/key/update", json=named), 404, message="Key not found.", type="not_found_error")

    async def test_a_key_must_be_named(self, admin):
        assert (await admin.post("/key/update", json={"rpm_limit": 1})).status_code == 422

    async def test_a_temporary_increase_needs_both_of_its_fields(self, gateway, admin):
        made = await gateway.generate()
        whole = {"temp_budget_increase": 5, "temp_budget_expiry": "2026-12-01T00:00:00Z"}

        body = (await admin.post("/key/update", json={"key": made["key"], **whole})).json()
        half = await admin.post("/key/update", json={"key": made["key"], "temp_budget_increase": 5})

        assert (body["temp_budget_increase"], body["temp_budget_expiry"]) == (5.0, "2026-12-01T00:00:00.000Z")
        assert half.status_code == 422

    async def test_spend_can_be_set(self, gateway, admin):
        made = await gateway.generate()
        await gateway.book(made["token"])

        body = (await admin.post("/key/update", json={"key": made["key"], "spend": 0})).json()

        assert body["spend"] == 0.0

    async def test_the_caches_are_told_even_if_the_store_did_not_answer(self, gateway, admin, monkeypatch):
        made = await gateway.generate()
        gateway.forgotten.clear()

        async def no_answer(*_):
            raise StoreUnavailable("database", "TimeoutError")

        monkeypatch.setattr(gateway.store, "update", no_answer)
        error(await admin.post("/key/update", json={"key": made["key"], "rpm_limit": 1}), 503, type="no_db_connection")
        assert gateway.forgotten == [f"api_key {made['token']}"]


class TestBlock:
    async def test_a_blocked_key_is_refused_everywhere_until_it_is_unblocked(self, gateway, admin):
        made = await gateway.generate()
        async with gateway.caller(made["key"]) as owner:
            assert (await owner.get("/key/info")).status_code == 200

            body = (await admin.post("/key/block", json={"key": made["key"]})).json()
            rows.KeyRow.model_validate(body)
            assert (body["blocked"], body["token"]) == (True, made["token"])
            for path in ("/key/info", "/v1/models", "/spend/logs", "/health", "/metrics"):
                error(
                    await owner.get(path), 401, type="auth_error",
                    message="Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.",
                )  # fmt: skip

            assert (await admin.post("/key/unblock", json={"key": made["token"]})).json()["blocked"] is False
            assert (await owner.get("/key/info")).status_code == 200
        assert gateway.forgotten == [f"api_key {made['token']}"] * 3

    @pytest.mark.parametrize("path", ["/key/block", "/key/unblock"])
    async def test_an_unknown_key_is_not_found(self, admin, path):
        error(await admin.post(path, json={"key": "f" * 64}), 404, message="Key not found.")


class TestDelete:
    async def test_deleted_keys_are_unknown_at_once(self, gateway, admin):
        first, second, third = [await gateway.generate(key_alias=alias) for alias in "abc"]
        gateway.forgotten.clear()

        body = (await admin.post("/key/delete", json={"keys": [first["key"], second["token"]]})).json()
        by_alias = (await admin.post("/key/delete", json={"key_aliases": ["c"]})).json()

        assert body == {"deleted_keys": [first["key"], second["token"]]}
        assert by_alias == {"deleted_keys": ["c"]}
        assert gateway.forgotten == [f"api_key {made['token']}" for made in (first, second, third)]
        for made in (first, second, third):
            async with gateway.caller(made["key"]) as owner:
                error(await owner.get("/key/info"), 401, type="token_not_found_in_db", param="key")

    @pytest.mark.parametrize("wanted", [{"keys": ["f" * 64]}, {"key_aliases": ["unknown"]}])
    async def test_one_unknown_key_spares_all(self, gateway, admin, wanted):
        made = await gateway.generate()
        keys = [made["key"], *wanted.get("keys", [])]

        body = error(await admin.post("/key/delete", json={**wanted, "keys": keys}), 404, type="not_found_error")
        assert "No keys found" in body["message"]
        assert (await info(admin, made["key"]))["status"] == "active"

    @pytest.mark.parametrize("body", [{}, {"keys": []}, {"keys": [], "key_aliases": []}, {"keys": [""]}])
    async def test_keys_must_be_named(self, admin, body):
        assert (await admin.post("/key/delete", json=body)).status_code == 422

    async def test_what_was_spent_stays_in_the_ledger(self, gateway, admin):
        made = await gateway.generate()
        await gateway.book(made["token"])
        await admin.post("/key/delete", json={"keys": [made["key"]]})

        assert len((await admin.get("/spend/logs", params={"api_key": made["token"]})).json()) == 1


class TestList:
    @pytest.fixture
    async def three(self, gateway) -> list[dict[str, Any]]:
        made = []
        for alias, team, budget in (("Front-a", "t", 3), ("back", "t", 1), ("front-b", "s", None)):
            made.append(await gateway.generate(key_alias=alias, team_id=team, max_budget=budget, user_id="u"))
            gateway.now += 1_000
        return made

    async def test_digests_are_listed_the_newest_first(self, admin, three):
        body = (await admin.get("/key/list")).json()

        rows.KeyPageAnswer.model_validate(body)
        assert body == {
            "keys": [made["token"] for made in reversed(three)], "total_count": 3, "current_page": 1, "total_pages": 1
        }  # fmt: skip

    async def test_whole_rows_hold_no_raw_key(self, admin, three):
        body = (await admin.get("/key/list", params={"return_full_object": True, "size": 1})).json()

        assert [row["key_alias"] for row in body["keys"]] == ["front-b"]
        assert (body["total_count"], body["total_pages"]) == (3, 3)
        assert "key" not in body["keys"][0]

    @pytest.mark.parametrize(
        ("query", "aliases"),
        [
            ({"team_id": "t"}, ["back", "Front-a"]), ({"search": "FRONT"}, ["front-b", "Front-a"]),
            ({"key_alias": "back"}, ["back"]), ({"user_id": "x"}, []), ({"organization_id": "o"}, []),
            ({"sort_by": "max_budget", "sort_order": "asc"}, ["back", "Front-a", "front-b"]),
            ({"page": 2, "size": 2}, ["Front-a"]), ({"page": 9}, []), ({"team_id": ""}, ["front-b", "back", "Front-a"]),
        ],
    )  # fmt: skip
    async def test_keys_are_chosen_sorted_and_paged(self, admin, three, query, aliases):
        body = (await admin.get("/key/list", params={**query, "return_full_object": True})).json()

        assert [row["key_alias"] for row in body["keys"]] == aliases

    async def test_a_key_is_chosen_by_its_digest(self, admin, three):
        for named in (three[0]["token"], three[0]["key"]):
            assert (await admin.get("/key/list", params={"key_hash": named})).json()["keys"] == [three[0]["token"]]

    @pytest.mark.parametrize("query", [{"page": 0}, {"size": 0}, {"size": 101}, {"sort_order": "up"}, {"page": "x"}])
    async def test_a_page_that_cannot_be_is_a_422(self, admin, query):
        assert (await admin.get("/key/list", params=query)).status_code == 422

    async def test_an_unknown_column_to_sort_by_is_said_so(self, admin):
        error(await admin.get("/key/list", params={"sort_by": "digest; DROP TABLE keys"}), 400, param="sort_by")


def test_every_field_of_a_key_is_reachable_from_a_request_or_made_by_us():
    made = {"digest", "name", "role", "expires_at", "budget_reset_at", "created_at", "created_by", "updated_at",
            "updated_by", "last_active", "fields", "alias", "team", "user", "membership", "budget",
            "rotate_at", "revoked_at", "spend_set_at", "spend_set_to"}  # fmt: skip

    assert set(Key.__struct_fields__) - made <= schemas.KeyFields.model_fields.keys()
