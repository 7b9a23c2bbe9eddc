"""What a person at a terminal sees of the children's logs: one short line for each request, and what is wrong.

The children log JSON lines, as they do for machines. Here the processor's line of an exchange becomes prose; Envoy's
line of the same request says less and is left out, unless Envoy answered by itself. What is below a warning is left out
too, and what is no JSON (a crash) passes as it is. Until the doors are open, lines of requests wait: some
are those of our own questions, and only the answers tell which.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from extproc.model import NANOS_PER_DOLLAR

#: Of a line without an end: more is passed on in parts.
MAX_LINE_BYTES = 1024 * 1024
#: How many requests are remembered, and how many lines may wait.
REMEMBERED = 10_000
WAITING = 1_000
_QUIET = frozenset({"", "debug", "info"})
#: What Envoy warns of whenever it is stopped as it should be.
_EXPECTED = frozenset({"caught ENVOY_SIGTERM"})
#: How Envoy's details of an answer begin that the processor gave (`codec`), and whom it names where no provider is.
REFUSAL_DETAILS = "extproc_"
_NOT_PROVIDERS = frozenset({"", "management", "nowhere"})
#: What stands in every line, and is said otherwise or not at all.
_COMMON = frozenset({"event", "level", "time", "timestamp", "logger", "exception"})

_LAYOUT = "\n\t"

Record = dict[str, Any]


class Screen:
    """Takes what children log, in pieces, and writes lines. `clock` gives the time of day as it is shown."""

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], str] = lambda: time.strftime("%H:%M:%S")
    ) -> None:
        self._write = write
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._waiting: list[Record] | None = []

    def feeder(self) -> Callable[[bytes], None]:
        """For one child: takes pieces of its log, cut anywhere."""
        held = bytearray()

        def feed(piece: bytes) -> None:
            held.extend(piece)
            *lines, rest = held.split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = [*lines, rest], bytearray()
            held[:] = rest
            for line in lines:
                self._take(bytes(line))

        return feed

    def ignore(self, request_id: str) -> None:
        """Leave out every line of this request from now on."""
        self._seen[request_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def open(self) -> None:
        """All of our own questions are known: show what has waited."""
        waiting, self._waiting = self._waiting or [], None
        for record in waiting:
            self._show_request(record)

    def _take(self, line: bytes) -> None:
        try:
            record = msgspec.json.decode(line, type=Record)
        except msgspec.DecodeError:
            if line.strip():
                self._write(printable(line.decode(errors="replace"), allowed=_LAYOUT))
            return
        if not _is_request(record):
            self._show_event(record)
        elif self._waiting is None:
            self._show_request(record)
        elif len(self._waiting) < WAITING:
            self._waiting.append(record)

    def _show_request(self, record: Record) -> None:
        request_id = str(record.get("call_id") or record.get("request_id", ""))
        if request_id in self._seen or _is_told_better(record):
            return
        prose = exchange(record) if "call_id" in record else access(record)
        self._write(f"{self._clock()}  {printable(prose)}")
        self.ignore(request_id)

    def _show_event(self, record: Record) -> None:
        event, level = str(record.get("event", "")), str(record.get("level", ""))
        if level in _QUIET or event in _EXPECTED:
            return
        details = "".join(f"  {name}={value}" for name, value in record.items() if name not in _COMMON)
        trace = f"\n{record['exception']}" if "exception" in record else ""
        self._write(f"{self._clock()}  {printable(f'{level}: {event}{details}{trace}', allowed=_LAYOUT)}")


def exchange(record: Record) -> str:
    """The processor's line, `telemetry.logs.exchange_line`, for a person."""
    parts = [str(record.get("status", "")), str(record.get("path", ""))]
    parts += [str(record[name]) for name in ("reason", "model_group", "key_alias") if record.get(name)]
    if "input_tokens" in record:
        parts += [f"{record['input_tokens']} + {record['output_tokens']} tokens", _spend(record)]
    parts += [mark for mark in ("cut", "estimated") if record.get(mark)]
    return "  ".join([*parts, duration(record.get("duration_ms", 0))])


def access(record: Record) -> str:
    """Envoy's line, `envoyconfig.access_log`, for a person."""
    status = record.get("status", 0)
    parts = [str(status), f"{record.get('method', '')} {record.get('path', '')}"]
    if status == 0 or status >= 500:
        parts.append(str(record.get("upstream_failure") or record.get("details", "")))
    return "  ".join([*parts, duration(record.get("duration_ms", 0))])


def duration(milliseconds: int) -> str:
    """`7 ms`, or `1.9 s` from a second on."""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def printable(text: str, allowed: str = "") -> str:
    """The text without what a terminal would obey: names in it may be a client's own."""
    return "".join(each if each.isprintable() or each in allowed else "\ufffd" for each in text)


def _spend(record: Record) -> str:
    nanos = record.get("spend_nanos")
    return "no price" if nanos is None else f"${nanos / NANOS_PER_DOLLAR:.6f}"


def _is_told_better(record: Record) -> bool:
    """Whether this is Envoy's line of what the processor refused, or let pass to a provider: it tells that itself."""
    refused = str(record.get("details", "")).startswith(REFUSAL_DETAILS)
    return refused or record.get("upstream", "") not in _NOT_PROVIDERS


def _is_request(record: Record) -> bool:
    return "call_id" in record or ("request_id" in record and "event" not in record)
