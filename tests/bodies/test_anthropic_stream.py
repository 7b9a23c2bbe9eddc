"""Anthropic's event streams: usage that comes in two parts, and texts that are redacted, however the bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bodies.redacted_streams import arguments, cut, expected, places, redaction, texts, unnumbered
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.redacted import RedactedStreamBody
from extproc.bodies.response import EventStreamBody
from extproc.framing.sse import SseFramer
from extproc.model import Usage
from extproc.providers import anthropic_messages

START = {
    "type": "message_start",
    "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
                "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}},
}  # fmt: skip
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 40}}
STOP = {"type": "message_stop"}
WHOLE = Usage(input_tokens=15, output_tokens=40, cache_read_tokens=5)


def event(told: dict[str, Any]) -> bytes:
    return f"event: {told['type']}\ndata: {json.dumps(told)}\n\n".encode()


def block(index: int, begins: dict[str, Any], kind: str, field: str, pieces: list[str]) -> list[dict[str, Any]]:
    """The events of one block."""
    deltas = [
        {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}} for piece in pieces
    ]
    start = {"type": "content_block_start", "index": index, "content_block": begins}
    return [start, *deltas, {"type": "content_block_stop", "index": index}]


def said(piece: str) -> list[dict[str, Any]]:
    return block(0, {"type": "text", "text": ""}, "text_delta", "text", [piece])


def fed(body: EventStreamBody, stream: bytes, at: list[int]) -> bytes:
    edges = sorted({place % (len(stream) + 1) for place in at})
    chunks = [stream[a:b] for a, b in zip([0, *edges], [*edges, len(stream)], strict=True)]
    passed = []
    for chunk in chunks:
        out = body.feed(chunk) if chunk else b""
        passed.append(chunk if out is None else out)
    return b"".join(passed) + body.flush()


@given(places)
def test_the_usage_of_a_stream_is_the_input_told_first_and_the_output_told_last(at):
    stream = b"".join(map(event, [START, *said("hello"), END, STOP]))
    body = EventStreamBody(anthropic_messages, hide_usage=False)

    assert fed(body, stream, at) == stream
    assert (body.usage, body.response_id, body.model, body.finished) == (WHOLE, "msg_1", "claude-x", True)


def test_a_stream_that_is_cut_knows_its_input_and_has_no_usage():
    body = EventStreamBody(anthropic_messages, hide_usage=False)

    body.feed(b"".join(map(event, [START, *said("hello there, you")])))

    assert body.usage is None
    assert body.usage_so_far == Usage(input_tokens=15, output_tokens=1, cache_read_tokens=5)
    assert body.seen_tokens() == 4
    assert not body.finished


def told(passed: bytes) -> list[dict[str, Any]]:
    """The events that a client hears; each has the name that it says."""
    framer = SseFramer()
    events = framer.feed(passed) + framer.flush()
    found = [json.loads(each.data) for each in events]
    assert [f"event: {each['type']}".encode() for each in found] == [each.raw.splitlines()[0] for each in events]
    return found


def heard(events: list[dict[str, Any]], index: int, field: str) -> str:
    """The text of a block, as a client puts it together: nothing counts before its start or after its stop."""
    mine = [each for each in events if each.get("index") == index]
    assert [each["type"] for each in (mine[0], mine[-1])] == ["content_block_start", "content_block_stop"]
    deltas = [each["delta"] for each in mine[1:-1]]
    return mine[0]["content_block"].get(field, "") + "".join(delta.get(field, "") for delta in deltas)


@given(texts, texts, arguments, places, places, places, st.booleans(), st.booleans())
def test_every_block_is_what_the_whole_text_would_be(
    content, thought, given_arguments, text_places, byte_places, argument_places, masks, restores
):
    settings = {"masks": masks, "restores": restores}
    tool = {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {}}
    first, *rest = cut(content, text_places)
    events = [
        START,
        *block(0, {"type": "thinking", "thinking": ""}, "thinking_delta", "thinking", cut(thought, text_places)),
        *block(1, {"type": "text", "text": first}, "text_delta", "text", rest),
        *block(2, tool, "input_json_delta", "partial_json", cut(given_arguments, argument_places)),
        END,
        STOP,
    ]
    body = RedactedStreamBody(anthropic_messages, redaction(**settings), hide_usage=False)

    passed = told(fed(body, b"".join(map(event, events)), byte_places))

    assert unnumbered(heard(passed, 0, "thinking")) == unnumbered(expected(thought, **settings))
    assert unnumbered(heard(passed, 1, "text")) == unnumbered(expected(content, **settings))
    assert unnumbered(heard(passed, 2, "partial_json")) == unnumbered(
        expected(given_arguments, escaped=True, **settings)
    )
    assert passed[0] == START
    assert passed[-2:] == [END, STOP]
    assert (body.usage, body.finished) == (WHOLE, True)


def test_what_is_held_goes_out_as_a_delta_before_its_blocks_stop():
    body = RedactedStreamBody(anthropic_messages, redaction(masks=True, restores=False), hide_usage=False)

    events = told(fed(body, b"".join(map(event, said("mail ann@company.com"))), []))

    assert [each.get("delta", {}).get("text") for each in events] == [None, "mail ", "<EMAIL_ADDRESS_1>", None]
    assert events[-1] == {"type": "content_block_stop", "index": 0}


@pytest.mark.parametrize("end", [[], [STOP]], ids=["cut", "without a block's stop"])
def test_a_block_that_nobody_ends_gives_what_it_holds_at_the_end(end):
    body = RedactedStreamBody(anthropic_messages, redaction(masks=True, restores=False), hide_usage=False)

    events = told(fed(body, b"".join(map(event, [*said("mail ann@company.com")[:-1], *end])), []))

    assert events[2:] == [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "<EMAIL_ADDRESS_1>"}},
        *end,
    ]


@pytest.mark.parametrize(
    "extra",
    [
        {"type": "content_block_stop", "index": 0, "more": "ann@company.com"},
        {"type": "content_block_stop", "index": 0, "ann@company.com": 1},
        {"type": "content_block_delta", "index": 0, "ann@company.com": 1, "delta": {"type": "text_delta", "text": "a"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a", "ann@company.com": 1}},
    ],
)
def test_nothing_passes_beside_a_blocks_texts(extra):
    body = RedactedStreamBody(anthropic_messages, redaction(masks=True, restores=False), hide_usage=False)

    passed = fed(body, event(START) + event(said("hello")[0]) + event(extra), [])

    assert b"<EMAIL_ADDRESS_1>" in passed
    assert b"company" not in passed
