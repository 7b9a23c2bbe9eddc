"""One exchange's redaction: requests, whole answers, media, and everything that can go wrong."""

from __future__ import annotations

import functools
import json
from typing import Any

import msgspec
import pytest

from extproc.bodies import redaction as module
from extproc.bodies.redacted import RedactedStreamBody
from extproc.bodies.redaction import Compiled, Redaction
from extproc.errors import Blocked, RedactionFailed, UnknownShape
from extproc.providers import openai_chat
from extproc.redaction import Action, Direction, OnFailure, Policy, placeholders

EMAIL = "ann@company.com"


@functools.cache
def compiled(name: str = "pii", request: str = "mask", response: str = "", **settings: Any) -> Compiled:
    """A policy for e-mail addresses; an empty action is none."""
    media, on_failure = settings.pop("media", Action.BLOCK), settings.pop("on_failure", OnFailure.REFUSE)
    policy = Policy(
        request={"EMAIL_ADDRESS": Action(request)} if request else {},
        response={"EMAIL_ADDRESS": Action(response)} if response else {},
        **settings,
    )
    both = policy.compile(Direction.REQUEST), policy.compile(Direction.RESPONSE)
    return Compiled(name, *both, policy.restore, media, on_failure)


def document(*messages: Any) -> dict[str, msgspec.Raw]:
    return {"messages": msgspec.Raw(json.dumps(messages).encode())}


def asked(made: Redaction, *messages: Any) -> Any:
    """The messages as they leave."""
    found = document(*messages)
    made.request(openai_chat, found)
    return json.loads(bytes(found["messages"]))


def answered(made: Redaction, content: Any) -> Any:
    body = {"choices": [{"message": {"content": content}}]}
    return json.loads(made.answer(openai_chat, json.dumps(body).encode()))["choices"][0]["message"]["content"]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_what_is_masked_in_the_request_comes_back_in_the_answer_and_is_counted():
    made = Redaction([compiled()], b"")

    assert asked(made, user(f"I am {EMAIL}")) == [user("I am <EMAIL_ADDRESS_1>")]
    assert answered(made, "dear <EMAIL_ADDRESS_1>") == f"dear {EMAIL}"
    assert made.found == {("request", "EMAIL_ADDRESS", "mask"): 1}
    assert made.names == ("pii",)


def test_in_every_turn_of_a_conversation_a_value_has_the_same_placeholder():
    first, second = (Redaction([compiled()], b"") for _ in range(2))
    turn = [user(f"I am {EMAIL}, my boss is bob@company.com")]
    answer = answered(first, asked(first, *turn)[0]["content"])

    [*before, after] = asked(
        second, *turn, {"role": "assistant", "content": answer}, user(f"bob@company.com or {EMAIL}?")
    )

    assert [each["content"] for each in before] == ["I am <EMAIL_ADDRESS_1>, my boss is <EMAIL_ADDRESS_2>"] * 2
    assert after["content"] == "<EMAIL_ADDRESS_2> or <EMAIL_ADDRESS_1>?"
    assert answered(second, after["content"]) == f"bob@company.com or {EMAIL}?"


def test_answers_are_left_alone_where_there_is_nothing_to_put_back_or_to_look_for():
    nothing_masked = Redaction([compiled()], b"")
    asked(nothing_masked, user("hello"))
    something_masked = Redaction([compiled()], b"")
    asked(something_masked, user(EMAIL))

    assert not nothing_masked.reads_answers
    assert something_masked.reads_answers
    assert Redaction([compiled(response="mask")], b"").reads_answers


def test_an_answer_in_which_nothing_is_found_stays_as_it_came():
    made = Redaction([compiled(response="mask")], b"")
    body = b'{ "choices": [] }'

    assert made.answer(openai_chat, body) is body


def test_policies_hold_one_after_the_other():
    made = Redaction([compiled("one", request="log"), compiled("two")], b"")

    assert asked(made, user(EMAIL)) == [user("<EMAIL_ADDRESS_1>")]
    assert made.found == {("request", "EMAIL_ADDRESS", "log"): 1, ("request", "EMAIL_ADDRESS", "mask"): 1}


def test_a_hash_needs_the_secret_of_the_deployment_and_is_the_same_in_each_exchange():
    first, second, other = (Redaction([compiled(request="hash")], secret) for secret in (b"a", b"a", b"b"))

    hashed = [asked(made, user(EMAIL)) for made in (first, second, other)]

    assert hashed[0] == hashed[1] != hashed[2]
    assert EMAIL not in str(hashed)


def test_a_request_that_is_blocked_is_not_changed():
    made = Redaction([compiled("one"), compiled("two", request="block")], b"")
    found = document(user("hello"), user(f"I am {EMAIL}"))
    before = dict(found)
    blocking = Redaction([compiled(request="block")], b"")

    with pytest.raises(Blocked):
        blocking.request(openai_chat, found)

    assert found == before
    assert blocking.found == {("request", "EMAIL_ADDRESS", "block"): 1}
    # What the first policy has masked the second one does not see.
    assert asked(made, user(EMAIL)) == [user("<EMAIL_ADDRESS_1>")]


def test_what_blocks_is_named_and_nothing_else():
    masking, blocking, trying = (
        compiled("masks"),
        compiled("blocks", request="block"),
        compiled("tries", request="block", dry_run=True),
    )
    made = Redaction([masking, blocking, trying], b"")

    assert made.blocking("EMAIL_ADDRESS", Direction.REQUEST) == "blocks"
    assert made.blocking("IMAGE", Direction.REQUEST) == "masks, blocks"


def test_media_is_blocked_counted_or_nobodys_business():
    picture = user([{"type": "image_url", "image_url": {"url": "https://x"}}])

    with pytest.raises(Blocked, match="IMAGE"):
        asked(Redaction([compiled()], b""), picture)
    logging, allowing = (Redaction([compiled(media=action)], b"") for action in (Action.LOG, Action.ALLOW))
    trying = Redaction([compiled(dry_run=True)], b"")

    assert [asked(made, picture) for made in (logging, allowing, trying)] == [[picture]] * 3
    assert logging.found == {("request", "IMAGE", "log"): 1}
    assert allowing.found == {}
    assert trying.found == {("request", "IMAGE", "block"): 1}


def test_a_policy_that_looks_into_requests_only_minds_no_media_in_answers():
    made = Redaction([compiled()], b"")
    asked(made, user(EMAIL))

    assert answered(made, [{"type": "input_audio"}]) == [{"type": "input_audio"}]


def test_an_error_that_is_no_json_is_searched_as_a_text():
    made = Redaction([compiled(response="mask")], b"")

    assert made.plain_text(f"no such user {EMAIL}".encode()) == b"no such user <EMAIL_ADDRESS_1>"
    with pytest.raises(RedactionFailed, match="not_json"):
        made.plain_text(b"\xff")


@pytest.mark.parametrize(
    ("content", "reason"),
    [("a" * 1_001, "text_too_long"), ([{"type": "hologram"}], "unknown_shape")],
)
def test_what_cannot_be_searched_has_a_reason_from_a_closed_set(content, reason):
    made = Redaction([compiled(longest_text=1_000)], b"")

    with pytest.raises(RedactionFailed) as failed:
        asked(made, user(content))

    assert failed.value.reason == reason


def test_more_values_than_can_be_kept_are_a_failure(monkeypatch):
    monkeypatch.setattr(placeholders, "MAX_VALUES", 2)
    made = Redaction([compiled()], b"")

    with pytest.raises(RedactionFailed, match="too_many_values"):
        asked(made, user("a@x.org, b@x.org, c@x.org"))


def test_an_answer_that_is_no_json_is_a_failure():
    with pytest.raises(RedactionFailed, match="not_json"):
        Redaction([compiled(response="mask")], b"").answer(openai_chat, b"{")


def test_whatever_else_goes_wrong_is_a_failure_that_quotes_nothing():
    broken: Any = object()

    with pytest.raises(RedactionFailed, match="engine_error") as failed:
        Redaction([compiled()], b"").request(broken, document(user(EMAIL)))

    assert EMAIL not in str(failed.value)


def test_only_where_every_policy_says_so_does_something_pass_unsearched():
    allowing = compiled("lenient", on_failure=OnFailure.ALLOW)
    failure = RedactionFailed("not_json")
    lenient, strict = Redaction([allowing], b""), Redaction([allowing, compiled()], b"")

    assert lenient.passed_unsearched(failure, b"x") == b"x"
    assert lenient.failed == "not_json"
    with pytest.raises(RedactionFailed):
        strict.passed_unsearched(failure, b"x")
    assert (lenient.may_fail, strict.may_fail, strict.failed) == (True, False, "")


def test_what_is_only_tried_out_refuses_nothing_and_does_not_stand_in_the_way_of_others():
    trying = compiled("trying", dry_run=True, longest_text=20)
    unknown, long = user([{"type": "hologram"}]), user(f"this is a long text for {EMAIL}")
    alone, beside = Redaction([trying], b""), Redaction([trying, compiled()], b"")
    lenient = Redaction([trying, compiled(on_failure=OnFailure.ALLOW)], b"")

    assert asked(alone, long) == [long]
    assert alone.unsearched == "text_too_long"
    assert asked(beside, long) == [user("this is a long text for <EMAIL_ADDRESS_1>")]
    with pytest.raises(RedactionFailed):
        asked(beside, unknown)
    assert (alone.may_fail, beside.may_fail, lenient.may_fail) == (True, False, True)


def test_a_stream_may_not_open_texts_without_end(monkeypatch):
    monkeypatch.setattr(module, "MAX_CHANNELS", 2)
    texts = Redaction([compiled(response="mask")], b"").stream()
    texts.feed((0,), "a")
    texts.feed((1,), "a")

    with pytest.raises(UnknownShape):
        texts.feed((2,), "a")


def test_a_duplicate_key_never_passes_behind_the_one_that_was_searched():
    made = Redaction([compiled(response="mask")], b"")
    doubled = b'[{"role":"user","content":"ann@company.com","content":"x"}]'
    found = {"messages": msgspec.Raw(doubled)}
    made.request(openai_chat, found)
    answer = made.answer(openai_chat, b'{"choices":[{"message":{"content":"ann@company.com","content":"x"}}]}')
    body = RedactedStreamBody(openai_chat, made, hide_usage=False)
    events = [
        body.feed(b'data: {"choices":[{"delta":{"content":"ann@company.com","content":"x "}}]}\n\n') for _ in "ab"
    ]

    assert b"ann@" not in bytes(found["messages"]) + answer + b"".join(events)


@pytest.mark.parametrize(
    "message",
    [
        {"role": EMAIL, "content": "x"},
        {"role": {"a": EMAIL}, "content": "x"},
        {"role": "tool", "tool_call_id": EMAIL, "content": "x"},
        {"role": "user", "content": "x", EMAIL: 1},
        {"role": "user", "content": [{"type": "text", "text": "x", EMAIL: 1}]},
    ],
)
def test_nothing_leaves_as_the_name_of_a_field_or_as_an_id(message):
    made = Redaction([compiled()], b"")

    assert "company" not in json.dumps(asked(made, message))


def test_nothing_leaves_as_the_name_of_a_request_s_field():
    found = document(user("x")) | {EMAIL: msgspec.Raw(b"1")}

    Redaction([compiled()], b"").request(openai_chat, found)

    assert list(found) == ["messages", "<EMAIL_ADDRESS_1>"]


@pytest.mark.parametrize("json_", [False, True])
def test_a_large_piece_of_a_stream_is_searched_in_slices_as_the_whole_would_be(json_):
    text = "walk " * 10_000 + EMAIL + " on" * 20_000
    texts = Redaction([compiled(response="mask")], b"").stream()
    looked: list[int] = []
    texts._redaction.checkpoint = lambda: looked.append(1)

    given = texts.feed((0, "content"), text, json=json_) + "".join(rest for _, rest in texts.flush())

    assert given == text.replace(EMAIL, "<EMAIL_ADDRESS_1>")
    assert len(looked) > 3
