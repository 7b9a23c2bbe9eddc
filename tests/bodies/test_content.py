"""What was said, gathered and masked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import guardrails
from extproc.bodies import content as module
from extproc.bodies.content import MOST_BYTES, MOST_STORED_BYTES, Content
from extproc.bodies.redaction import Compiled, Redaction
from extproc.errors import RedactionFailed
from extproc.providers import anthropic_messages, openai_chat, openai_embeddings
from extproc.redaction import Action, Direction, Policy, custom

EMAIL, CARD = "ann@company.com", "4111 1111 1111 1111"
JSON, SSE = {b"content-type": b"application/json"}, {b"content-type": b"text/event-stream"}
EVERYTHING = guardrails.of_everything()


def policy(**settings: Any) -> Compiled:
    made = Policy(**settings)
    return Compiled("own", made.compile(Direction.REQUEST), made.compile(Direction.RESPONSE), made.restore)


def asking(text: Any, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def told(content: Content, headers: dict[bytes, bytes], *chunks: bytes) -> dict[str, Any]:
    content.begin(headers)
    for chunk in chunks:
        content.feed(chunk)
    content.end()
    found: dict[str, Any] = json.loads(content.told(EVERYTHING()))
    return found


def answer(text: str) -> bytes:
    return json.dumps({"id": "c", "choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


def events(*texts: str) -> bytes:
    made = ({"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts)
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in made) + b"data: [DONE]\n\n"


def said(found: dict[str, Any]) -> Any:
    return found["response"]["choices"][0]["message"]["content"]


def test_what_is_stored_is_masked_though_no_guardrail_holds():
    found = told(Content(openai_chat, asking(f"I am {EMAIL}")), JSON, answer(f"pay with {CARD}"))

    assert found["request"]["messages"] == [{"role": "user", "content": "I am <EMAIL_ADDRESS_1>"}]
    assert said(found) == "pay with <CREDIT_CARD_1>"


def test_a_stream_is_stored_as_its_answer_and_values_over_its_pieces_are_masked():
    found = told(Content(openai_chat, asking("hello")), SSE, events("mail an", "n@comp", "any.com now"))

    assert said(found) == "mail <EMAIL_ADDRESS_1> now"


@pytest.mark.parametrize(
    "delta",
    [
        lambda text: {"content": [{"type": "text", "text": text}]},
        lambda text: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]},
        lambda text: {"content": [text]},
        lambda text: {"reasoning_details": [{"type": "reasoning.text", "text": text}]},
        lambda text: {"tool_calls": [{"function": {"name": "f", "arguments": text}}]},
    ],
)
def test_values_over_the_pieces_of_a_list_are_masked_too(delta):
    stream = b"".join(
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta(text)}]}).encode() + b"\n\n"
        for text in (EMAIL[:9], EMAIL[9:])
    )

    found = json.dumps(told(Content(openai_chat, asking("hello")), SSE, stream))

    assert EMAIL[:9] not in found
    assert EMAIL[9:] not in found
    assert "<EMAIL_ADDRESS_1>" in found


@given(st.lists(st.integers(1, 200), max_size=6))
def test_a_stream_is_the_same_answer_however_it_is_cut(cuts):
    stream, chunks = events("Dear ", "Zoë", " 🙂 bye"), []
    for cut in cuts:
        chunks.append(stream[:cut])
        stream = stream[cut:]

    assert said(told(Content(openai_chat, asking("hello")), SSE, *chunks, stream)) == "Dear Zoë 🙂 bye"


def test_a_stream_is_folded_on_its_way(monkeypatch):
    monkeypatch.setattr(module, "FOLDED_BYTES", 100)
    content = Content(openai_chat, b"{}")
    content.begin(SSE)
    for text in ("some", "more", "texts") * 20:
        content.feed(events(text))

    assert content.size < len(events("texts")) * 60 // 2 + 100
    content.end()
    assert said(json.loads(content.told(EVERYTHING()))) == "somemoretexts" * 20


def test_the_last_event_of_a_stream_counts_without_a_blank_line_behind_it():
    stream = events("all of", " it").removesuffix(b"\n\ndata: [DONE]\n\n")

    assert said(told(Content(openai_chat, asking("hello")), SSE, stream)) == "all of it"


def test_what_takes_more_memory_than_its_bytes_is_given_up_on_the_way(monkeypatch):
    """An answer of nothing but empty objects: each is three bytes here, and some seventy in memory."""
    monkeypatch.setattr(module, "FOLDED_BYTES", 1_000)
    monkeypatch.setattr(module, "MEASURED_BYTES", 10_000)
    monkeypatch.setattr(module, "MOST_BYTES", 50_000)
    content = Content(openai_chat, b"{}")
    content.begin(SSE)
    event = b'data: {"choices":[{"delta":{"content":[' + b",".join([b"{}"] * 300) + b"]}}]}\n\n"
    stream = event * 200
    for start in range(0, len(stream), 777):
        content.feed(stream[start : start + 777])

    assert content.size == len(b"{}")
    content.end()
    assert json.loads(content.told(EVERYTHING()))["response"] == {"left_out": "text_too_long"}


def test_what_is_too_deep_to_be_put_together_is_given_up():
    deep = b'{"a":' * 700 + b"{}" + b"}" * 700
    event = b'data: {"choices":[{"delta":' + deep + b"}]}\n\n"

    assert told(Content(openai_chat, b"{}"), SSE, event)["response"] == {"left_out": "text_too_long"}


def test_a_text_of_many_small_pieces_is_held_as_one(monkeypatch):
    monkeypatch.setattr(module, "MEASURED_BYTES", 200_000)
    content = Content(openai_chat, b"{}")
    content.begin(SSE)
    event = events("a")[: events("a").index(b"data: [DONE]")]
    for _ in range(10_000):
        content.feed(event)
    content.end()

    assert content.size < 12_000


@pytest.mark.parametrize("name", ["id", "tool_call_id"])
def test_what_stands_where_an_id_should_is_masked_too(name):
    content = Content(openai_chat, asking("hello", **{name: "sk-proj-" + "a1B2" * 12}))
    asked = json.loads(asking("hello"))
    asked["messages"].append({"role": "tool", name: "4111111111111111", "content": "x"})
    found = told(Content(openai_chat, json.dumps(asked).encode()), JSON, b'{"id": "4111111111111111", "choices": []}')

    assert "a1B2" not in json.dumps(told(content, JSON, answer("ok")))
    assert "4111111111111111" not in json.dumps(found)


def test_anthropics_events_are_stored_as_a_message():
    stream = b"".join(
        b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n"
        for event in (
            {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"I am {EMAIL}"}},
        )
    )

    found = told(Content(anthropic_messages, asking("hello", max_tokens=5)), SSE, stream)

    assert found["response"]["content"] == [{"type": "text", "text": "I am <EMAIL_ADDRESS_1>"}]


def test_what_a_guardrail_masks_in_answers_is_masked_where_only_it_knows_it():
    custom = Policy(response={"EMAIL_ADDRESS": Action.HASH})
    made = custom.compile(Direction.REQUEST), custom.compile(Direction.RESPONSE)
    redaction = Redaction([Compiled("own", *made)], b"secret")

    assert "<EMAIL_ADDRESS_" in said(told(Content(openai_chat, asking("a"), redaction), JSON, answer(EMAIL)))
    assert said(told(Content(openai_chat, asking("a"), redaction), JSON, answer(EMAIL))) != "<EMAIL_ADDRESS_1>"


def test_what_was_put_back_for_the_client_is_not_in_what_the_provider_said():
    """The provider's bytes are gathered, so the client's values never come in."""
    redaction = Redaction([policy(request={"EMAIL_ADDRESS": Action.MASK})], b"")
    redaction.text(EMAIL)

    assert said(told(Content(openai_chat, asking("a"), redaction), JSON, answer("dear <EMAIL_ADDRESS_1>"))) == (
        "dear <EMAIL_ADDRESS_1>"
    )


def test_an_answer_that_a_guardrail_blocks_is_left_out():
    redaction = Redaction([policy(response={"CREDIT_CARD": Action.BLOCK})], b"")

    assert told(Content(openai_chat, asking("a"), redaction), JSON, answer(CARD))["response"] == {"left_out": "blocked"}


def test_an_answer_that_others_are_asked_about_is_left_out():
    class Asked(Redaction):
        inspects_answers = True

    redaction = Asked([policy(response={"CREDIT_CARD": Action.MASK})], b"")
    found = told(Content(openai_chat, asking("a"), redaction), JSON, answer("Ann"))

    assert found["response"] == {"left_out": "inspected_elsewhere"}


@pytest.mark.parametrize(("dry_run", "stored"), [(False, False), (True, True)])
def test_a_request_that_passed_its_guardrail_unsearched_is_left_out(dry_run, stored):
    words = (custom.deny_list("TABOO", ["nightingale"]),)
    settings = {"request": {"TABOO": Action.MASK}, "custom": words, "dry_run": dry_run}
    redaction = Redaction([policy(**settings)], b"")
    redaction.failed = "timeout"
    content = Content(openai_chat, asking("about nightingale"), redaction)
    found = told(content, JSON, answer("ok"))

    assert ("messages" in found["request"]) is stored
    assert stored or found["request"] == {"left_out": "timeout"}
    assert said(found) == "ok"


def test_images_and_sounds_become_a_word():
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    spoken = {"choices": [{"message": {"audio": {"id": "a", "data": "UklGR", "transcript": f"I am {EMAIL}"}}}]}

    found = told(Content(openai_chat, asking(parts)), JSON, json.dumps(spoken).encode())

    assert found["request"]["messages"][0]["content"] == [{"type": "text", "text": "look"}, "<image>"]
    audio = found["response"]["choices"][0]["message"]["audio"]
    assert audio == {"id": "a", "data": "<audio>", "transcript": "I am <EMAIL_ADDRESS_1>"}


@pytest.mark.parametrize("part", [{"type": "hologram", "data": "x"}, {"text": "no type"}, 7])
def test_a_part_of_an_unknown_type_is_not_stored(part):
    found = told(Content(openai_chat, asking([part])), JSON, answer("ok"))

    assert found["request"] == {"left_out": "unknown_shape"}
    assert said(found) == "ok"


@pytest.mark.parametrize(
    ("headers", "chunks", "expected"),
    [
        ({b"content-type": b"text/plain"}, [b"secret"], {}),
        ({**JSON, b"content-encoding": b"gzip"}, [b"\x1f\x8b"], {}),
        (JSON, [], {}),
        (JSON, [b'{"choices": [', b"nonsense"], {"left_out": "not_json"}),
        (JSON, [b"[" * 100_000], {"left_out": "not_json"}),
        (JSON, [b'{"choices": "\xff"}'], {"left_out": "not_json"}),
        (SSE, [b'data: {"choices": "\xff"}\n\n'], {}),
        (JSON, [b" " * MOST_BYTES, b"{}"], {"left_out": "text_too_long"}),
        (SSE, [b"data: nonsense\n\n", b": comment\n\n", b"data: {"], {}),
    ],
)
def test_an_answer_that_cannot_be_read_is_left_out(headers, chunks, expected):
    assert told(Content(openai_chat, asking("a")), headers, *chunks)["response"] == expected


def test_a_request_that_is_too_long_is_left_out():
    assert told(Content(openai_chat, b"x" * (MOST_BYTES + 1)), JSON, answer("ok"))["request"] == {
        "left_out": "text_too_long"
    }


def test_a_stream_that_is_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "MOST_STREAM_BYTES", 1_000)
    monkeypatch.setattr(module, "FOLDED_BYTES", 100)

    found = told(Content(openai_chat, asking("a")), SSE, *[events("a" * 50)] * 30)

    assert found["response"] == {"left_out": "text_too_long"}


def test_long_texts_are_cut_where_it_is_too_much():
    found = told(Content(openai_chat, asking("ab " * 100_000)), JSON, answer("short"))

    [message] = found["request"]["messages"]
    assert message["content"].endswith("… (267232 more characters)")
    assert len(json.dumps(found["request"])) < MOST_STORED_BYTES


def test_what_is_too_much_even_so_is_left_out():
    vectors = {"data": [{"object": "embedding", "embedding": [0.123456789] * 30_000}]}
    content = Content(openai_embeddings, json.dumps({"model": "m", "input": "hello"}).encode())

    found = told(content, JSON, json.dumps(vectors).encode())

    assert found == {"request": {"model": "m", "input": "hello"}, "response": {"left_out": "text_too_long"}}


def test_masking_ends_at_its_deadline():
    def over() -> None:
        raise RedactionFailed("timeout")

    storing = EVERYTHING()
    storing.checkpoint = over
    content = Content(openai_chat, asking("hello"), Redaction([policy(response={"CREDIT_CARD": Action.MASK})], b""))
    content.begin(JSON)
    content.feed(answer("hello"))
    content.end()

    assert json.loads(content.told(storing)) == {
        "request": {"left_out": "timeout"},
        "response": {"left_out": "timeout"},
    }


def test_what_the_exchange_found_and_when_its_search_ends_stays_its_own():
    redaction = Redaction([policy(response={"EMAIL_ADDRESS": Action.MASK})], b"")
    checkpoint = redaction.checkpoint

    assert said(told(Content(openai_chat, asking("hi"), redaction), JSON, answer(f"{EMAIL}"))) == "<EMAIL_ADDRESS_1>"
    assert not redaction.found
    assert redaction.checkpoint is checkpoint
