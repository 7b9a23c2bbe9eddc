"""One JSON line for each exchange, and nothing in it that should not be seen."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import sys
import threading
from contextlib import closing, contextmanager

import msgspec
import pytest
import structlog

from extproc.model import Explanation, Key, Outcome, Receipt, Usage
from extproc.telemetry import logs
from extproc.telemetry.logs import LineWriter, exchange_line

DIGEST = "d" * 64
KEY = Key(digest=DIGEST, name="sk-...abcd", alias="laptop", user_id="ada", team_id="core")
RECEIPT = Receipt(
    event_id="event",
    call_id="call",
    key_digest=DIGEST,
    started_at=1_000,
    ended_at=2_500,
    operation="chat",
    path="/v1/chat/completions",
    model_group="gpt",
    model="gpt-4o-mini",
    model_id="id",
    provider="openai",
    api_base="https://api.example/v1",
    http_status=200,
    status="success",
    stream=True,
    usage=Usage(input_tokens=8, output_tokens=61),
    spend=37_800,
    end_user="the client's customer",
    requester_ip="192.0.2.7",
    user_agent="curl",
    metadata={"secret": "of the client"},
)
OUTCOME = Outcome(
    event_id="event",
    call_id="call",
    path="/v1/chat/completions",
    started_at=1_000,
    ended_at=2_500,
    status=200,
    reason="",
    model_group="gpt",
    key=KEY,
    receipt=RECEIPT,
)


@contextmanager
def configured(stream, level=logging.INFO, **options):
    """Logging goes to `stream`; afterwards it is as it was."""
    root, chatty = logging.root, [logging.getLogger(name) for name in logs.CHATTY]
    handlers, levels, hook = root.handlers[:], [logger.level for logger in (root, *chatty)], sys.excepthook
    try:
        with closing(logs.configure(stream, level, **options)) as writer:
            yield writer
    finally:
        root.handlers[:] = handlers
        sys.excepthook = hook
        for logger, level in zip((root, *chatty), levels, strict=True):
            logger.setLevel(level)
        structlog.reset_defaults()


@pytest.fixture
def logged_text():
    """Ends what is logged and gives it."""
    stream = io.StringIO()
    with configured(stream) as writer:

        def text():
            writer.close()
            return stream.getvalue()

        yield text


@pytest.fixture
def logged(logged_text):
    """Ends what is logged and gives its lines."""
    return lambda: [json.loads(line) for line in logged_text().splitlines()]


def test_an_exchange_is_told_by_names_and_numbers():
    line = exchange_line(OUTCOME, 1_234_567)

    assert line == {
        "event_id": "event",
        "call_id": "call",
        "path": "/v1/chat/completions",
        "status": 200,
        "duration_ms": 1_500,
        "added_us": 1_234,
        "key": "sk-...abcd",
        "key_alias": "laptop",
        "user_id": "ada",
        "team_id": "core",
        "model_group": "gpt",
        "model": "gpt-4o-mini",
        "provider": "openai",
        "stream": True,
        "input_tokens": 8,
        "output_tokens": 61,
        "spend_nanos": 37_800,
        "unpriced": False,
        "estimated": False,
        "cut": False,
    }


def test_a_refusal_is_told_with_its_reason_and_without_what_never_was():
    refused = msgspec.structs.replace(
        OUTCOME, status=401, reason="no_credential", model_group="", key=None, receipt=None
    )

    assert exchange_line(refused, 0) == {
        "event_id": "event",
        "call_id": "call",
        "path": "/v1/chat/completions",
        "status": 401,
        "duration_ms": 1_500,
        "added_us": 0,
        "reason": "no_credential",
    }


def test_a_limit_without_room_is_told_with_every_amount():
    why = Explanation(
        kind="api_key", who="laptop (sk-...abcd)", measure="requests", setting="rpm_limit", maximum=10, settled=9,
        held=1, asked=1, frees_at=60_000,
    )  # fmt: skip

    line = exchange_line(msgspec.structs.replace(OUTCOME, reason="requests_limited", explanation=why), 0)

    assert line["limit"] == {
        "scope": "api_key", "who": "laptop (sk-...abcd)", "measure": "requests", "setting": "rpm_limit",
        "maximum": 10, "settled": 9, "held": 1, "asked": 1, "frees_at": 60_000,
    }  # fmt: skip


def test_limits_that_were_exceeded_without_refusal_and_an_outage_are_told():
    line = exchange_line(msgspec.structs.replace(OUTCOME, over=("api_key:soft_budget",), outage=True), 0)

    assert (line["over"], line["outage"]) == (("api_key:soft_budget",), True)
    assert {"over", "outage", "limit"}.isdisjoint(exchange_line(OUTCOME, 0))


def test_of_several_workers_every_line_says_which():
    stream = io.StringIO()
    with configured(stream, worker=2):
        logs.log_exchange(OUTCOME, 1_000)
        structlog.get_logger().info("told by us")
        logging.getLogger("asyncio").warning("told by others")

    assert [json.loads(line)["worker"] for line in stream.getvalue().splitlines()] == [2, 2, 2]


def test_neither_digest_nor_address_nor_anything_of_the_body_is_told():
    text = json.dumps(exchange_line(OUTCOME, 0))

    for hidden in (DIGEST, "192.0.2.7", "customer", "curl", "of the client", "api.example"):
        assert hidden not in text


def test_an_unknown_price_is_told_and_never_zero():
    line = exchange_line(msgspec.structs.replace(OUTCOME, receipt=msgspec.structs.replace(RECEIPT, spend=None)), 0)

    assert (line["spend_nanos"], line["unpriced"]) == (None, True)


def test_an_exchange_is_one_line_of_json(logged):
    structlog.get_logger().info("exchange", **exchange_line(OUTCOME, 0), model_name='two\nlines and "quotes"')

    (line,) = logged()
    assert line["event"] == "exchange"
    assert line["level"] == "info"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
    assert line["model_name"] == 'two\nlines and "quotes"'


@pytest.mark.parametrize("alias", ["laptop", "Bücher", "\ud800", 'two\nlines and "quotes"'])
def test_the_line_of_an_exchange_is_as_structlog_would_write_it(logged, alias):
    outcome = msgspec.structs.replace(OUTCOME, key=msgspec.structs.replace(KEY, alias=alias))

    logs.log_exchange(outcome, 1_000)
    structlog.get_logger().info("exchange", **exchange_line(outcome, 1_000))

    ours, theirs = logged()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", ours.pop("timestamp"))
    assert theirs.pop("timestamp")
    assert list(ours.items()) == list(theirs.items())


def test_the_line_of_an_exchange_is_ascii_and_whole(logged_text):
    logs.log_exchange(msgspec.structs.replace(OUTCOME, model_group="Bücher\n"), 1_000)

    (line,) = logged_text().splitlines()
    assert line.isascii()


def test_the_standard_librarys_logging_becomes_the_same_lines(logged):
    logging.getLogger("extproc.server").warning("protocol_error", extra={"event_id": "event", "error": "bad"})
    try:
        int("why")
    except ValueError:
        logging.getLogger("asyncio").exception("failed %s", "here")

    first, second = logged()
    assert (first["event"], first["level"], first["event_id"], first["error"]) == (
        "protocol_error",
        "warning",
        "event",
        "bad",
    )
    assert second["event"] == "failed here"
    assert second["exception"].endswith("ValueError: invalid literal for int() with base 10: 'why'")


@pytest.mark.parametrize("name", ["alembic.runtime.migration", "uvicorn.error", "uvicorn.access"])
def test_libraries_are_heard_only_when_something_is_wrong(logged, name):
    logging.getLogger(name).info("Context impl SQLiteImpl.")
    logging.getLogger(name).warning("trouble")

    assert [line["event"] for line in logged()] == ["trouble"]


def test_what_is_below_the_level_is_not_written(logged):
    logging.getLogger("extproc").debug("detail")
    structlog.get_logger().debug("detail")

    assert logged() == []


def test_exchanges_below_the_level_are_not_written_either():
    stream = io.StringIO()
    with configured(stream, logging.WARNING):
        logs.log_exchange(OUTCOME, 1_000)

    assert stream.getvalue() == ""


def test_a_line_that_cannot_be_formatted_ends_nothing(logged, capfd, monkeypatch):
    # Without pytest's own handler, which raises.
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:1])
    logging.getLogger("extproc").warning("%d", "no number")
    logging.getLogger("extproc").warning("next")

    assert [line["event"] for line in logged()] == ["next"]
    assert "no number" in capfd.readouterr().err


def test_a_terminal_gets_prose_that_a_client_cannot_steer():
    ours, theirs = os.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a descriptor
        with configured(terminal):
            structlog.get_logger().info("exchange", model_group="\x1b[2Jgpt")
            logs.log_exchange(OUTCOME, 1_000)
        text = os.read(ours, 65536).decode()
    os.close(ours)

    assert "exchange" in text
    assert "{" not in text
    assert "\x1b[2J" not in text


class Stuck(io.StringIO):
    """A stream whose reader has gone for a while."""

    def __init__(self):
        super().__init__()
        self.reached = threading.Event()
        self.free = threading.Event()

    def write(self, text):
        self.reached.set()
        assert self.free.wait(30)
        return super().write(text)


def test_a_full_queue_drops_lines_says_how_many_and_never_waits(monkeypatch):
    monkeypatch.setattr(logs, "QUEUE_LINES", 3)
    stream = Stuck()
    with closing(LineWriter(stream)) as writer:
        writer.write("first")
        assert stream.reached.wait(30)
        for number in range(8):
            writer.write(f"line {number}")
        stream.free.set()

    assert stream.getvalue().splitlines() == [
        "first",
        "line 0",
        "line 1",
        "line 2",
        '{"event": "log_lines_dropped", "count": 5}',
    ]


def test_what_is_queued_is_written_before_the_end():
    stream = io.StringIO()
    with closing(LineWriter(stream)) as writer:
        for number in range(1_000):
            writer.write(str(number))

    assert stream.getvalue() == "".join(f"{number}\n" for number in range(1_000))


def test_lines_of_many_threads_stay_whole():
    stream = io.StringIO()
    with closing(LineWriter(stream)) as writer:

        def write():
            for _ in range(200):
                writer.write("x" * 100)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert stream.getvalue() == ("x" * 100 + "\n") * 800


class Disk(io.StringIO):
    """A stream that can run out of room."""

    def __init__(self) -> None:
        super().__init__()
        self.full = True
        self.refused = threading.Event()

    def write(self, text: str) -> int:
        if self.full:
            self.refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_log_on_a_full_disk_goes_on_when_there_is_room_and_says_what_is_missing():
    disk = Disk()
    with closing(LineWriter(disk)) as writer:
        writer.write("lost")
        assert disk.refused.wait(30)
        disk.full = False
        writer.write("kept")

    lines = disk.getvalue().splitlines()
    assert "kept" in lines
    assert [json.loads(line) for line in lines if line != "kept"] == [{"event": "log_lines_dropped", "count": 1}]
