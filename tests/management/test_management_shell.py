"""What surrounds every answer, where an answer has begun already or is none."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from extproc.management.shell import Shell

SCOPE = {"type": "http"}


async def nothing() -> dict[str, Any]:
    return {}


async def nowhere(message: MutableMapping[str, Any]) -> None:
    pass


async def test_an_answer_that_has_begun_is_broken_off(caplog):
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    async def send(message):
        sent.append(message)

    with pytest.raises(ValueError):
        await Shell(app)(SCOPE, nothing, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert [record.message for record in caplog.records] == ["management_failed"]


async def test_a_header_that_an_answer_brings_is_kept():
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Cache-Control", b"public")]})

    async def send(message):
        sent.append(message)

    await Shell(app)(SCOPE, nothing, send)
    headers = [name.lower() for name, _ in sent[0]["headers"]]
    assert headers.count(b"cache-control") == 1
    assert b"x-frame-options" in headers


async def test_what_is_not_http_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await Shell(app)({"type": "lifespan"}, nothing, nowhere)
    assert seen == ["lifespan"]
