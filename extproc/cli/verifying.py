"""`verify-ledger`: whether the counters in Redis know what the ledger knows, and where they do not.

It only reads, and may run beside the gateway at any time. For people it is a table of what differs, for machines JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extproc.cli.options import DEFAULT_DATA_DIR, AsJson, Config, DataDir
from extproc.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from extproc.settings.model import Settings
    from extproc.verification import Compared

DRIFT_CODE = 1
#: For one question about a hundred counters.
DEADLINE_MS = 5_000
_COLUMNS = ("scope", "who", "settings", "window", "counter", "ledger", "held", "difference")


def verify_ledger(
    config: Config = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    everything: Annotated[bool, typer.Option("--all", help="Show counters that agree, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the counters of all limits and budgets with the ledger.

    Ends with 0 if they agree, with 1 if one does not, with 2 if a store cannot be reached.
    """
    from extproc import settings

    loaded = settings.load(config)
    if not loaded.counters_are_shared:
        raise ConfigError(
            "there are no counters to look at: without router_settings.redis_url they live inside the running process, "
            "which reads them from the ledger when it starts"
        )
    try:
        found = asyncio.run(_verified(loaded, data_dir))
    except StoreUnavailable as outage:
        raise ConfigError(f"a store cannot be reached: {outage}") from None
    drifted = [each for each in found if not each.agrees]
    shown = [each for each in found if each.level is not None] if everything else drifted
    if as_json:
        typer.echo(json.dumps(_report(found, shown), indent=2))
    else:
        _print(found, shown)
    if drifted:
        raise typer.Exit(DRIFT_CODE)


async def _verified(loaded: Settings, data_dir: Path) -> list[Compared]:
    from extproc import opening, verification
    from extproc.stores.counters_redis import RedisCounters
    from extproc.supervisor import layout

    async with contextlib.AsyncExitStack() as stack:
        store = await opening.database(loaded, layout.build(loaded, data_dir, layout.Ports()))
        stack.push_async_callback(store.close)
        counters = RedisCounters(opening.redis_url(loaded), namespace=opening.NAMESPACE, deadline_ms=DEADLINE_MS)
        stack.push_async_callback(counters.close)
        await counters.ping()
        house, now = opening.house(loaded), _now()
        counted = [
            counter
            async for subject in verification.everybody(store, store, house)
            for counter in verification.counters_of(house, subject, now)
        ]
        with progress("comparing counters", len(counted)) as advance:
            return await verification.compare(counted, counters, store, _now, advance)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, for whoever looks at it."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def _report(found: Sequence[Compared], shown: Sequence[Compared]) -> dict[str, Any]:
    return {**_counts(found), "counters": [_row(each) for each in shown]}


def _counts(found: Sequence[Compared]) -> dict[str, int]:
    unused = sum(each.level is None for each in found)
    drifted = sum(not each.agrees for each in found)
    return {"compared": len(found) - unused, "drifted": drifted, "not_in_use": unused}


def _row(each: Compared) -> dict[str, Any]:
    limit, level = each.counter.limit, each.level
    return {
        "scope": limit.scope.kind,
        "who": each.counter.who,
        "settings": [*each.counter.settings],
        "measure": str(limit.measure),
        "span": str(limit.span),
        "since": limit.since,
        "until": limit.until,
        "counter": level.settled if level else None,
        "ledger": each.low if each.low == each.high else [each.low, each.high],
        "held": level.held if level else None,
        "difference": each.difference,
    }


def _print(found: Sequence[Compared], shown: Sequence[Compared]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    if shown:
        table = Table(*_COLUMNS, box=None, pad_edge=False)
        for each in shown:
            # As text: a name in square brackets is not markup.
            table.add_row(*(Text(cell, overflow="fold") for cell in _cells(each)))
        console.print(table, width=None if sys.stdout.isatty() else 200)
    counts = _counts(found)
    console.print(
        f"{counts['compared']} counters compared, {counts['drifted']} differ from the ledger, "
        f"{counts['not_in_use']} not in use"
    )


def _cells(each: Compared) -> tuple[str, ...]:
    from extproc.holds import Measure

    limit, level = each.counter.limit, each.level
    assert level is not None
    unit = _dollars if limit.measure is Measure.SPEND else str
    ledger = unit(each.low) if each.low == each.high else f"{unit(each.low)} to {unit(each.high)}"
    who = (limit.scope.kind, each.counter.who, ", ".join(each.counter.settings))
    return (*who, _window(each), unit(level.settled), ledger, unit(level.held), unit(each.difference))


def _dollars(nanos: int) -> str:
    from extproc.policy import refusals

    return f"${refusals.dollars(nanos)}"


def _window(each: Compared) -> str:
    from extproc.holds import Span

    limit = each.counter.limit
    if limit.span is Span.ROLLING:
        return "last minute"
    if limit.until is None:
        return "for ever"
    return f"until {datetime.fromtimestamp(limit.until / 1_000, UTC):%Y-%m-%d %H:%M} UTC"


def _now() -> int:
    return time.time_ns() // 1_000_000
