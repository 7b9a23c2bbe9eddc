"""From where a key may be used, and for which paths."""

from __future__ import annotations

import pytest
from exchange_world import MASTER, World, refusal, request_headers

from extproc.events import PROCEED
from extproc.model import User
from extproc.policy.origins import Origins


def bound(**fields) -> World:
    return World(fields=fields)


@pytest.mark.parametrize(
    ("networks", "refused"), [(["10.1.2.3"], False), (["10.0.0.0/8"], False), (["10.1.2.4"], True), (["::/0"], True)]
)
async def test_a_key_is_used_from_its_addresses_only(networks, refused):
    reply = await bound(allowed_ips=networks).exchange().receive(request_headers())

    assert (reply != PROCEED) is refused
    if refused:
        assert refusal(reply)[0] == 403
        assert refusal(reply)[1]["type"] == "auth_error"


async def test_a_header_that_a_client_sent_does_not_say_where_it_is():
    header = (b"x-forwarded-for", b"10.9.9.9")

    assert refusal(await bound(allowed_ips=["10.9.9.9"]).exchange().receive(request_headers(header)))[0] == 403


async def test_the_header_of_a_trusted_proxy_does():
    world = bound(allowed_ips=["192.0.2.1"])
    world.origins = Origins(trusted=("10.0.0.0/8",))

    header = (b"x-forwarded-for", b"192.0.2.1, 10.1.2.3")
    assert await world.exchange().receive(request_headers(header)) == PROCEED
    assert refusal(await world.exchange().receive(request_headers()))[0] == 403


async def test_the_list_for_all_binds_the_master_key_too():
    world = World()
    world.origins = Origins(allowed=("192.0.2.0/24",))

    assert refusal(await world.exchange().receive(request_headers(key=MASTER)))[0] == 403


@pytest.mark.parametrize(
    ("routes", "path", "refused"),
    [
        (["llm_api_routes"], b"/v1/chat/completions", False),
        (["management_routes"], b"/v1/chat/completions", True),
        (["info_routes"], b"/v1/chat/completions", True),
        (["/v1/chat/*"], b"/v1/chat/completions?x=1", False),
        (["/v1/embeddings"], b"/v1/chat/completions", True),
        (["/v1/embeddings"], b"/v1/chat/completions?/v1/embeddings", True),
    ],
)
async def test_a_key_is_used_for_its_routes_only(routes, path, refused):
    reply = await bound(allowed_routes=routes).exchange().receive(request_headers(path=path))

    assert (reply != PROCEED) is refused


async def test_a_blocked_users_key_is_refused():
    world = World(user_id="u", user=User(id="u", fields={"blocked": True}))

    status, error = refusal(await world.exchange().receive(request_headers()))
    assert (status, error["type"]) == (401, "auth_error")
