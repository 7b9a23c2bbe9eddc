"""An event stream gives the same events, to the byte, however it arrives in pieces."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.framing.sse import SseEvent, SseFramer

pieces = st.sampled_from(
    [
        *(b"data: a", b"data:b", b"data:  c", b"data", b"data:", b": comment", b"event: x", b"id", b"dat", b" "),
        *(b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r", b"\xef\xbb\xbf", "data: ü".encode()),
    ]
)
streams = st.lists(pieces, max_size=20).map(b"".join)


def frame(chunks, **options):
    framer = SseFramer(**options)
    events = [event for chunk in chunks for event in framer.feed(chunk)] + framer.flush()
    assert not framer.pending
    return events


def cut(stream, places):
    bounds = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(bounds)]


def read_whole(stream):
    """WHATWG's rules, applied to a whole text; an unfinished last event counts."""
    lines = re.sub(rb"\r\n|\r", b"\n", stream.removeprefix(b"\xef\xbb\xbf")).split(b"\n")
    found: list[bytes] = []
    data: list[bytes] = []
    for line in [*lines, b""]:
        if not line:
            found.append(b"\n".join(data))
            data = []
        elif line == b"data" or line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    return [joined for joined in found if joined]


@given(streams, st.lists(st.integers(0, 80), max_size=12))
def test_no_byte_is_lost_or_invented(stream, places):
    assert b"".join(event.raw for event in frame(cut(stream, places))) == stream


@given(streams, st.lists(st.integers(0, 80), max_size=12))
def test_events_do_not_depend_on_the_chunks(stream, places):
    assert frame(cut(stream, places)) == frame([stream])


@given(streams)
def test_events_byte_by_byte_are_those_of_the_whole(stream):
    assert frame([stream[i : i + 1] for i in range(len(stream))]) == frame([stream])


@given(streams)
def test_data_is_what_the_standard_reads(stream):
    assert [event.data for event in frame([stream]) if event.data] == read_whole(stream)


@given(streams, st.lists(st.integers(0, 80), max_size=12), st.integers(1, 12))
def test_beyond_the_limit_still_no_byte_is_lost(stream, places, limit):
    assert b"".join(event.raw for event in frame(cut(stream, places), limit=limit)) == stream


@given(st.binary(max_size=60).filter(lambda junk: not set(junk) & {10, 13}), st.lists(st.integers(0, 80), max_size=9))
def test_after_an_event_that_was_too_long_the_next_is_read(junk, places):
    stream = b"data: " + junk + b"\n\ndata: next\n\n"

    events = frame(cut(stream, places), limit=20)

    assert events[-1] == SseEvent(b"data: next\n\n", b"next")


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", []),
        (b'data: {"a":1}\n\n', [(b'data: {"a":1}\n\n', b'{"a":1}')]),
        (b"data:x\r\n\r\n", [(b"data:x\r\n\r\n", b"x")]),
        (b"data: x\r\r", [(b"data: x\r\r", b"x")]),
        (b"data:  x\n\n", [(b"data:  x\n\n", b" x")]),
        (b"data: a\ndata: b\n\n", [(b"data: a\ndata: b\n\n", b"a\nb")]),
        (b"event: e\ndata: a\nid: 1\n\n", [(b"event: e\ndata: a\nid: 1\n\n", b"a")]),
        (b": ping\n\ndata: a\n\n", [(b": ping\n\n", b""), (b"data: a\n\n", b"a")]),
        (b"\ndata: a\n\n\n", [(b"\n", b""), (b"data: a\n\n", b"a"), (b"\n", b"")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"\xef\xbb\xbfdata: a\n\n", b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"data: a\n\n", b"a"), (b"\xef\xbb\xbfdata: b\n\n", b"")]),
        (b"data: [DONE]", [(b"data: [DONE]", b"[DONE]")]),
        (b"database: x\n\n", [(b"database: x\n\n", b"")]),
    ],
)
def test_examples(stream, events):
    assert frame([stream]) == [SseEvent(raw, data) for raw, data in events]


def test_an_event_is_given_as_soon_as_its_blank_line_has_arrived():
    framer = SseFramer()

    assert framer.feed(b"data: a\n") == []
    assert framer.pending
    assert framer.feed(b"\ndata: b") == [SseEvent(b"data: a\n\n", b"a")]
    assert framer.pending
    assert framer.feed(b"\n\n") == [SseEvent(b"data: b\n\n", b"b")]
    assert not framer.pending


def test_a_carriage_return_waits_for_its_other_half():
    framer = SseFramer()

    assert framer.feed(b"data: a\r\n\r") == []
    assert framer.feed(b"\n") == [SseEvent(b"data: a\r\n\r\n", b"a")]


def test_an_empty_chunk_changes_nothing():
    framer = SseFramer()

    assert framer.feed(b"") == []
    assert not framer.pending


def test_an_event_over_the_limit_passes_unread_and_its_rest_at_once():
    framer = SseFramer(limit=10)

    assert framer.feed(b"data: 0123456789") == [SseEvent(b"data: 0123456789", b"")]
    assert framer.pending
    assert framer.feed(b"abc") == [SseEvent(b"abc", b"")]
    assert framer.feed(b"") == []
    assert framer.feed(b"d\n") == [SseEvent(b"d\n", b"")]
    assert framer.feed(b"\ndata: x\n\n") == [SseEvent(b"\n", b""), SseEvent(b"data: x\n\n", b"x")]
    assert not framer.pending


def test_a_blank_line_that_straddles_the_limit_ends_the_event():
    framer = SseFramer(limit=10)

    assert framer.feed(b"data: 01234\r\r") == [SseEvent(b"data: 01234\r\r", b"")]
    assert framer.feed(b"data: x\n\n") == [SseEvent(b"data: x\n\n", b"x")]


def test_an_event_larger_than_the_limit_is_read_if_it_arrives_at_once():
    assert frame([b"data: 0123456789\n\n"], limit=5) == [SseEvent(b"data: 0123456789\n\n", b"0123456789")]


def test_a_long_line_in_many_chunks_is_held_and_joined_once():
    chunks = [b"data: "] + [b"x" * 100] * 5000 + [b"\n\n"]

    (event,) = frame(chunks)

    assert event == SseEvent(b"".join(chunks), b"x" * 500_000)
