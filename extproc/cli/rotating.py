"""`rotate-master-key` and `rotate-encryption-key`: new keys for the gateway itself, while it serves.

Where the keys are of our making they are changed here; where the configuration names them, what to do is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from extproc.cli.options import DEFAULT_DATA_DIR, Config, DataDir
from extproc.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from extproc.encryption import Keyring
    from extproc.resealing import Resealed
    from extproc.settings.model import Settings
    from extproc.stored_models import EncryptionKeys

FAILED_CODE = 1


def rotate_master_key(
    config: Config = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    end_previous: Annotated[
        bool, typer.Option("--end-previous", help="Only refuse the master key of before, from now on.")
    ] = False,
) -> None:
    """Make a new master key. The old one goes on working until --end-previous.

    A gateway that is running takes both within two seconds. Nothing is encrypted with the master key.
    """
    from extproc import settings
    from extproc.supervisor import master_key

    loaded = settings.load(config)
    if loaded.master_key is not None:
        raise ConfigError(
            f"the configuration says where the master key is ({loaded.master_key}), so it is changed there: add where "
            "the old key is to general_settings.previous_master_keys, put a new one in its place, and take the old one "
            "away when nobody uses it. Keys in files are read again by themselves; others need a restart, worker by "
            "worker"
        )
    if end_previous:
        ended = master_key.end_previous(data_dir)
        typer.echo("the previous master key is refused" if ended else "there is no previous master key")
        return
    key = master_key.rotate(data_dir)
    typer.echo(f"new master key, shown only now and kept in {key.file}: {key.value.get_secret_value()}")
    typer.echo("the one before goes on working until: extproc rotate-master-key --end-previous", err=True)


def rotate_encryption_key(config: Config = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Encrypt everything that is stored encrypted anew, with a new key where the key is of our making.

    May run while the gateway serves, and be started again when it was interrupted. Where the configuration names the
    key: put the new one into encryption_key, the old one into previous_encryption_keys, restart, then run this.
    """
    from extproc import opening, settings
    from extproc.supervisor import encryption_key, layout

    loaded = settings.load(config)
    found = layout.build(loaded, data_dir, layout.Ports())
    opening.must_have_database(loaded, found)
    folder = Path(found.data_dir)
    keyed = encryption_key.with_key(loaded, folder)
    if keyed.encryption_key is None:
        raise ConfigError("no encryption key is configured (general_settings.encryption_key): nothing is encrypted")
    try:
        resealed = asyncio.run(_rotated(keyed, folder))
    except StoreUnavailable as outage:
        raise ConfigError(f"the database cannot be reached: {outage}") from None
    typer.echo(f"{resealed.done} envelopes are encrypted anew")
    for reason in resealed.told:
        typer.echo(f"error: {reason}", err=True)
    if resealed.failed > len(resealed.told):
        typer.echo(f"error: and {resealed.failed - len(resealed.told)} more", err=True)
    if resealed.failed:
        raise typer.Exit(FAILED_CODE)


async def _rotated(keyed: Settings, folder: Path) -> Resealed:
    """A new key, unless an earlier change was not finished: then the rest of that one."""
    from extproc import contents, opening, resealing
    from extproc.settings import rows
    from extproc.stored_models import EncryptionKeys
    from extproc.stores.sql_sealed import SqlSealed
    from extproc.supervisor import encryption_key, layout

    keys = EncryptionKeys(keyed)
    async with contextlib.AsyncExitStack() as stack:
        store = await opening.database(keyed, layout.build(keyed, folder, layout.Ports()))
        stack.push_async_callback(store.close)
        sealed = [
            SqlSealed.of_models(store.database, rows.place),
            SqlSealed.of_contents(store.database, contents.place),
        ]
        if await resealing.left(sealed, _ring(keys)):
            typer.echo("not everything is encrypted with the key of now: going on with that", err=True)
        elif encryption_key.is_kept(keyed, folder):
            encryption_key.rotate(folder)
        with _progress(await resealing.left(sealed, _ring(keys))) as advance:
            return await resealing.reseal(sealed, _ring(keys), advance)


def _ring(keys: EncryptionKeys) -> Keyring:
    ring = keys.ring()
    assert ring is not None
    return ring


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, for whoever looks at it."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("encrypting anew", total=total)
        yield lambda done: bar.advance(task, done)
