"""Every case on every arm, in turn and several times over, and the medians of what came out.

The arms take turns within a round, so that whatever else the machine does falls on all of them; a comparison of two
arms is the median of its rounds, each compared with itself, never one arm's best with another's worst.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterable

import msgspec

from benchmarks import payloads
from benchmarks.arms import PROCESSOR, Arm
from benchmarks.load import Order, Tally
from benchmarks.processes import ROOT, UnixConnection, module
from benchmarks.round_trips import RoundTrips, counted

#: Headers and body, both ways. Fewer mean that the processor was passed by, and the numbers would compare nothing.
LEAST_MESSAGES = 4
MICRO = 1e6
MILLI = 1e3


class Case(msgspec.Struct, frozen=True):
    """A kind of traffic. `pace_ms` lies between two chunks of a stream, so that each travels alone."""

    name: str
    stream: bool
    connections: int
    warm_up: int
    requests: int
    pace_ms: int = 0


CASES = (
    Case("plain, 1 connection", False, 1, 100, 400),
    Case("plain, 32 connections", False, 32, 300, 1500),
    Case("stream, 1 connection", True, 1, 2, 10, pace_ms=1),
    Case("stream, 16 connections", True, 16, 16, 64, pace_ms=4),
)


def shortened(case: Case) -> Case:
    """The same case with a quarter of the requests."""
    return msgspec.structs.replace(
        case,
        warm_up=max(case.connections, case.warm_up // 4),
        requests=max(2 * case.connections, case.requests // 4),
    )


class Sample(msgspec.Struct, frozen=True):
    """One case on one arm in one round. Times are milliseconds; `cpu_us` is per request, of each process.

    `messages` is how many ext_proc messages Envoy sent for each exchange, by its own count; 0 without a processor.
    """

    requests: int
    per_second: float
    p50: float
    p99: float
    first_byte: float
    cpu_us: dict[str, float]
    messages: float


class Result(msgspec.Struct, frozen=True):
    """All rounds of one case on one arm."""

    arm: str
    case: str
    rounds: list[Sample]

    def median(self, of: Callable[[Sample], float]) -> float:
        return statistics.median(of(sample) for sample in self.rounds)

    def cpu(self, process: str) -> float | None:
        """Microseconds per request of a process, `None` where the arm has no such process."""
        if process not in self.rounds[0].cpu_us:
            return None
        return self.median(lambda sample: sample.cpu_us[process])


def run(
    arms: Iterable[Arm], cases: Iterable[Case], *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Result]:
    """Measure. `seconds` bounds each run of a case."""
    arms, cases = list(arms), list(cases)
    results = {(arm.name, case.name): Result(arm.name, case.name, []) for case in cases for arm in arms}
    for number in range(1, rounds + 1):
        for case in cases:
            for arm in arms:
                sample = _measure(arm, case, seconds)
                results[arm.name, case.name].rounds.append(sample)
                say(f"round {number}/{rounds}  {case.name:24}{arm.name:33}{_in_short(sample)}")
    return list(results.values())


def round_trips(arm: Arm, cases: Iterable[Case], seconds: float) -> list[RoundTrips]:
    """What the arm's Redis is asked for each exchange, the warm-up's included."""
    assert arm.redis is not None
    told = []
    for case in cases:
        with counted(arm.redis) as asked:
            tally = _carry_out(_order(arm, case, seconds), arm.name)
        exchanges = tally.requests + case.warm_up
        told.append(RoundTrips(case.name, {name: count / exchanges for name, count in sorted(asked.items())}))
    return told


def _measure(arm: Arm, case: Case, seconds: float) -> Sample:
    sent_before = _messages_sent(arm)
    tally = _carry_out(_order(arm, case, seconds), arm.name)
    messages = (_messages_sent(arm) - sent_before) / (tally.requests + case.warm_up)
    if PROCESSOR in arm.pids and messages < LEAST_MESSAGES:
        raise RuntimeError(f"{arm.name}: the processor was asked {messages:.1f} times for each exchange")
    return _sample(tally, messages)


def _order(arm: Arm, case: Case, seconds: float) -> Order:
    authority = f"127.0.0.1:{arm.port}"
    return Order(
        port=arm.port,
        request=payloads.request(authority, arm.api_key, stream=case.stream, pace_ms=case.pace_ms, more=arm.said),
        connections=case.connections,
        warm_up=case.warm_up,
        requests=case.requests,
        seconds=seconds,
        watch=arm.pids,
    )


def _carry_out(order: Order, arm: str) -> Tally:
    done = subprocess.run(
        module("benchmarks.load"), input=msgspec.json.encode(order), capture_output=True, check=False, cwd=ROOT
    )
    if done.returncode != 0:
        raise RuntimeError(f"{arm}: {done.stderr.decode(errors='replace')}")
    return msgspec.json.decode(done.stdout, type=Tally)


def _sample(tally: Tally, messages: float) -> Sample:
    cpu = {name: seconds / tally.requests * MICRO for name, seconds in tally.cpu.items()}
    return Sample(
        requests=tally.requests,
        per_second=tally.requests / tally.seconds,
        p50=percentile(tally.latencies, 50) * MILLI,
        p99=percentile(tally.latencies, 99) * MILLI,
        first_byte=percentile(tally.first_bytes, 50) * MILLI,
        cpu_us=cpu | {"load": tally.own_cpu / tally.requests * MICRO},
        messages=messages,
    )


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def _messages_sent(arm: Arm) -> int:
    if arm.admin_socket is None:
        return 0
    connection = UnixConnection(arm.admin_socket)
    connection.request("GET", "/stats?format=json&filter=ext_proc.*stream_msgs_sent")
    stats = json.loads(connection.getresponse().read())["stats"]
    connection.close()
    return sum(stat["value"] for stat in stats if "value" in stat)


def _in_short(sample: Sample) -> str:
    cpu = "  ".join(f"{name} {used:.0f}" for name, used in sample.cpu_us.items())
    return f"{sample.per_second:8.1f}/s  p50 {sample.p50:.2f} ms  CPU µs: {cpu}"
