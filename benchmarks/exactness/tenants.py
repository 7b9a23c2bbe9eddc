"""The clients: tenants with a budget each, who ask for more than it pays for, many at a time.

A tenant's streams come one after another in each of its places, until it has been told several times that its budget
is gone. What it received does not matter; what the provider generated for it does.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec

#: Told so often in one place that the budget is gone, a client believes it.
BELIEVES_AFTER = 3
#: Dollars per token of either kind, as the configuration prices the model `truth`; and per output token of the model
#: `dear`, as in LiteLLM's experiment, whose calls have 20 tokens and cost $0.05.
PRICE, DEAR_PRICE = "0.000001", "0.0025"
NANOS = 1_000
LENGTHS = (100, 600)


class Told(msgspec.Struct):
    """What one tenant was told, by kind; `ended` are streams that were ended on their way."""

    complete: int = 0
    ended: int = 0
    exceeded: int = 0
    held: int = 0
    failed: int = 0


class Tenant(msgspec.Struct):
    """A tenant of `places` concurrent streams and a budget in nanos."""

    name: str
    key: str
    places: int
    budget: int
    told: Told
    cheapest: int = 0


def body(user: str, length: int, pace: int, *, stream: bool, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": f"answer with {length} tokens each {pace} ms{more.pop('suffix', '')}"}
    return {"model": more.pop("model", "truth"), "user": user, "messages": [message], "stream": stream, **more}


async def spend_all(tenant: Tenant, client: httpx.AsyncClient, pace: int, chance: random.Random) -> None:
    """Ask until the budget is gone, in all places at once."""
    await asyncio.gather(*(_one_place(tenant, client, pace, chance) for _ in range(tenant.places)))


async def _one_place(tenant: Tenant, client: httpx.AsyncClient, pace: int, chance: random.Random) -> None:
    refused = 0
    while refused < BELIEVES_AFTER:
        outcome = await _one_stream(tenant, client, pace, chance.randint(*LENGTHS))
        setattr(tenant.told, outcome, getattr(tenant.told, outcome) + 1)
        refused = refused + 1 if outcome == "exceeded" else 0
        if outcome == "held":
            await asyncio.sleep(0.3)


async def _one_stream(tenant: Tenant, client: httpx.AsyncClient, pace: int, length: int) -> str:
    asked = body(tenant.name, length, pace, stream=True)
    headers = {"authorization": f"Bearer {tenant.key}"}
    received = b""
    try:
        async with client.stream("POST", "/v1/chat/completions", json=asked, headers=headers) as answer:
            if answer.status_code == 422:
                return "exceeded"
            if answer.status_code == 429:
                return "held"
            if answer.status_code != 200:
                print(f"unexpected {answer.status_code}: {(await answer.aread())[:300]!r}", file=sys.stderr)
                return "failed"
            async for piece in answer.aiter_raw():
                received = (received + piece)[-4096:]
    except httpx.HTTPError as error:
        if b'"error"' in received:
            return "ended"
        print(f"unexpected {error!r} after {received[-100:]!r}", file=sys.stderr)
        return "failed"
    return "complete" if received.endswith(b"[DONE]\n\n") else "ended"


def overshoot(tenants: Sequence[Tenant], spent: dict[str, int]) -> float:
    """The worst overshoot, in percent of a budget; never below 0."""
    return max(max(0, spent[each.name] - each.budget) * 100 / each.budget for each in tenants)
