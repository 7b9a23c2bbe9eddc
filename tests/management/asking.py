"""How the tests of the management API ask, and what they expect of an error."""

from __future__ import annotations

from typing import Any

import httpx


def error(response: httpx.Response, status: int, **expected: object) -> dict[str, Any]:
    """The error of a response with this status and these values."""
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()["error"]
    assert body["code"] == str(status)
    assert {name: body[name] for name in expected} == expected
    return body


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    """The answer to a request that succeeds."""
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    """The answer to a question that succeeds."""
    response = await client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()
