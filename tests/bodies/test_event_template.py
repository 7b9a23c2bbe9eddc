"""Events that differ in one text only, rewritten without being parsed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from providers.test_texts import Shouting

from extproc.bodies.event_template import Echo, EventTemplate

CHANNEL = (0, "content")


def raw(text: str, **more) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice], **more}, ensure_ascii=False).encode() + b"\n\n"


def learnt(text: str = " hello") -> EventTemplate:
    found = EventTemplate.of(raw(text), CHANNEL, text)
    assert found is not None
    return found


@given(st.text(), st.text())
def test_what_a_template_reads_and_writes_is_what_parsing_would(text, other):
    template = learnt()
    delta = template.delta(raw(text))
    plain = all(character >= " " and character not in '"\\' for character in text)

    assert delta == (text if plain else None)
    written = template.event(other).removeprefix(b"data: ")
    assert json.loads(written)["choices"][0]["delta"] == {"content": other}


@pytest.mark.parametrize(
    "event",
    [
        raw("x", usage={}),
        raw("x").replace(b'"id": "c"', b'"id": "d"'),
        raw("x").replace(b"null", b'"stop"'),
        raw('a", "extra": "b'),
        raw("a\\u0040"),
        b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "',
        raw("").replace(b'""', b'"'),
        raw("xx").replace(b"xx", b"\xff"),
        b"",
    ],
)
def test_whatever_differs_elsewhere_does_not_fit(event):
    assert learnt().delta(event) is None


@pytest.mark.parametrize("text", ["", 'a"b', "a\\b", "a\nb", "c", "\ud800"])
def test_a_text_that_does_not_stand_there_once_as_it_is_teaches_nothing(text):
    event = raw(text) if text != "\ud800" else raw("?x")

    assert EventTemplate.of(event, CHANNEL, text) is None


@pytest.mark.parametrize(
    "event",
    [
        raw("hello").replace(b"\n\n", b"\r\n\r\n"),
        raw("hello").replace(b"\n\n", b"\r\r"),
        raw("hello") + b"\n",
        raw("hello") + raw("there"),
        raw("hello").rstrip(),
    ],
)
def test_only_one_event_that_ends_with_two_newlines_teaches_something(event):
    assert EventTemplate.of(event, CHANNEL, "hello") is None


def test_an_echo_gives_deltas_back_and_lets_all_else_be_rewritten():
    shouting = Shouting()
    echo = Echo(shouting)

    echo.media("image")

    assert (echo.text("a"), echo.json_text('"a"')) == ("A", '"A"')
    assert (echo.feed((0,), "a"), echo.feed((1,), "b", json=True)) == ("a", "b")
    assert echo.fed == [((0,), "a", False), ((1,), "b", True)]
    assert (echo.flush(0), shouting.met) == ([], ["image"])
