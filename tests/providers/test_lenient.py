"""What is not as it should be is as if absent."""

from __future__ import annotations

import msgspec
import pytest

from extproc.providers import lenient

NUMBERS = msgspec.json.Decoder(list[lenient.Tokens])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"[1, 2]", [1, 2]),
        (msgspec.Raw(b"[1]"), [1]),
        (b"[-1]", None),
        (b"[1000000001]", None),
        (b'["1"]', None),
        (b"[", None),
        (b'"\xff"', None),
        (b"[" * 100_000, None),
    ],
)
def test_what_can_be_read_is_read_and_nothing_raises(raw, expected):
    assert lenient.decoded(NUMBERS, raw) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("m", "m"), ("m" * 256, "m" * 256), ("m" * 257, ""), (None, ""), (7, "")]
)
def test_an_identifier_is_a_text_that_has_an_end(value, expected):
    assert lenient.identifier(value) == expected
