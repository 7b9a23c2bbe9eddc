"""What a person at a terminal sees of the children's logs."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.supervisor import screen
from extproc.supervisor.screen import Screen

EXCHANGE = {
    "event": "exchange",
    "level": "info",
    "call_id": "one",
    "path": "/v1/chat/completions",
    "status": 200,
    "duration_ms": 1714,
    "model_group": "gpt-4o-mini",
    "key_alias": "laptop",
    "input_tokens": 8,
    "output_tokens": 61,
    "spend_nanos": 37_800,
    "estimated": False,
    "cut": False,
}
ACCESS = {
    "request_id": "two",
    "method": "GET",
    "path": "/key/list",
    "status": 200,
    "duration_ms": 8,
    "upstream": "management",
}
EXCHANGE_PROSE = "12:00:00  200  /v1/chat/completions  gpt-4o-mini  laptop  8 + 61 tokens  $0.000038  1.7 s"
ACCESS_PROSE = "12:00:00  200  GET /key/list  8 ms"


def log(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


class Watched:
    """A screen and what is on it."""

    def __init__(self, *, is_open=True):
        self.lines: list[str] = []
        self.screen = Screen(self.lines.append, lambda: "12:00:00")
        if is_open:
            self.screen.open()
        self.feed = self.screen.feeder()


def test_a_request_is_one_short_line():
    watched = Watched()
    watched.feed(log(EXCHANGE, ACCESS))

    assert watched.lines == [EXCHANGE_PROSE, ACCESS_PROSE]


@pytest.mark.parametrize("first", ["the processor", "Envoy"])
@pytest.mark.parametrize("line", [{"upstream": "openai"}, {"upstream": "nowhere", "details": "extproc_no_credential"}])
def test_envoys_line_of_what_the_processor_tells_is_left_out(first, line):
    watched = Watched()
    lines = [log(EXCHANGE), log(ACCESS | {"request_id": "one"} | line)]
    for each in lines if first == "the processor" else reversed(lines):
        watched.screen.feeder()(each)

    assert watched.lines == [EXCHANGE_PROSE]


def test_envoys_line_of_an_exchange_that_ended_otherwise_is_left_out_once_it_was_told():
    watched = Watched()
    watched.feed(log(EXCHANGE, ACCESS | {"request_id": "one", "upstream": "nowhere", "details": "ext_proc_error"}))

    assert watched.lines == [EXCHANGE_PROSE]


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            {
                "call_id": "x",
                "path": "/v1/chat/completions",
                "status": 401,
                "reason": "no_credential",
                "duration_ms": 0,
            },
            "401  /v1/chat/completions  no_credential  0 ms",
        ),
        (
            EXCHANGE | {"spend_nanos": None, "cut": True, "estimated": True},
            "200  /v1/chat/completions  gpt-4o-mini  laptop  8 + 61 tokens  no price  cut  estimated  1.7 s",
        ),
        (
            ACCESS | {"status": 503, "details": "ext_proc_error", "duration_ms": 1000},
            "503  GET /key/list  ext_proc_error  1.0 s",
        ),
        (
            ACCESS | {"status": 503, "details": "reset", "upstream_failure": "connection refused"},
            "503  GET /key/list  connection refused  8 ms",
        ),
        (
            ACCESS | {"status": 0, "details": "downstream_remote_disconnect"},
            "0  GET /key/list  downstream_remote_disconnect  8 ms",
        ),
    ],
)
def test_what_went_wrong_is_in_the_line(record, line):
    watched = Watched()
    watched.feed(log(record))

    assert watched.lines == [f"12:00:00  {line}"]


def test_our_own_questions_are_left_out_and_others_are_not_though_they_came_before_the_start():
    watched = Watched(is_open=False)
    watched.feed(log(EXCHANGE, ACCESS))
    assert watched.lines == []
    watched.screen.ignore("one")
    watched.screen.open()
    watched.feed(log(EXCHANGE))

    assert watched.lines == [ACCESS_PROSE]


def test_warnings_are_shown_at_once_with_what_they_say_and_the_rest_is_not():
    watched = Watched(is_open=False)
    watched.feed(
        log(
            {"event": "serving", "level": "info", "worker": 0},
            {"event": "protocol_error", "level": "warning", "timestamp": "now", "error": "bad"},
            {"event": "failed", "level": "error", "exception": "Traceback\n  here"},
            {"event": "caught ENVOY_SIGTERM", "level": "warning", "logger": "envoy.main"},
        )
    )

    assert watched.lines == [
        "12:00:00  warning: protocol_error  error=bad",
        "12:00:00  error: failed\nTraceback\n  here",
    ]


def test_what_is_no_json_passes_as_it_is():
    watched = Watched(is_open=False)
    watched.feed(b"Traceback (most recent call last):\n\n  File \xff\n[1]\n")

    assert watched.lines == ["Traceback (most recent call last):", "  File \ufffd", "[1]"]


def test_a_client_cannot_steer_the_terminal_nor_forge_a_line():
    watched = Watched()
    watched.feed(
        log({"call_id": "x", "path": "/v1", "status": 400, "model_group": "\x1b[2J\n12:00:01  200", "duration_ms": 1})
    )
    watched.feed(log({"event": "odd", "level": "warning", "name": "\x1b]0;title\x07"}))
    watched.feed(b"crash \x1b[31m\n")

    assert watched.lines == [
        "12:00:00  400  /v1  \ufffd[2J\ufffd12:00:01  200  1 ms",
        "12:00:00  warning: odd  name=\ufffd]0;title\ufffd",
        "crash \ufffd[31m",
    ]


@given(st.lists(st.integers(0, 400), max_size=8))
def test_lines_are_the_same_however_the_log_is_cut(cuts):
    whole = log(EXCHANGE, ACCESS) + b"crash\n"
    watched = Watched()
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    for start, end in pairwise(edges):
        watched.feed(whole[start:end])

    assert watched.lines == [EXCHANGE_PROSE, ACCESS_PROSE, "crash"]


def test_two_children_may_write_at_the_same_time():
    watched = Watched()
    other = watched.screen.feeder()
    first, second = log(EXCHANGE), log(ACCESS)
    watched.feed(first[:20])
    other(second[:20])
    watched.feed(first[20:])
    other(second[20:])

    assert watched.lines == [EXCHANGE_PROSE, ACCESS_PROSE]


def test_neither_a_line_without_an_end_nor_many_requests_fill_the_memory(monkeypatch):
    monkeypatch.setattr(screen, "MAX_LINE_BYTES", 10)
    monkeypatch.setattr(screen, "REMEMBERED", 2)
    monkeypatch.setattr(screen, "WAITING", 1)
    watched = Watched(is_open=False)
    watched.feed(b"x" * 8)
    watched.feed(b"x" * 8)
    watched.feed(log(ACCESS, ACCESS | {"request_id": "three"}))
    for number in range(5):
        watched.screen.ignore(str(number))
    watched.screen.open()

    assert watched.lines == ["x" * 16, ACCESS_PROSE]
    assert len(watched.screen._seen) == 2
