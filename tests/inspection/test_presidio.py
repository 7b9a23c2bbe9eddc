"""A Presidio server over real HTTP: good, slow, broken and lying."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator

import pytest
from inspection.presidio_server import Presidio, finds, presidio

from extproc.errors import InspectionFailed
from extproc.inspection import bounds
from extproc.inspection.presidio import MAX_ANSWER_BYTES, PresidioInspector
from extproc.redaction.outside import Found


@pytest.fixture
async def server() -> AsyncIterator[Presidio]:
    async with presidio() as found:
        yield found


@pytest.fixture
async def inspector(server) -> AsyncIterator[PresidioInspector]:
    """As patient as a busy machine needs it."""
    made = PresidioInspector(server.base + "/", language="de", entities=["PERSON"], seconds=30)
    yield made
    await made.close()


@pytest.fixture
async def hasty(server) -> AsyncIterator[PresidioInspector]:
    made = PresidioInspector(server.base, language="de", entities=["PERSON"], seconds=0.5)
    yield made
    await made.close()


async def reason(inspector: PresidioInspector, *texts: str) -> str:
    with pytest.raises(InspectionFailed) as failed:
        await inspector.inspect(texts or ("some text",))
    return failed.value.reason


async def test_every_text_is_asked_about_in_its_language_and_findings_keep_their_place(server, inspector):
    found = await inspector.inspect(["ask Bob", "nobody", "😀 Zoë 😀 Quinn"])

    assert found == [[Found(4, 7, "PERSON", 0.85)], [], [Found(2, 13, "PERSON", 0.85)]]
    assert sorted(question["text"] for question in server.questions) == ["ask Bob", "nobody", "😀 Zoë 😀 Quinn"]
    assert {question["path"] for question in server.questions} == {"/analyze"}
    assert all(question["language"] == "de" and question["entities"] == ["PERSON"] for question in server.questions)


async def test_without_texts_nobody_is_asked(server, inspector):
    assert await inspector.inspect([]) == []
    assert server.questions == []


async def test_a_server_that_says_nothing_is_a_failure_at_the_deadline(server, hasty):
    server.answer = lambda _: None
    began = time.monotonic()

    assert await reason(hasty, "a", "b", "c") == "analyzer_timeout"
    assert time.monotonic() - began < 20


async def test_one_text_without_an_answer_fails_the_whole_payload(server, hasty):
    server.answer = lambda question: None if question["text"] == "b" else []

    assert await reason(hasty, "a", "b", "c") == "analyzer_timeout"


async def test_a_server_that_cannot_be_reached_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = PresidioInspector(f"http://127.0.0.1:{port}", language="en", entities=["PERSON"], seconds=30)

    assert await reason(gone) == "analyzer_unavailable"
    await gone.close()


async def test_a_server_that_comes_back_is_used_again(server, inspector):
    server.status = 500
    assert await reason(inspector) == "analyzer_error"

    server.status = 200
    assert await inspector.inspect(["Bob"]) == [[Found(0, 3, "PERSON", 0.85)]]


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        b"{}",
        b'[{"start": 0}]',
        b'[{"start": "0", "end": 3, "entity_type": "PERSON", "score": 1}]',
        b"[" * 100_000,
        b'"' + b"x" * (MAX_ANSWER_BYTES + 1) + b'"',
    ],
)
async def test_an_answer_that_is_none_is_a_failure(server, inspector, answer):
    server.answer = lambda _: answer

    assert await reason(inspector) == "analyzer_error"


@pytest.mark.parametrize(
    "lie",
    [
        {"start": 0, "end": 10},
        {"start": -1, "end": 3},
        {"start": 3, "end": 3},
        {"start": 5, "end": 2},
        {"start": 0, "end": 3, "score": 1.1},
        {"start": 0, "end": 3, "score": -0.1},
    ],
)
async def test_a_finding_outside_its_text_is_a_failure(server, inspector, lie):
    server.answer = lambda _: json.dumps([{"entity_type": "PERSON", "score": 0.9} | lie]).encode()

    assert await reason(inspector, "some text") == "analyzer_error"


async def test_more_text_than_can_be_asked_about_is_a_failure_and_never_asked(server, inspector):
    assert await reason(inspector, "x" * (bounds.MAX_CHARS + 1)) == "text_too_long"
    assert await reason(inspector, *["x"] * (bounds.MAX_TEXTS + 1)) == "text_too_long"
    assert server.questions == []


async def test_more_findings_than_can_be_true_are_a_failure(server, inspector, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_FOUND", 2)
    server.answer = finds("Bob")

    assert await reason(inspector, "Bob Bob Bob") == "analyzer_error"
