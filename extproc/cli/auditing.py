"""`verify-audit`: whether the audit trail is whole; `verify-receipt`: whether a receipt is ours.

Both only read, and may run beside the gateway at any time.

The keys are those that the settings name, of now and of before; `--earlier-key` adds one that they no longer name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from extproc.cli.options import DEFAULT_DATA_DIR, AsJson, Config, DataDir
from extproc.cli.verifying import progress
from extproc.errors import ConfigError, SecretUnavailable, StoreUnavailable

if TYPE_CHECKING:
    from extproc.settings.model import Settings
    from extproc.stores.audit_chain import AuditKey, Head, Verifier

BROKEN_CODE = 1
#: A trail that somebody replaced has as many problems as entries.
MOST_TOLD = 20

ExpectedHead = Annotated[
    str | None,
    typer.Option(
        "--expect-head", metavar="SEQ:HASH", help="A head that an earlier run or the log told: it must be in the trail."
    ),
]
EarlierKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--earlier-key", metavar="REFERENCE", help="A key of before: os.environ/NAME or file/PATH. May be repeated."
    ),
]


def verify_audit(
    config: Config = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    expect_head: ExpectedHead = None,
    earlier_key: EarlierKeys = None,
    as_json: AsJson = False,
) -> None:
    """Look for entries of the audit trail that were edited, moved, removed, made up or cut off the end.

    Ends with 0 if there are none, with 1 if there are, with 2 if the database or a key cannot be reached.
    """
    from extproc import settings
    from extproc.stores.audit_chain import Verifier

    loaded = settings.load(config)
    verifier = Verifier(_keys(loaded, data_dir, earlier_key or []), _head(expect_head))
    try:
        problems, count = asyncio.run(_verified(loaded, data_dir, verifier))
    except StoreUnavailable as outage:
        raise ConfigError(f"the database does not answer: {outage}") from None
    told = {"entries": count, "problems": len(problems), "head": str(verifier.last), "found": problems[:MOST_TOLD]}
    _print(told, as_json=as_json)
    if problems:
        raise typer.Exit(BROKEN_CODE)


def verify_receipt(
    file: Annotated[Path, typer.Argument(help="A receipt that an erasure answered.", dir_okay=False)],
    config: Config = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    user_id: Annotated[str | None, typer.Option("--user-id", help="Whether it is about this id, too.")] = None,
    earlier_key: EarlierKeys = None,
) -> None:
    """Check that this gateway signed a receipt of deletion, and that nobody has changed it.

    Ends with 0 if it is genuine, with 1 if it is not, with 2 if it or a key cannot be read.
    """
    from extproc import settings
    from extproc.stores import deletion_receipts

    receipt = _read_receipt(file)
    keys = _keys(settings.load(config), data_dir, earlier_key or [])
    if not keys:
        raise ConfigError(f"no key of an audit trail is known here: none is configured, and none is in {data_dir}")
    if not deletion_receipts.is_genuine(receipt, keys):
        typer.echo("the receipt was not signed with a key that is known here, or was changed")
        raise typer.Exit(BROKEN_CODE)
    if user_id is not None and not deletion_receipts.is_about(receipt, user_id):
        typer.echo("the receipt is genuine, but about somebody else (a user is meant by id, not by address)")
        raise typer.Exit(BROKEN_CODE)
    typer.echo(f"the receipt is genuine: deleted at {receipt['deleted_at']} by {receipt['deleted_by']}")


def _read_receipt(file: Path) -> dict[str, Any]:
    try:
        receipt = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as a receipt: {type(error).__name__}") from None
    if not isinstance(receipt, dict):
        raise ConfigError(f"{file} cannot be read as a receipt: it is no object")
    return receipt


async def _verified(loaded: Settings, data_dir: Path, verifier: Verifier) -> tuple[list[str], int]:
    """What is wrong, and how many entries there are."""
    from extproc import opening
    from extproc.stores.contract import AuditFilter
    from extproc.supervisor import layout

    problems: list[str] = []
    count, before = 0, None
    found = layout.build(loaded, data_dir, layout.Ports())
    opening.must_have_database(loaded, found)
    async with contextlib.AsyncExitStack() as stack:
        store = await opening.database(loaded, found)
        stack.push_async_callback(store.close)
        head = await store.trail.head()
        with progress("reading entries", head.seq) as advance:
            # The gateway may go on writing: read on until the head is reached, or nothing more is there.
            while before is None or (head.seq > verifier.last.seq and verifier.last != before):
                before = verifier.last
                async for batch in store.trail.batches(AuditFilter(), after=before.seq):
                    problems += [problem for entry in batch for problem in verifier.feed(entry)]
                    count += len(batch)
                    advance(len(batch))
                head = await store.trail.head()
        problems += verifier.end(head)
    return problems, count


def _keys(loaded: Settings, data_dir: Path, earlier: list[str]) -> list[AuditKey]:
    from extproc import opening, secrets
    from extproc.model import SecretRef
    from extproc.stores.audit_chain import AuditKey
    from extproc.supervisor import encryption_key, master_key

    found = opening.audit_keys(loaded)
    references = [secrets.parse_reference(text) for text in earlier]
    if any(reference.scheme == "literal" for reference in references):
        raise ConfigError("--earlier-key takes a reference, for what stands in a command is seen by others")
    if os.environ.get(encryption_key.VARIABLE):
        references.append(SecretRef("env", encryption_key.VARIABLE))
    kept = (master_key.FILE, master_key.PREVIOUS_FILE, encryption_key.FILE, encryption_key.PREVIOUS_FILE)
    references += [SecretRef("file", str(data_dir / name)) for name in kept if (data_dir / name).exists()]
    for reference in references:
        try:
            found.append(AuditKey(secrets.SecretResolver().resolve(reference).get_secret_value()))
        except SecretUnavailable as error:
            raise ConfigError(f"a key of the audit trail is not available: {error}") from None
    return found


def _head(text: str | None) -> Head | None:
    from extproc.stores.audit_chain import Head

    if text is None:
        return None
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or len(digest) != 64:
        raise ConfigError("--expect-head is a number, a colon and a hash, as verify-audit prints them")
    return Head(int(seq), digest)


def _print(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    for problem in told["found"]:
        typer.echo(problem)
    if told["problems"] > MOST_TOLD:
        typer.echo(f"and {told['problems'] - MOST_TOLD} more")
    state = "the trail is whole" if not told["problems"] else "the trail was tampered with"
    typer.echo(f"{told['entries']} entries: {state}; head {told['head']}")
