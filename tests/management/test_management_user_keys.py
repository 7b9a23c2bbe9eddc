"""A new user and their first key: both or neither."""

from __future__ import annotations

import pytest
from management.asking import error, get, post


@pytest.mark.parametrize("body", [{"key_alias": "taken"}, {"duration": "soon"}, {"duration": "-3d"}])
async def test_where_the_key_cannot_be_made_there_is_no_user(gateway, admin, body):
    await gateway.generate(key_alias="taken")
    await post(admin, "/team/new", team_id="t")

    error(await admin.post("/user/new", json={"user_id": "u", "teams": ["t"], **body}), 400)
    error(await admin.get("/user/info", params={"user_id": "u"}), 404)
    team = await get(admin, "/team/info", team_id="t")
    assert "u" not in team["team_info"]["members"]
    assert (await post(admin, "/user/new", user_id="u", key_alias="free"))["key_alias"] == "free"


async def test_a_user_who_gets_no_key_may_name_one_that_is_taken(gateway, admin):
    await gateway.generate(key_alias="taken")

    made = await post(admin, "/user/new", user_id="u", key_alias="taken", auto_create_key=False)
    assert made["key"] == ""
