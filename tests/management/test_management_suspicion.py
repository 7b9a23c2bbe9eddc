"""`/extproc/suspicious-keys`, on both kinds of database."""

from __future__ import annotations

from management.asking import get
from management.conftest import NOW

HOUR, DAY = 3_600_000, 86_400_000
DOLLAR = 1_000_000_000


async def test_a_key_that_changes_its_ways_is_shown_with_the_reasons(gateway, admin):
    made = await gateway.generate(key_alias="stolen", user_id="u", team_id="t")
    digest = made["token"]
    for day in range(1, 8):
        moment = NOW - day * DAY
        await gateway.book(
            digest, f"usual-{day}", started_at=moment, ended_at=moment, spend=DOLLAR, requester_ip="10.0.0.1"
        )
    for number in range(30):
        moment = NOW - number * 1_000
        await gateway.book(
            digest, f"now-{number}", started_at=moment, ended_at=moment, spend=10 * DOLLAR, requester_ip="203.0.113.9"
        )

    (found,) = await get(admin, "/extproc/suspicious-keys")

    assert (found["key_alias"], found["user_id"], found["team_id"], found["blocked"]) == ("stolen", "u", "t", False)
    assert (found["requests"], found["failures"], found["spend"]) == (30, 0, 300.0)
    assert found["new_addresses"] == ["203.0.113.9"]
    assert [reason.split()[0] for reason in found["reasons"]] == ["spent", "spent", "720", "used"]
    assert found["score"] == 12


async def test_who_does_as_ever_is_shown_on_request_only(gateway, admin):
    quiet = await gateway.generate(key_alias="quiet")
    await gateway.book(quiet["token"], "one", started_at=NOW - HOUR // 2, ended_at=NOW)
    await gateway.book("gone" * 16, "two", started_at=NOW - HOUR // 2, ended_at=NOW, status="failure")

    assert await get(admin, "/extproc/suspicious-keys") == []
    everything = await get(admin, "/extproc/suspicious-keys", all=True)
    assert {(each["key_alias"], each["failures"]) for each in everything} == {(None, 1), ("quiet", 0)}


async def test_how_far_to_look_and_how_much_is_too_much_can_be_said(gateway, admin):
    key = await gateway.generate(key_alias="dear")
    await gateway.book(key["token"], "one", started_at=NOW - 5 * HOUR, ended_at=NOW - 5 * HOUR, spend=DOLLAR)

    assert await get(admin, "/extproc/suspicious-keys", threshold=0.5) == []
    (found,) = await get(admin, "/extproc/suspicious-keys", threshold=0.5, hours=6)
    refused = await admin.get("/extproc/suspicious-keys", params={"hours": 0})

    assert found["reasons"] == ["spent $1.00"]
    assert refused.status_code == 422
