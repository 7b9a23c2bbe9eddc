"""`redact`: what a policy does to a text, tried out where no gateway runs.

The text goes through as it comes, line by line and in one stream, so that a value which spans lines is found and a file
of any size needs little memory. Bytes that are no UTF-8 pass as they are. What is explained goes to stderr.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from extproc.cli.options import AsJson, Config
from extproc.errors import Blocked, ConfigError

if TYPE_CHECKING:
    from extproc.redaction import Policy, Redactor, Span, StreamRedactor

BLOCKED_CODE = 1
#: A longer line goes on in pieces.
_PIECE_CHARS = 64 * 1024
_COLUMNS = ("entity", "span", "score", "action")


def redact(
    config: Config = None,
    policy: Annotated[
        str, typer.Option("--policy", "-p", metavar="NAME", help="A guardrail of --config.", show_default=False)
    ] = "",
    entities: Annotated[
        str, typer.Option("--entities", metavar="A,B", help="Look for these only, and mask them.", show_default=False)
    ] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Tell on stderr what was found, and where.")] = False,
    as_json: AsJson = False,
) -> None:
    """Redact the text on stdin to stdout, as the gateway would redact a request.

    Without a policy everything that can be found is masked. Ends with 1 where the policy blocks the text, of
    which what came before is written by then. --json prints
    one document when the text is over: the text, and what was found.
    """
    redactor, whole = _redactor(config, policy, entities), io.StringIO()
    told: list[Span] = []
    with contextlib.ExitStack() as stack:
        target: TextIO = whole if as_json else stack.enter_context(_stdout())
        _pump(redactor.stream(_vault()), target, told.extend if explain or as_json else _nobody)
    if as_json:
        typer.echo(json.dumps({"text": whole.getvalue(), "findings": [_row(span) for span in told]}))
    elif explain:
        _print(told)


def _redactor(config: Any, policy: str, entities: str) -> Redactor:
    """Raises `ConfigError`."""
    from extproc.redaction import Direction, InvalidPattern, UnknownEntity, validators

    try:
        return _policy(config, policy, entities).compile(Direction.REQUEST, validators())
    except (UnknownEntity, InvalidPattern) as error:
        raise ConfigError(str(error)) from None


def _policy(config: Any, policy: str, entities: str) -> Policy:
    from extproc.redaction import Action, Policy, catalog, validators

    if policy and entities:
        raise ConfigError("--policy and --entities exclude each other")
    if policy:
        return _configured(config, policy)
    known = validators()
    wanted = [name.strip().upper() for name in entities.split(",") if name.strip()]
    found = wanted or catalog.findable(known)
    return Policy(request=dict.fromkeys(found, Action.MASK), restore=False)


def _configured(config: Any, name: str) -> Policy:
    from extproc import settings

    if config is None:
        raise ConfigError("--policy names a guardrail of a configuration: give --config, too")
    found = {each.name: each for each in settings.load(config).guardrails}
    if name not in found:
        raise ConfigError(f"{config} has no guardrail {name!r}; it has: {', '.join(found) or 'none'}")
    if found[name].consulted is not None:
        typer.echo("warning: names and places are not looked for here; ask /guardrails/apply_guardrail", err=True)
    return found[name].policy


def _vault() -> Any:
    """Hashes of this run alone: the deployment's secret is not at hand."""
    from extproc.redaction import Placeholders

    return Placeholders(os.urandom(32))


def _stdout() -> TextIO:
    """Stdout as it takes any bytes that stdin gives."""
    return io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), "utf-8", errors="surrogateescape", newline="")


def _pump(stream: StreamRedactor, target: TextIO, tell: Callable[[list[Span]], None]) -> None:
    """Everything of stdin through the stream. Ends the command where the text may not pass."""
    from extproc.redaction import TooManyValues

    try:
        with _progress() as advance:
            for piece in _pieces():
                target.write(stream.feed(piece))
                if sys.stdin.isatty():
                    target.flush()
                tell(stream.findings.spans)
                stream.findings.spans.clear()
                advance(len(piece))
            target.write(stream.flush())
            tell(stream.findings.spans)
    except (Blocked, TooManyValues) as refused:
        typer.echo(f"{'blocked' if isinstance(refused, Blocked) else 'error'}: {refused}", err=True)
        raise typer.Exit(BLOCKED_CODE) from None


def _pieces() -> Iterator[str]:
    """The lines of stdin, long ones in parts."""
    source = io.TextIOWrapper(sys.stdin.buffer, "utf-8", errors="surrogateescape", newline="")
    try:
        while piece := source.readline(_PIECE_CHARS):
            yield piece
    finally:
        source.detach()


def _nobody(_: list[Span]) -> None:
    """Nobody wants to know."""


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A bar on stderr for whoever looks at it, where stdin is a file."""
    from rich.console import Console
    from rich.progress import Progress

    found = os.fstat(0)
    is_file = stat.S_ISREG(found.st_mode)
    with Progress(console=Console(stderr=True), transient=True, disable=not (is_file and sys.stderr.isatty())) as bar:
        task = bar.add_task("redacting", total=found.st_size if is_file else None)
        yield lambda done: bar.advance(task, done)


def _row(span: Span) -> dict[str, Any]:
    return {
        "entity": span.entity,
        "start": span.start,
        "end": span.end,
        "score": round(span.score, 2),
        "action": str(span.action),
    }


def _print(told: list[Span]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for row in map(_row, told):
        place = f"{row['start']}-{row['end']}"
        table.add_row(*map(Text, (row["entity"], place, str(row["score"]), row["action"])))
    Console(stderr=True, highlight=False).print(table)
