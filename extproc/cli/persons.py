"""`extproc users` and `customers`, `export` and `erase`: what the law gives a person, asked of a running gateway.

An export is written as it comes, and is in its file only when it is whole. An erasure cannot be undone and its receipt
is told once, so where the receipt is kept is made sure of before anything is erased, and it is printed besides.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from extproc.cli import asking
from extproc.cli.asking import Unsuccessful

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="A file for its owner only; else stdout.", dir_okay=False),
]
Receipt = Annotated[
    Path | None,
    typer.Option(
        "--receipt", "-o", metavar="FILE", dir_okay=False,
        help="Where the receipt is kept, a file that is not there yet; else deletion-receipt-….json beside you.",
    ),
]  # fmt: skip


def export(context: typer.Context, kind: str, name: str, output: Path | None) -> None:
    """All that is kept of a `user` or `customer`, to a file or to stdout."""
    path = f"/{kind}/{quote(name, safe='')}/export"
    with asking.gateway(context) as gateway, gateway.stream(path) as pieces:
        save(pieces, output)


def erase(context: typer.Context, kind: str, name: str, receipt: Path | None, *, yes: bool) -> None:
    """Erase a `user` or `customer`, print the receipt and keep it."""
    folder = receipt.parent if receipt is not None else Path()
    if receipt is not None and os.path.lexists(receipt):
        raise Unsuccessful(f"nothing was done: {receipt} is there already", asking.REFUSED)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Unsuccessful(f"nothing was done: the receipt cannot be kept in {folder.absolute()}", asking.REFUSED)
    asking.sure(f"Erase the {kind} {name} for ever, with all that tells of them?", yes=yes)
    with asking.gateway(context) as gateway:
        told = gateway.delete_patiently(f"/{kind}/delete", {"user_id": name})
    text = json.dumps(told, indent=2)
    typer.echo(text)
    file = receipt or folder / f"deletion-receipt-{told['replaced_by']}.json"
    _keep(file, text)
    typer.echo(f"the receipt is kept in {file}", err=True)
    if not told["signature"]:
        typer.echo("it is not signed, for the gateway keeps no audit trail", err=True)


def save(pieces: Iterator[bytes], file: Path | None) -> None:
    """Write an answer of any length to a file of mode 0600, whole or not at all; or to stdout."""
    if file is None:
        stdout = typer.get_binary_stream("stdout")
        stdout.writelines(pieces)
        stdout.flush()
        return
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        unfinished.touch(0o600, exist_ok=False)
        with unfinished.open("wb") as target, _progress() as advance:
            for piece in pieces:
                target.write(piece)
                advance(len(piece))
        unfinished.replace(file)
    except OSError as error:
        raise Unsuccessful(f"{file} cannot be written: {error.strerror}", asking.REFUSED) from None
    finally:
        unfinished.unlink(missing_ok=True)


def _keep(file: Path, text: str) -> None:
    from extproc.supervisor import private_files

    try:
        private_files.create(file, text.encode() + b"\n")
    except OSError:
        raise Unsuccessful(
            f"it is done, but {file} cannot be written: keep what is printed here", asking.REFUSED
        ) from None


@contextmanager
def _progress() -> Iterator[Callable[[int], Any]]:
    """How much has come so far, on stderr, for whoever looks at it: nobody knows how much there is."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

    columns = (SpinnerColumn(), TextColumn("exporting"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("exporting", total=None)
        yield lambda done: bar.advance(task, done)
