"""LiteLLM's three cases, and rates, each against the whole fleet: what was admitted and what it amounted to."""

from __future__ import annotations

import asyncio
import collections
import time
from typing import Any

import httpx

from benchmarks.exactness.fleet import Fleet
from benchmarks.exactness.tenants import body

#: LiteLLM's experiment: forty calls at once, of 20 tokens or $0.05 each, on a budget of $0.50.
CALLS, DOLLARS, LENGTH = 40, 0.50, 20


async def truth(fleet: Fleet, user: str) -> int:
    """Tokens that the provider generated for a user; asked until nothing more comes."""
    async with httpx.AsyncClient(timeout=30) as client:
        last = -1
        while True:
            told = (await client.get(f"{fleet.generator_url}/tally")).json().get(user, {"prompt": 0, "output": 0})
            if (found := told["prompt"] + told["output"]) == last:
                return int(found)
            last = found
            await asyncio.sleep(0.5)


async def booked(fleet: Fleet, key: str) -> int:
    """Nanos in the ledger of a key, when no more arrive."""
    async with httpx.AsyncClient(timeout=60, headers=fleet.headers()) as client:
        last = -1
        while True:
            rows = (await client.get(f"{fleet.url}/spend/logs", params={"api_key": key, "limit": 10_000})).json()
            if (found := sum(row["spend_nanos"] or 0 for row in rows)) == last:
                return int(found)
            last = found
            await asyncio.sleep(1.0)


async def all_of(fleet: Fleet) -> list[str]:
    """A line of Markdown for each case."""
    lines = ["### LiteLLM's cases and rates", "", "| case | wanted | got |", "|---|---|---|"]
    for name, more, suffix, wanted in (
        ("budget $0.50, 40 calls of $0.05, no max_tokens", {}, "", "10 admitted, $0.50"),
        ("the same, exact max_tokens", {"max_tokens": LENGTH}, "", "10 admitted, $0.50"),
        ("the same, understated max_tokens", {"max_tokens": 5}, " however many", "bounded"),
    ):
        lines.append(await _budget_case(fleet, name, dict(more), suffix, wanted))
    lines.append(await _rate_case(fleet, "rpm 10, 30 at once", {"rpm_limit": 10}, 30, 20, "10"))
    lines.append(await _rate_case(fleet, "tpm 300, 30 calls of 30 tokens", {"tpm_limit": 300}, 30, None, "300 tokens"))
    lines.append(await _rate_case(fleet, "parallel 3, 12 at once", {"max_parallel_requests": 3}, 12, 100, "3"))
    return lines


async def _budget_case(fleet: Fleet, name: str, more: dict[str, Any], suffix: str, wanted: str) -> str:
    user = f"case-{time.monotonic_ns()}"
    async with _client(fleet) as client:
        key = await _key(fleet, client, max_budget=DOLLARS)
        asked = body(user, LENGTH, 1, stream=False, suffix=suffix, model="dear", **more)
        answers = await asyncio.gather(*(_post(client, key, asked) for _ in range(CALLS)))
    spent = await booked(fleet, key)
    told = collections.Counter(answer.status_code for answer in answers)
    return f"| {name} | {wanted} | {told[200]} admitted, ${spent / 1e9:.4f}; {dict(told)} |"


async def _rate_case(
    fleet: Fleet, name: str, limit: dict[str, Any], calls: int, length: int | None, wanted: str
) -> str:
    user = f"case-{time.monotonic_ns()}"
    async with _client(fleet) as client:
        key = await _key(fleet, client, **limit)
        prompt = await _prompt_tokens(fleet, client)
        asked = body(user, 30 - prompt if length is None else length, 10, stream=False)
        answers = await asyncio.gather(*(_post(client, key, asked) for _ in range(calls)))
    told = collections.Counter(answer.status_code for answer in answers)
    waits = sorted({answer.headers.get("retry-after", "") for answer in answers if answer.status_code == 429})
    tokens = sum(answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200)
    return f"| {name} | {wanted} | {told[200]} admitted, {tokens} tokens; retry-after {', '.join(waits)} |"


async def _prompt_tokens(fleet: Fleet, client: httpx.AsyncClient) -> int:
    """What the provider counts for the prompt of such a call."""
    key = await _key(fleet, client)
    answer = await _post(client, key, body("probe", 10, 10, stream=False, max_tokens=1))
    return int(answer.json()["usage"]["prompt_tokens"])


async def _post(client: httpx.AsyncClient, key: str, asked: dict[str, Any]) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {key}"})


async def _key(fleet: Fleet, client: httpx.AsyncClient, **fields: Any) -> str:
    answer = await client.post("/key/generate", json=fields, headers=fleet.headers())
    answer.raise_for_status()
    return str(answer.json()["key"])


def _client(fleet: Fleet) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=fleet.url, timeout=120, limits=httpx.Limits(max_connections=256))
