"""The command: `python -m benchmarks`. Progress goes to standard error, the tables to standard output."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from benchmarks import arms, core, measure, report
from benchmarks.processes import resident_bytes

ROUNDS = 9


def main(
    quick: Annotated[bool, typer.Option(help="One round of a quarter of the requests.")] = False,
    micro: Annotated[
        bool, typer.Option(help="Only the steps of an exchange, without any process around them.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(arms.ARMS)}; may be repeated.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="How often every case runs on every arm.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="The longest that one run of one case may take.")] = 30,
    json: Annotated[Path | None, typer.Option(help="Write every round's numbers to this file.")] = None,
    write: Annotated[bool, typer.Option(help="Put the tables into benchmarks/README.md.")] = False,
) -> None:
    """Measure what llm-extproc costs, beside bare Envoy and beside a processor that does nothing."""
    if micro:
        typer.echo(core.table())
        return
    found = _run(tuple(only or arms.ARMS), quick=quick, rounds=rounds or (1 if quick else ROUNDS), seconds=seconds)
    text = report.markdown(found)
    typer.echo(text)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    if write:
        report.write(f"{text}\n{core.table()}")


def _run(names: tuple[str, ...], *, quick: bool, rounds: int, seconds: float) -> report.Report:
    cases = [measure.shortened(case) if quick else case for case in measure.CASES]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        started = stack.enter_context(arms.started(folder, names))
        results = measure.run(started, cases, rounds=rounds, seconds=seconds, say=_say)
        watched = [arm for arm in started if arm.redis is not None]
        trips = [told for arm in watched for told in measure.round_trips(arm, cases, seconds)]
        resident = {arm.name: {name: resident_bytes(pid) for name, pid in arm.pids.items()} for arm in started}
    return report.Report(report.machine(), rounds, results, resident, trips)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    typer.run(main)
