"""What stands in an event where no text should, and passes a redacted stream no more than a text does."""

from __future__ import annotations

import json

import pytest
from bodies.redacted_streams import chunk, joined, passed, redaction

from extproc.bodies.redacted import RedactedStreamBody
from extproc.errors import RedactionFailed
from extproc.providers import openai_chat


@pytest.mark.parametrize(
    "event",
    [
        {"ann@company.com": 1, "choices": []},
        {"id": "ann@company.com", "choices": []},
        {"obfuscation": "ann@company.com", "choices": []},
        {"choices": [{"ann@company.com": 1, "delta": {}}]},
        {"choices": [{"finish_reason": "ann@company.com", "delta": {}}]},
        {"choices": [{"delta": {"ann@company.com": 1}}]},
        {"choices": [{"delta": {"tool_calls": [{"ann@company.com": 1, "function": {"ann@company.com": 1}}]}}]},
        {"choices": None, "number": "ann@company.com"},
    ],
)
def test_nothing_passes_a_stream_as_a_name_or_an_id(event):
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    [told] = passed(body, b"data: " + json.dumps(event).encode() + b"\n\n", [])

    assert "company" not in json.dumps(told)
    assert told.keys() >= {"choices"}


def test_a_text_that_goes_on_behind_its_end_ends_the_stream():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)
    body.feed(chunk(content="ann@comp", finish="stop"))

    assert body.feed(chunk(content="")) == chunk(content="")
    with pytest.raises(RedactionFailed, match="unknown_shape"):
        body.feed(chunk(content="any.com "))


def test_an_empty_reason_to_finish_is_none():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    events = passed(body, chunk(content="ann@comp", finish="") + chunk(content="any.com ", finish=""), [])

    assert joined(events, 0, "content") == "<EMAIL_ADDRESS_1> "


@pytest.mark.parametrize("line", [b": %s", b"event: %s", b"id: %s", b"retry: %s", b"%s: x", b"%s", b"\xef\xbb\xbf%s"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_nothing_passes_beside_the_data_of_an_event(line, end):
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)
    event = line % b"ann@company.com" + end + chunk(content="hello ").rstrip(b"\n") + end + end

    out = body.feed(event) + body.flush()

    assert b"company" not in out
    assert b"hello " in out


def test_events_like_one_with_a_comment_go_on_without_it():
    event = b": ann@company.com\n" + chunk(content="hello ")
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    assert b"company" not in b"".join([body.feed(event) for _ in "ab"])


def test_a_card_s_number_that_is_a_number_does_not_pass_either():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    [told] = passed(body, b'data: {"choices": [{"number": 4111111111111111, "index": 0}]}\n\n', [])

    assert told == {"choices": [{"number": "<CREDIT_CARD_1>", "index": 0}]}


def test_an_event_without_choices_is_searched_too():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    assert passed(body, b'data: {"error": {"message": "ann@company.com"}}\n\n', []) == [
        {"error": {"message": "<EMAIL_ADDRESS_1>"}}
    ]


def test_the_end_of_a_stream_brings_nothing_along():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    assert body.feed(b": ann@company.com\ndata: [DONE]\n\n") == b"data: [DONE]\n\n"


def test_a_chunk_of_our_own_has_no_name_that_was_not_searched():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)
    event = {"id": "ann@company.com", "choices": [{"index": 0, "delta": {"content": "a"}}]}

    *_, last = passed(body, b"data: " + json.dumps(event).encode() + b"\n\n", [])

    assert (last["id"], last["choices"][0]["delta"]) == ("<EMAIL_ADDRESS_1>", {"content": "a"})


@pytest.mark.parametrize("index", ["0", 0.0, True, [1], -1, 10**16])
def test_what_is_no_index_ends_the_stream(index):
    for event in (chunk(index, content="a"), chunk(tool_calls=[{"index": index, "function": {"arguments": "a"}}])):
        body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

        with pytest.raises(RedactionFailed, match="unknown_shape"):
            body.feed(event)


def test_a_field_whose_name_is_a_text_has_the_same_name_when_it_is_held():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    first, last = passed(body, chunk(**{"ann@company.com": "a"}), [])

    assert [told["choices"][0]["delta"] for told in (first, last)] == [
        {"<EMAIL_ADDRESS_1>": ""}, {"<EMAIL_ADDRESS_1>": "a"},
    ]  # fmt: skip
