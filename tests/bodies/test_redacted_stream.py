"""Event streams whose texts are redacted and restored, however they are cut."""

from __future__ import annotations

import json

import pytest
from bodies.redacted_streams import (
    arguments,
    chunk,
    cut,
    expected,
    joined,
    passed,
    places,
    redaction,
    texts,
    unnumbered,
)
from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.redacted import RedactedStreamBody
from extproc.bodies.redaction import Compiled, Redaction
from extproc.errors import Blocked, RedactionFailed
from extproc.framing.sse import SseFramer
from extproc.providers import openai_chat, openai_completions
from extproc.redaction import Action, Direction, OnFailure, Policy, placeholders


@given(texts, texts, arguments, places, places, places, st.booleans(), st.booleans(), st.booleans())
def test_every_channel_is_what_the_whole_text_would_be(
    content, reasoning, arguments, text_places, byte_places, argument_places, masks, restores, done
):
    settings = {"masks": masks, "restores": restores}
    stream = chunk(role="assistant", content="")
    for piece in cut(content, text_places):
        stream += chunk(content=piece) + chunk(index=1, content=piece)
    for piece in cut(reasoning, text_places):
        stream += chunk(reasoning_content=piece)
    for piece in cut(arguments, argument_places):
        stream += chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}])
    stream += chunk(finish="stop")
    body = RedactedStreamBody(openai_chat, redaction(**settings), hide_usage=True)

    events = passed(body, stream + (b"data: [DONE]\n\n" if done else b""), byte_places)

    assert unnumbered(joined(events, 0, "content")) == unnumbered(expected(content, **settings))
    assert unnumbered(joined(events, 1, "content")) == unnumbered(expected(content, **settings))
    assert unnumbered(joined(events, 0, "reasoning_content")) == unnumbered(expected(reasoning, **settings))
    assert unnumbered(joined(events, 0, "tool", 0)) == unnumbered(expected(arguments, escaped=True, **settings))
    assert [event["choices"][0]["index"] for event in events][:2] == [0, 0]
    assert body.finished


def test_names_ids_and_the_order_of_events_stay():
    stream = chunk(content="mail ann@") + chunk(content="company.com now, ") + chunk(finish="stop")
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    stream += b"data: " + json.dumps({"id": "c", "choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    events = passed(body, stream, [])

    assert [event["id"] for event in events] == ["c"] * 4
    assert [event["choices"][0]["delta"] for event in events[:3]] == [
        {"content": "mail "}, {"content": "<EMAIL_ADDRESS_1> now, "}, {},
    ]  # fmt: skip
    assert events[3]["usage"] == usage
    assert (body.usage.input_tokens, body.usage.output_tokens, body.finished) == (3, 2, True)


def test_usage_that_the_client_did_not_ask_for_is_left_out_here_too():
    usage = {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    stream = chunk(content="hello ") + b"data: " + json.dumps(usage).encode() + b"\n\n"
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=True)

    assert body.feed(stream) == chunk(content="hello ")
    assert body.usage.output_tokens == 2


def test_what_is_held_goes_out_with_the_chunk_that_ends_its_choice():
    stream = chunk(content="mail ann@company.com") + chunk(finish="stop")
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    first, last = passed(body, stream, [])

    assert first["choices"][0]["delta"] == {"content": "mail "}
    assert last["choices"][0] == {"index": 0, "delta": {"content": "<EMAIL_ADDRESS_1>"}, "finish_reason": "stop"}


def test_a_stream_that_nobody_ends_gives_what_it_holds_in_a_chunk_of_our_own():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    _, last = passed(body, chunk(content="mail ann@company.com"), [])

    assert last == {"id": "c", "model": "m", "choices": [
        {"index": 0, "finish_reason": None, "delta": {"content": "<EMAIL_ADDRESS_1>"}},
    ]}  # fmt: skip


def test_events_like_the_one_before_are_rewritten_as_if_they_were_parsed():
    texts = ["hello ", "mail ann@", "company.com ", "and\\n", "10.11.", "12.13 ", 'say "x" ', "end "]
    parsed, liked = (
        RedactedStreamBody(openai_chat, redaction(masks=True, restores=True), hide_usage=False) for _ in range(2)
    )
    parsed._lessons = 0

    passed = [liked.feed(chunk(content=text)) for text in texts]
    expected = [parsed.feed(chunk(content=text)) for text in texts]

    assert [json.loads(each[6:]) for each in passed] == [json.loads(each[6:]) for each in expected]
    assert liked._template is not None
    assert liked.seen_tokens() == parsed.seen_tokens()


def test_an_event_that_tells_usage_is_read_however_often_its_like_has_come():
    def told(content: str, tokens: int) -> bytes:
        usage = {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}
        choices = [{"index": 0, "delta": {"content": content}, "finish_reason": None}]
        return b"data: " + json.dumps({"id": "c", "choices": choices, "usage": usage}).encode() + b"\n\n"

    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    for content, tokens in (("a ", 5), ("b ", 9), ("c ", 5)):
        body.feed(told(content, tokens))

    assert body.usage.output_tokens == 5


def test_what_is_like_an_event_is_none_behind_half_an_event():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)
    body.feed(chunk(content="hello "))
    body.feed(b'data: {"odd": "')

    with pytest.raises(RedactionFailed, match="not_json"):
        body.feed(chunk(content="there "))


@pytest.mark.parametrize("like", [False, True])
def test_what_is_blocked_is_blocked_in_an_event_like_the_one_before_too(like):
    policy = Policy(response={"EMAIL_ADDRESS": Action.BLOCK})
    made = Redaction([Compiled("pii", policy.compile(Direction.REQUEST), policy.compile(Direction.RESPONSE))], b"")
    body = RedactedStreamBody(openai_chat, made, hide_usage=False)
    body._lessons = int(like)
    body.feed(chunk(content="hello "))

    with pytest.raises(Blocked, match="EMAIL_ADDRESS"):
        body.feed(chunk(content="ann@company.com "))

    assert made.found == {("response", "EMAIL_ADDRESS", "block"): 1}


def test_a_failure_in_an_event_like_the_one_before_passes_where_the_policy_says_so(monkeypatch):
    monkeypatch.setattr(placeholders, "MAX_VALUES", 1)
    made = redaction(masks=True, restores=False, on_failure=OnFailure.ALLOW)
    body = RedactedStreamBody(openai_chat, made, hide_usage=False)
    body.feed(chunk(content="hello "))

    assert body.feed(chunk(content="bob@company.com ")) == chunk(content="bob@company.com ")
    assert made.failed == "too_many_values"


def test_the_texts_of_a_completion_are_a_channel_too():
    event = {"id": "c", "choices": [{"index": 0, "text": "I am ann@company.com", "logprobs": {"tokens": ["ann"]}}]}
    body = RedactedStreamBody(openai_completions, redaction(masks=True, restores=False), hide_usage=False)

    first, last = passed(body, b"data: " + json.dumps(event).encode() + b"\n\ndata: [DONE]\n\n", [])

    assert first["choices"][0] == {"index": 0, "text": "I am ", "logprobs": None}
    assert last["choices"][0]["text"] == "<EMAIL_ADDRESS_1>"


def test_a_comment_goes_on_without_its_words_and_an_untouched_event_as_it_came():
    plain = chunk(content="hello ")
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    assert body.feed(b": ann@company.com\n\n" + plain) == b":\n\n" + plain


def test_the_other_lines_of_an_event_stay():
    raw = b"event: chunk\nid: 7\n" + chunk(content="ann@company.com, ").replace(b"\n\n", b"\r\n\r\n")
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    out = body.feed(raw)

    assert out.startswith(b"event: chunk\nid: 7\ndata: {")
    assert b"<EMAIL_ADDRESS_1>, " in out


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"data: {broken\n\n", "not_json"),
        (b"data: 7\n\n", "unknown_shape"),
        (b'data: {"choices": {}}\n\n', "unknown_shape"),
        (b'data: {"choices": [7]}\n\n', "unknown_shape"),
        (b'data: {"choices": [{"delta": []}]}\n\n', "unknown_shape"),
        (b'data: {"choices": [{"delta": {"tool_calls": [7]}}]}\n\n', "unknown_shape"),
        (b'data: {"choices": [{"delta": {"content": [{"type": "hologram"}]}}]}\n\n', "unknown_shape"),
        (b"data\n\n" + b"x" * 0 + b": " + b"a" * 5000 + b"\n\n", "text_too_long"),
    ],
)
def test_what_cannot_be_searched_ends_the_stream(event, reason):
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    with pytest.raises(RedactionFailed) as failed:
        body.feed(event)

    assert failed.value.reason == reason


def test_an_event_too_long_to_be_read_ends_the_stream():
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    with pytest.raises(RedactionFailed, match="text_too_long"):
        body.feed(b"data: " + b"a" * (1024 * 1024 + 1))


def test_a_policy_that_lets_failures_pass_says_so_and_loses_nothing():
    made = redaction(masks=True, restores=False, on_failure=OnFailure.ALLOW)
    body = RedactedStreamBody(openai_chat, made, hide_usage=False)

    out = body.feed(chunk(content="mail ann@company.com") + b"data: {broken\n\n" + chunk(content="ann@company.com"))

    assert made.failed == "not_json"
    assert out.index(b"EMAIL_ADDRESS_1") < out.index(b"{broken") < out.index(b"ann@company.com")


def test_a_blocked_entity_ends_the_stream_and_is_counted():
    policy = Policy(response={"EMAIL_ADDRESS": Action.BLOCK})
    made = Redaction([Compiled("pii", policy.compile(Direction.REQUEST), policy.compile(Direction.RESPONSE))], b"")
    body = RedactedStreamBody(openai_chat, made, hide_usage=False)

    with pytest.raises(Blocked, match="EMAIL_ADDRESS"):
        body.feed(chunk(content="ann@company.com "))

    assert made.found == {("response", "EMAIL_ADDRESS", "block"): 1}


def test_what_is_in_the_arguments_of_a_call_is_found_once():
    found = redaction(masks=True, restores=False)
    body = RedactedStreamBody(openai_chat, found, hide_usage=False)
    pieces = ['{"to": "eve@comp', 'any.com", "cc": "bob@company.com"}']
    calls = [chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in pieces]

    events = passed(body, b"".join(calls) + chunk(finish="tool_calls"), [])

    assert joined(events, 0, "tool", 0) == '{"to": "<EMAIL_ADDRESS_2>", "cc": "<EMAIL_ADDRESS_3>"}'
    assert found.found["response", "EMAIL_ADDRESS", "mask"] == 2


def test_a_dry_run_counts_and_changes_nothing():
    made = redaction(masks=True, restores=False, dry_run=True)
    body = RedactedStreamBody(openai_chat, made, hide_usage=False)

    events = passed(body, chunk(content="ann@company.com ") + chunk(finish="stop"), [])

    assert joined(events, 0, "content") == "ann@company.com "
    assert made.found == {("request", "EMAIL_ADDRESS", "mask"): 1, ("response", "EMAIL_ADDRESS", "mask"): 1}


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"])
def test_what_waits_is_an_event_of_its_own_however_the_last_one_ends(end):
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    passed = body.feed(chunk(content="ann@comp") + chunk(role="assistant").rstrip() + end) + body.flush()

    events = SseFramer().feed(passed.replace(b"\r", b"\n"))
    told = [json.loads(event.data)["choices"][0].get("delta", {}) for event in events if event.data]
    assert told == [{"content": ""}, {"role": "assistant"}, {"content": "ann@comp"}]


@pytest.mark.parametrize("nothing", [b"data\n\n", b"data:\n\n", b"data: \n\n", b"event: ping\ndata: \n\n"])
def test_an_event_without_anything_in_it_goes_on_as_a_comment(nothing):
    body = RedactedStreamBody(openai_chat, redaction(masks=True, restores=False), hide_usage=False)

    assert body.feed(nothing + b"data: [DONE]\n\n") == b":\n\ndata: [DONE]\n\n"
