"""`migrate`: bring the database's tables up to date, before the first replica of a new version starts."""

from __future__ import annotations

import asyncio

import typer

from extproc.cli.options import DEFAULT_DATA_DIR, Config, DataDir
from extproc.errors import ConfigError, StoreUnavailable


def migrate(config: Config = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Make or change the database's tables, as every start does.

    Forward only, in one transaction, and safe with several replicas at once: one does it, the others wait.
    """
    from extproc import opening, settings
    from extproc.supervisor import layout

    loaded = settings.load(config)

    async def run() -> tuple[str, str]:
        store = await opening.database(loaded, layout.build(loaded, data_dir, layout.Ports()))
        try:
            return store.database.dialect, await store.database.revision()
        finally:
            await store.close()

    try:
        dialect, revision = asyncio.run(run())
    except StoreUnavailable as outage:
        raise ConfigError(f"the database does not answer: {outage}") from None
    typer.echo(f"{dialect}: the tables are at step {revision}")
