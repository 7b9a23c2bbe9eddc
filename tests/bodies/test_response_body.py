"""What a response used, and what goes on to the client, whatever the chunking."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies import response
from extproc.bodies.response import EventStreamBody, OpaqueBody, PlainBody
from extproc.model import Usage
from extproc.pricing import tokens
from extproc.providers import openai_chat

USAGE = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}


def chunk(**fields) -> bytes:
    return json.dumps({"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06"} | fields).encode()


def delta(text: str, **fields) -> bytes:
    return chunk(choices=[{"index": 0, "delta": {"content": text}}], **fields)


def stream(*datas: bytes, end: bytes = b"\n") -> bytes:
    return b"".join(b"data: " + data + end + end for data in datas)


USAGE_EVENT = chunk(choices=[], usage=USAGE)
TEXTS = [delta("Hello", usage=None), delta(' "usage": {', usage=None), delta(" [DONE]", usage=None)]
FULL = stream(*TEXTS, USAGE_EVENT, b"[DONE]")
HIDDEN = stream(*TEXTS, b"[DONE]")


def run(body: response.ResponseBody, chunks: list[bytes]) -> bytes:
    out = []
    for piece in chunks:
        passed = body.feed(piece)
        out.append(piece if passed is None else passed)
    out.append(body.flush())
    return b"".join(out)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=40), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_any_chunking_gives_the_same_bytes_and_the_same_usage(places, end, hide):
    full = stream(*TEXTS, USAGE_EVENT, b"[DONE]", end=end)
    expected = stream(*TEXTS, b"[DONE]", end=end) if hide else full
    body = EventStreamBody(openai_chat, hide_usage=hide)

    assert run(body, cut(full, places)) == expected
    assert body.usage == Usage(input_tokens=8, output_tokens=3)
    assert (body.response_id, body.model) == ("chatcmpl-1", "gpt-4o-2024-08-06")
    assert body.finished


@given(st.lists(st.integers(0, 10_000), max_size=20), st.integers(0, 10_000))
def test_a_cut_stream_is_counted_the_same_whatever_the_chunking(places, length):
    seen = HIDDEN[: length % len(HIDDEN)]
    whole, pieces = (EventStreamBody(openai_chat, hide_usage=True) for _ in range(2))
    run(whole, [seen])

    run(pieces, cut(seen, places))

    assert pieces.seen_tokens() == whole.seen_tokens()


def test_a_stream_is_finished_as_soon_as_its_end_is_in_our_hands():
    body = EventStreamBody(openai_chat, hide_usage=True)
    body.feed(stream(TEXTS[0], USAGE_EVENT))
    assert not body.finished

    assert body.feed(stream(b"[DONE]")) is None
    assert body.finished


def test_half_an_end_is_held_back():
    body = EventStreamBody(openai_chat, hide_usage=False)

    assert body.feed(b"data: [DO") == b""
    assert not body.finished
    assert body.feed(b"NE]\n\n") == b"data: [DONE]\n\n"


def test_the_common_chunk_is_passed_untouched_and_unparsed():
    body = EventStreamBody(openai_chat, hide_usage=True)
    body.feed(stream(TEXTS[0]))

    assert body.feed(stream(b"not json at all")) is None
    assert body.response_id == "chatcmpl-1"


def test_a_client_that_asked_for_usage_sees_it():
    body = EventStreamBody(openai_chat, hide_usage=False)

    assert run(body, [FULL]) == FULL


def test_usage_that_comes_with_text_is_never_hidden():
    last = delta("bye", usage=USAGE)
    body = EventStreamBody(openai_chat, hide_usage=True)

    assert run(body, [stream(last)]) == stream(last)
    assert body.usage == Usage(input_tokens=8, output_tokens=3)


def test_a_long_stream_is_folded_so_that_memory_stays_bounded():
    body = EventStreamBody(openai_chat, hide_usage=True)
    event = stream(delta("word "))
    count = 3 * response.KEPT_BYTES // len(event)
    for _ in range(count):
        body.feed(event)

    assert body._kept_size <= response.KEPT_BYTES
    assert body.seen_tokens() == pytest.approx(count, rel=0.02)


def test_a_plain_response_is_passed_as_it_comes_but_for_its_last_byte_and_read_before_that():
    document = json.dumps(
        {"id": "chatcmpl-2", "model": "m", "choices": [{"message": {"content": "hi"}}], "usage": USAGE}
    ).encode()
    body = PlainBody(openai_chat, 1_000)

    assert [body.feed(document[:10]), body.feed(document[10:-1])] == [document[:9], document[9:-2]]
    before = body.finished
    assert body.feed(document[-1:]) == document[-2:]

    assert (before, body.finished) == (False, True)
    assert (body.response_id, body.model, body.usage) == ("chatcmpl-2", "m", Usage(input_tokens=8, output_tokens=3))


def test_a_plain_response_without_usage_is_counted_by_its_text():
    body = PlainBody(openai_chat, 1_000)
    body.feed(json.dumps({"choices": [{"message": {"content": "hello there"}}]}).encode())
    body.flush()

    assert body.usage is None
    assert body.seen_tokens() == tokens.count("hello there")


def test_a_response_over_the_limit_is_passed_unread_and_estimated_by_its_size():
    body = PlainBody(openai_chat, 100)
    passed = b"".join(body.feed(b"x" * 40) or b"" for _ in range(10))
    assert passed + body.flush() == b"x" * 400

    assert body.usage is None
    assert body.seen_tokens() == 400 // response.BYTES_PER_TOKEN


@given(st.lists(st.binary(), max_size=8), st.booleans())
def test_a_whole_response_is_never_passed_before_its_end_was_seen(chunks, plain):
    body = PlainBody(openai_chat, 1_000) if plain else OpaqueBody()
    whole = b"".join(chunks)

    passed = b"".join(body.feed(chunk) or b"" for chunk in chunks)

    # A document that ends is read, and then all of it may pass.
    assert passed == whole[:-1] or body.finished
    assert passed + body.flush() == whole


def test_an_opaque_response_is_never_looked_into():
    body = OpaqueBody()

    assert body.feed(b"\x1f\x8b" * 20) == (b"\x1f\x8b" * 20)[:-1]
    assert body.flush() == b"\x8b"
    assert body.finished
    assert (body.usage, body.seen_tokens()) == (None, 10)


def test_the_progress_of_a_stream_is_one_token_for_each_event_until_it_is_counted():
    body = EventStreamBody(openai_chat, hide_usage=False)
    for _ in range(10):
        body.feed(b'data: {"choices": [{"delta": {"content": "internationalization of everything "}}]}\n\n')

    before = body.progress
    counted = body.seen_tokens()
    body.feed(b'data: {"choices": [{"delta": {"content": "internationalization of everything "}}]}\n\n')

    assert before == 10
    assert counted > 30
    assert body.progress > counted + 2


def test_an_event_with_text_is_at_least_one_token():
    """A provider may cut words where our tokenizer would not."""
    body = EventStreamBody(openai_chat, hide_usage=False)
    for letter in "internationalization":
        body.feed(b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % letter.encode())

    assert body.seen_tokens() == 20


def test_of_an_opaque_body_that_is_cut_the_size_is_known():
    opaque = response.OpaqueBody()
    opaque.feed(b"12345678")

    opaque.cut()

    assert opaque.seen_tokens() == 2


@given(st.lists(st.integers(0, 10_000), max_size=6), st.sampled_from([b"", b"\n", b" \r\n"]))
def test_a_document_is_over_with_its_last_bracket_also_where_nobody_tells_its_end(places, behind):
    full = chunk(choices=[{"message": {"content": "}"}}], usage=USAGE) + behind
    body = PlainBody(openai_chat, 1_000_000)

    passed = [(piece if (given := body.feed(piece)) is None else given, body.finished) for piece in cut(full, places)]

    assert b"".join(each for each, _ in passed) == full
    assert (body.usage, body.flush()) == (Usage(input_tokens=8, output_tokens=3), b"")
    seen = b""
    for each, finished in passed:
        seen += each
        assert finished or len(seen) < len(full.rstrip())


def test_what_looks_like_a_documents_end_is_looked_at_only_so_often():
    body = PlainBody(openai_chat, 1_000_000)
    pieces = [b"[", *[b"{}" if place == 0 else b",{}" for place in range(PlainBody.MOST_TRIES)], b"]"]

    assert b"".join(body.feed(piece) or b"" for piece in pieces) == b"".join(pieces)[:-1]
    assert body.flush() == b"]"


def test_a_document_that_nobody_can_read_ends_where_it_ends():
    body = PlainBody(openai_chat, 1_000_000)

    assert run(body, [b"[" * 100_000 + b"]"]) == b"[" * 100_000 + b"]"
