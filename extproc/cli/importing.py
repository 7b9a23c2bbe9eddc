"""`import-litellm`: take keys, teams, users, budgets and spend over from LiteLLM's database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from extproc.cli.options import DEFAULT_DATA_DIR, AsJson, Config, DataDir
from extproc.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from extproc.importing.run import Imported, Progress
    from extproc.settings.model import Layout, Settings
    from extproc.stores.audit_chain import AuditKey
    from extproc.stores.sql import SqlStore

_VARIABLE = "LITELLM_DATABASE_URL"
#: For one question about a counter.
_DEADLINE_MS = 5_000
#: Who made the changes, as the audit trail names it.
_ACTOR = "extproc import-litellm"
_COLUMNS = ("", "made", "changed", "kept")

DatabaseUrl = Annotated[
    str,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="LiteLLM's database; it is only read. A URL with a password is better told in the environment.",
        envvar=_VARIABLE,
        show_default=False,
    ),
]


class Wanted(NamedTuple):
    """How an import is done. `since` is the oldest moment of which spend is taken, `None` for none."""

    url: str
    since: datetime | None
    dry_run: bool
    overwrite: bool


def import_litellm(  # noqa: PLR0913, PLR0917 - the options of a command
    database_url: DatabaseUrl = "",
    config: Config = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write no row.")] = False,
    spend: Annotated[bool, typer.Option("--spend/--no-spend", help="Take the spend rows along.")] = True,
    spend_since: Annotated[
        str | None,
        typer.Option("--spend-since", metavar="DATE", help="Only spend rows from this day on (YYYY-MM-DD, UTC)."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also change rows that were changed here since the last import.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take keys (they go on working), teams, members, users, customers, budgets, tags and spend over from LiteLLM.

    LiteLLM's database is only read. The import may be repeated at any time, also while both gateways run: what is
    there already is brought up to date, what was changed here stays.
    """
    from extproc import settings

    if not database_url:
        raise ConfigError(f"name LiteLLM's database with --database-url or in {_VARIABLE}")
    wanted = Wanted(_resolved(database_url), _moment(spend_since) if spend else None, dry_run, overwrite)
    loaded = settings.load(config)
    try:
        with _progress() as progress:
            imported = asyncio.run(_imported(loaded, data_dir, wanted, progress))
    except StoreUnavailable as outage:
        raise ConfigError(f"a database does not answer: {outage}. What was written stays; run it again.") from None
    if as_json:
        typer.echo(json.dumps(_report(imported, dry_run=dry_run), indent=2))
    else:
        _print(imported, dry_run=dry_run)


async def _imported(loaded: Settings, data_dir: Path, wanted: Wanted, progress: Progress) -> Imported:
    from extproc import opening
    from extproc.importing import receipts, source
    from extproc.importing.run import Import
    from extproc.stores.audit_chain import Actor, act_as
    from extproc.stores.sql_imports import SqlImports
    from extproc.supervisor import layout

    act_as(Actor(_ACTOR))
    place = layout.build(loaded, data_dir, layout.Ports())
    async with contextlib.AsyncExitStack() as stack:
        reading = await stack.enter_async_context(source.opened(wanted.url))
        store = await opening.database(loaded, place, None if wanted.dry_run else _audit_key(loaded, place))
        stack.push_async_callback(store.close)
        target = SqlImports(store.trail, prefix=receipts.PREFIX, dry_run=wanted.dry_run, overwrite=wanted.overwrite)
        importing = Import(
            reading, target, store, now=_now(), since=wanted.since, progress=progress, dry_run=wanted.dry_run
        )
        imported = await importing.run()
        if loaded.counters_are_shared and not wanted.dry_run:
            await _unseed(loaded, store)
        return imported


def _audit_key(loaded: Settings, place: Layout) -> AuditKey | None:
    """What the gateway of this data directory hashes its audit trail with; made where the gateway would make it."""
    from pydantic import SecretStr

    from extproc import opening
    from extproc.supervisor import encryption_key, master_key, private_files

    if not loaded.store_audit_logs:
        return None
    folder = Path(place.data_dir)
    private_files.directory(folder)
    keyed = encryption_key.with_key(loaded, folder)
    if keyed.audit_key or keyed.encryption_key:
        return opening.audit_key(keyed, SecretStr(""))
    master = master_key.resolve(loaded.master_key, folder)
    master_key.announce(master, _tell, _tell)
    return opening.audit_key(keyed, master.value)


def _tell(text: str) -> None:
    typer.echo(text, err=True)


async def _unseed(loaded: Settings, store: SqlStore) -> None:
    """Let the counters in Redis be read from the ledger anew: it knows more now."""
    from extproc import opening, verification
    from extproc.stores.counters_redis import RedisCounters

    counters = RedisCounters(opening.redis_url(loaded), namespace=opening.NAMESPACE, deadline_ms=_DEADLINE_MS)
    try:
        house = opening.house(loaded)
        async for subject in verification.everybody(store, store, house):
            for scope in {each.limit.scope for each in verification.counters_of(house, subject, _now())}:
                await counters.unseed(scope)
    finally:
        await counters.close()


def _resolved(url: str) -> str:
    """The URL, or what `os.environ/NAME` stands for."""
    if not url.startswith("os.environ/"):
        return url
    name = url.removeprefix("os.environ/")
    if not (value := os.environ.get(name)):
        raise ConfigError(f"the environment variable {name} is not set")
    return value


def _moment(day: str | None) -> datetime:
    """Midnight of a day in UTC, as LiteLLM's columns have it: without an offset. The beginning of time without one."""
    if day is None:
        return datetime(1970, 1, 1)  # noqa: DTZ001
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).replace(tzinfo=None)
    except ValueError:
        raise ConfigError("--spend-since is a day such as 2026-10-01") from None


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar for each kind on stderr, for whoever looks at it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bars:
        tasks: dict[str, Any] = {}

        def advance(kind: str, total: int, done: int) -> None:
            if kind not in tasks:
                tasks[kind] = bars.add_task(kind.replace("_", " "), total=total)
            bars.advance(tasks[kind], done)

        yield advance


def _report(imported: Imported, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "rows": {
            kind: {"made": written.made, "changed": written.changed, "kept": written.kept}
            for kind, written in imported.rows.items()
        },
        "remarks": [
            {"text": remark.text, "count": remark.count, "examples": remark.examples} for remark in imported.notes
        ],
    }


def _print(imported: Imported, *, dry_run: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for kind, written in imported.rows.items():
        table.add_row(kind, f"{written.made:,}", f"{written.changed:,}", f"{written.kept:,}")
    console.print(table)
    remarks = list(imported.notes)
    if remarks:
        console.print("\nWhat is different here, or was not taken along:")
    for remark in remarks:
        named = f" ({', '.join(remark.examples)}{', …' if remark.count > len(remark.examples) else ''})"
        console.print(Text(f"  {remark.count:,}: {remark.text}{named if remark.examples else ''}"))
    if dry_run:
        console.print("\nA dry run: no row was written.")
