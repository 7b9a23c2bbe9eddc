"""Do budgets hold? `python -m benchmarks.budget_exactness`: the numbers, beside those of a gateway that charges after.

Real Envoy, three workers, PostgreSQL, Redis. Tenants of 1, 8, 32 and 128 concurrent streams ask for more than their
budget pays for; the truth is what the provider generated, whether anybody received it or not. Then LiteLLM's three
cases, and rates. Everything is on loopback, bounded in number and in time, and ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.exactness import cases, fleet
from benchmarks.exactness.fleet import Fleet
from benchmarks.exactness.tenants import NANOS, Tenant, Told, overshoot, spend_all

PLACES = (1, 8, 32, 128)
#: A tenant's budget pays for so many tokens in each of its places.
TOKENS_PER_PLACE = 2_000
#: At the least: 0.03 % of a budget must be more than one token.
LEAST_TOKENS = 50_000


def main(
    charge_after: Annotated[
        bool | None,
        typer.Option(
            "--charge-after/--no-charge-after", help="Only the naive gateway, or only ours.", show_default="both"
        ),
    ] = None,
    places: Annotated[list[int] | None, typer.Option(min=1, help="Concurrent streams; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option(help="Smaller budgets, up to 32 streams.")] = False,
    pace: Annotated[int, typer.Option(min=0, help="Milliseconds between two tokens of a stream.")] = 20,
    seconds: Annotated[float, typer.Option(min=10, help="The longest that one part may take.")] = 1800,
) -> None:
    """Measure overshoot, usable budget and false refusals; then LiteLLM's cases and the rates."""
    numbers = tuple(places or (PLACES[:3] if quick else PLACES))
    least = LEAST_TOKENS // 10 if quick else LEAST_TOKENS
    programs = [
        program
        for program, naive in (("extproc", False), ("benchmarks.exactness.charge_after", True))
        if charge_after in {None, naive}
    ]
    for program in programs:
        with (
            tempfile.TemporaryDirectory(prefix="exact-") as folder,
            fleet.started(Path(folder), program=program) as running,
        ):
            name = "llm-extproc" if program == "extproc" else "charged after the fact"
            _say(f"{name}: budgets")
            _print_budgets(name, _within(seconds, _budgets(running, numbers, least, pace)))
            if program == "extproc":
                _say(f"{name}: cases")
                for line in _within(seconds, cases.all_of(running)):
                    print(line)


def _within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(seconds):
            return await work

    return asyncio.run(bounded())


async def _budgets(running: Fleet, places: tuple[int, ...], least: int, pace: int) -> list[dict[str, Any]]:
    """One row for each number of places."""
    rows = []
    async with _client(running.url) as client:
        for number in places:
            budget = max(least, TOKENS_PER_PLACE * number) * NANOS
            tenant = await _tenant(running, f"tenant-{number}", number, budget)
            began = time.monotonic()
            await spend_all(tenant, client, pace, random.Random(number))
            rows.append(await _row(running, tenant, time.monotonic() - began))
            _say(f"  {number} streams: {rows[-1]}")
    return rows


async def _tenant(running: Fleet, name: str, places: int, budget: int) -> Tenant:
    async with httpx.AsyncClient(timeout=30) as client:
        made = await client.post(
            f"{running.url}/key/generate",
            json={"key_alias": f"{name}-{time.monotonic_ns()}", "max_budget": budget / 1e9},
            headers=running.headers(),
        )
        made.raise_for_status()
    return Tenant(f"{name}-{time.monotonic_ns()}", made.json()["key"], places, budget, Told())


async def _row(running: Fleet, tenant: Tenant, seconds: float) -> dict[str, Any]:
    truth = await cases.truth(running, tenant.name)
    spent = truth * NANOS
    booked = await cases.booked(running, tenant.key)
    return {
        "streams": tenant.places,
        "budget": tenant.budget,
        "generated": spent,
        "booked": booked,
        "overshoot %": round(overshoot([tenant], {tenant.name: spent}), 4),
        "used %": round(min(spent, tenant.budget) * 100 / tenant.budget, 2),
        "complete": tenant.told.complete,
        "ended early": tenant.told.ended,
        "held": tenant.told.held,
        "exceeded": tenant.told.exceeded,
        "failed": tenant.told.failed,
        "seconds": round(seconds, 1),
    }


def _print_budgets(name: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n### Budgets, {name}\n")
    print(f"| {' | '.join(rows[0])} |")
    print("|" + "---:|" * len(rows[0]))
    for row in rows:
        print(f"| {' | '.join(str(value) for value in row.values())} |")
    print(flush=True)


def _client(url: str) -> contextlib.AbstractAsyncContextManager[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=512, max_keepalive_connections=512)
    return httpx.AsyncClient(base_url=url, timeout=120, limits=limits)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    typer.run(main)
