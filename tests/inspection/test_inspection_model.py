"""Names and addresses by the model in this process."""

from __future__ import annotations

import pytest

from extproc.errors import InspectionFailed
from extproc.inspection.model import ModelInspector, joined
from extproc.redaction.outside import Found

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
async def inspector():
    made = ModelInspector(seconds=20)
    yield made
    await made.close()


async def found(inspector: ModelInspector, text: str) -> list[tuple[str, str]]:
    [spans] = await inspector.inspect([text])
    return [(one.entity, text[one.start : one.end]) for one in spans]


async def test_a_name_and_an_address_are_found_whole(inspector):
    text = "My name is Maria Gonzalez and I live at 12 Baker Street, London."

    assert await found(inspector, text) == [("PERSON", "Maria Gonzalez"), ("LOCATION", "12 Baker Street, London")]


async def test_what_names_nobody_is_left_alone(inspector):
    assert await found(inspector, "def add(a, b): return a + b  # the sum of two numbers") == []


async def test_each_text_keeps_its_own_findings(inspector):
    one, none, other = await inspector.inspect(["I am Maria Gonzalez.", "", "My name is Hans Müller 😀."])

    assert (none, len(one), len(other)) == ([], 1, 1)


@pytest.mark.parametrize("words", [70, 77, 85, 89, 90, 95, 118, 250])
async def test_a_name_at_the_border_of_two_windows_is_found_whole(inspector, words):
    text = "we go on. " * words + "My name is Maria Gonzalez, thank you."

    assert ("PERSON", "Maria Gonzalez") in await found(inspector, text)


async def test_a_text_that_takes_too_long_is_a_failure():
    slow = ModelInspector(seconds=0.01)

    with pytest.raises(InspectionFailed, match="model_timeout"):
        await slow.inspect(["some words of a long text " * 8_000])
    await slow.close()


def test_parts_of_one_name_become_one_finding_that_is_as_sure_as_its_surest():
    parts = [Found(0, 3, "PERSON", 0.5), Found(4, 7, "PERSON", 0.9), Found(8, 12, "LOCATION", 0.7)]

    assert joined("Ann Lee Bonn", parts) == [Found(0, 7, "PERSON", 0.9), Found(8, 12, "LOCATION", 0.7)]
    assert joined("Ann and Lee", [Found(0, 3, "PERSON", 0.5), Found(8, 11, "PERSON", 0.5)]) == [
        Found(0, 3, "PERSON", 0.5),
        Found(8, 11, "PERSON", 0.5),
    ]
