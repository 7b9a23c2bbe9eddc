"""JSON log lines on stderr: one for each exchange, and one for each event worth a line.

A line never holds a body, a key, a digest or a header of the client; what may stand in it is listed in
`exchange_line`, and whatever looks like a secret in any line is replaced (`scrubbing.py`).

Writing to stderr can block (a full pipe), so lines are queued and written by a thread of their own; a full queue drops
lines and says how many, because a log must not stop the traffic it describes. The line of an exchange is made without
structlog's chain, which costs six times as much (see docs/decisions.md); it looks the same.
"""

from __future__ import annotations

import atexit
import logging
import logging.handlers
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

import msgspec
import structlog

from extproc.model import Explanation, Outcome
from extproc.telemetry.scrubbing import hide_secret_fields, scrubbed

QUEUE_LINES = 100_000
#: Libraries that tell at every start and stop what is nobody's business; their warnings are shown.
CHATTY = ("alembic", "uvicorn")
FLUSH_SECONDS = 0.1

EXCHANGE = "exchange"
#: What stands in every line of this process: which worker it is, where there are several.
_COMMON: dict[str, Any] = {}
_ENCODER = msgspec.json.Encoder()
#: Takes a line of JSON; `None` until `configure`, and where lines are prose or not wanted.
_write_json: Callable[[str], None] | None = None


class LineWriter:
    """Lines to a stream from a thread of its own, many with one write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._dropped = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_until_closed, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, line: str) -> None:
        """Queue one line, without its end."""
        if self._lines.qsize() < QUEUE_LINES:
            self._lines.put(line)
        else:
            self._dropped += 1

    def close(self) -> None:
        """Write what is queued and stop."""
        self._closing.set()
        self._thread.join(timeout=5)

    def _write_until_closed(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = [self._lines.get_nowait() for _ in range(self._lines.qsize())]
        if self._dropped:
            lines.append(f'{{"event": "log_lines_dropped", "count": {self._dropped}}}')
            self._dropped = 0
        if lines:
            self._put(lines)

    def _put(self, lines: list[str]) -> None:
        try:
            self._stream.write("\n".join(map(scrubbed, lines)) + "\n")
            self._stream.flush()
        except OSError:
            # A full disk, or a pipe without a reader: later lines may find room, and say how many are missing.
            self._dropped += len(lines)


def configure(stream: TextIO | None = None, level: int = logging.INFO, *, worker: int | None = None) -> LineWriter:
    """Route structlog and the standard library's logging through one queue, as JSON; as prose on a terminal.

    `worker` stands in every line, where there are several.
    """
    _COMMON.clear()
    if worker is not None:
        _COMMON["worker"] = worker
    stream = stream or sys.stderr
    writer = LineWriter(stream)
    prose = stream.isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in os.environ, repr_native_str=True)
        if prose
        else structlog.processors.JSONRenderer()
    )
    global _write_json  # noqa: PLW0603 - structlog's and logging's set-up are the process's too
    _write_json = None if prose or level > logging.INFO else writer.write
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_common,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, hide_secret_fields, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _WriterLogger(writer),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            hide_secret_fields,
            renderer,
        ],
    )
    handler = _WriterHandler(writer)
    handler.setFormatter(formatter)
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    sys.excepthook = _tell_uncaught
    return writer


def _tell_uncaught(kind: type[BaseException], error: BaseException, places: TracebackType | None) -> None:
    """What ends the process is told as ever, but for secrets in its text. No line is written any more by then."""
    sys.stderr.write(scrubbed("".join(traceback.format_exception(kind, error, places))))


def log_exchange(outcome: Outcome, busy_nanoseconds: int, *, anonymous: bool = False) -> None:
    """Write the line of one exchange; of an `anonymous` one without whose it was."""
    line = exchange_line(outcome, busy_nanoseconds)
    if anonymous:
        _forget_whose(line)
    text = _as_json(line) if _write_json is not None else None
    if text is None or _write_json is None:
        structlog.get_logger().info(EXCHANGE, **line)
    else:
        _write_json(text)


def _as_json(line: dict[str, Any]) -> str | None:
    """The line as structlog would write it; `None` where it would escape what is not ASCII."""
    line = {**line, **_COMMON, "event": EXCHANGE, "level": "info", "timestamp": _timestamp(time.time_ns())}
    try:
        return _ENCODER.encode(line).decode("ascii")
    except UnicodeError:
        return None


def _timestamp(nanoseconds: int) -> str:
    """A moment as structlog's stamper writes it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{_to_the_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def exchange_line(outcome: Outcome, busy_nanoseconds: int) -> dict[str, Any]:
    """What is logged of an exchange: identities by name, never by key or digest; numbers; the reason of a refusal."""
    line: dict[str, Any] = {
        "event_id": outcome.event_id,
        "call_id": outcome.call_id,
        "path": outcome.path,
        "status": outcome.status,
        "duration_ms": outcome.ended_at - outcome.started_at,
        "added_us": busy_nanoseconds // 1000,
    }
    if outcome.reason:
        line["reason"] = outcome.reason
    if outcome.explanation is not None:
        line["limit"] = _told(outcome.explanation)
    if outcome.over:
        line["over"] = outcome.over
    if outcome.outage:
        line["outage"] = True
    if outcome.redactions:
        line["redactions"] = {":".join(found): count for found, count in outcome.redactions.items()}
    if outcome.unsearched:
        line["unsearched"] = outcome.unsearched
    if (key := outcome.key) is not None:
        line |= {"key": key.name, "key_alias": key.alias, "user_id": key.user_id, "team_id": key.team_id}
    if outcome.model_group:
        line["model_group"] = outcome.model_group
    if (receipt := outcome.receipt) is not None:
        line |= {
            "model": receipt.model,
            "provider": receipt.provider,
            "stream": receipt.stream,
            "input_tokens": receipt.usage.input_tokens,
            "output_tokens": receipt.usage.output_tokens,
            "spend_nanos": receipt.spend,
            "unpriced": receipt.spend is None,
            "estimated": receipt.estimated,
            "cut": receipt.cut,
        }
    return line


def _forget_whose(line: dict[str, Any]) -> None:
    """Take out the key, its alias, user and team; of a limit, whose it was. The event's id leads to the ledger."""
    for name in ("key", "key_alias", "user_id", "team_id"):
        line.pop(name, None)
    line.get("limit", {}).pop("who", None)


def _told(why: Explanation) -> dict[str, Any]:
    """The limit that had no room. Amounts are in the unit of its measure; `frees_at` is milliseconds."""
    return {
        "scope": why.kind,
        "who": why.who,
        "setting": why.setting,
        "measure": why.measure,
        "maximum": why.maximum,
        "settled": why.settled,
        "held": why.held,
        "asked": why.asked,
        "frees_at": why.frees_at,
    }


def _add_common(_: object, __: str, line: Any) -> Any:
    line.update(_COMMON)
    return line


class _WriterLogger:
    """The end of structlog's chain: whatever the level, a line."""

    def __init__(self, writer: LineWriter) -> None:
        self._write = writer.write

    def __getattr__(self, _: str) -> Any:
        return self._write


class _WriterHandler(logging.Handler):
    """The end of the standard library's chain."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record))
        except Exception:  # noqa: BLE001 - a line that cannot be formatted must not end what logged it
            self.handleError(record)
