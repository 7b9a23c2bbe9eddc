"""What is forwarded is exactly what was read; what cannot be read is refused in clear words."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import MalformedBody
from extproc.framing import document

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | st.text(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def refused(body: bytes, **limits: int) -> MalformedBody:
    with pytest.raises(MalformedBody) as caught:
        document.read(body, **limits)
    return caught.value


@given(st.dictionaries(st.text(), values, max_size=8), st.booleans())
def test_what_is_written_means_what_was_read(content, ascii_only):
    body = json.dumps(content, ensure_ascii=ascii_only).encode()

    assert json.loads(document.write(document.read(body))) == content


@given(st.lists(st.tuples(st.sampled_from(["model", "user", "mödel"]), st.integers()), max_size=8), st.booleans())
def test_of_duplicate_keys_only_the_last_is_forwarded(pairs, escape):
    def name(key):
        return '"' + "".join(f"\\u{ord(letter):04x}" for letter in key) + '"' if escape else json.dumps(key)

    body = "{" + ",".join(f"{name(key)}:{value}" for key, value in pairs) + "}"

    written = document.write(document.read(body.encode()))

    assert json.loads(written, object_pairs_hook=list) == list(dict(pairs).items())


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"cheap","model":"dear"}',
        b'{"model":"cheap","mod\\u0065l":"dear"}',
        b'{"\\u006dodel":"cheap","model":"dear"}',
    ],
)
def test_a_smuggled_model_is_forwarded_as_it_was_read(body):
    read = document.read(body)

    assert bytes(read["model"]) == b'"dear"'
    assert document.write(read) == b'{"model":"dear"}'


def test_values_are_forwarded_byte_for_byte():
    body = b'{"messages":[ {"role" :"user"} ],"temperature":1.10}'

    assert document.write(document.read(body)) == body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b'\xef\xbb\xbf{"a":1}', "the body begins with a byte order mark"),
        (b'{"a":"\xff"}', "not UTF-8 (byte 6)"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8 (byte 0)"),
        (b'{"a":1', "Input data was truncated"),
        (b'{"a":NaN}', "JSON is malformed: invalid character (byte 5)"),
        (b'{"a":1} x', "JSON is malformed: trailing characters (byte 9)"),
        (b'{"a":1,}', "JSON is malformed: trailing comma in object (byte 7)"),
        (b'{"a":"\n"}', "JSON is malformed: invalid character (byte 6)"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b'"x"', "Expected `object`, got `str`"),
        (b"user=x", "JSON is malformed: invalid character (byte 0)"),
    ],
)
def test_a_body_that_cannot_be_understood_says_where(body, reason):
    error = refused(body)

    assert (error.message, error.param, error.status) == (f"Invalid JSON payload: {reason}", "request_body", 400)


def test_text_beyond_ascii_passes():
    assert document.write(document.read('{"a":"grün 🌱"}'.encode())) == '{"a":"grün 🌱"}'.encode()


def test_too_many_fields_are_refused():
    fields = {str(number): number for number in range(document.MAX_FIELDS + 1)}

    assert "more than 256 fields" in refused(json.dumps(fields).encode()).message
    fields.popitem()
    assert len(document.read(json.dumps(fields).encode())) == document.MAX_FIELDS


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [1, 2, 63, 64, 65, 128])
def test_nesting_is_allowed_up_to_the_limit_and_not_beyond(opening, closing, depth):
    body = b'{"a":' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"

    if depth <= 64:
        assert document.read(body, max_depth=64)
    else:
        assert "nested deeper than 64 levels" in refused(body, max_depth=64).message


def test_absurd_nesting_does_not_exhaust_the_stack():
    depth = sys.getrecursionlimit() * 50

    assert "nested deeper" in refused(b'{"a":' + b"[" * depth + b"]" * depth + b"}").message


@pytest.mark.parametrize("text", ["[" * 500, '\\"[' * 500, "\\\\", '{"' * 500, "\\\\\\" * 100 + '"['])
def test_brackets_inside_strings_are_no_nesting(text):
    body = json.dumps({"a": text, "b": [[1]]}).encode()

    assert document.read(body, max_depth=3)


def test_too_many_lists_and_objects_are_refused(monkeypatch):
    monkeypatch.setattr(document, "MAX_CONTAINERS", 200)

    assert document.read(json.dumps({"a": [[]] * 198}).encode())
    assert "more than 200 lists and objects" in refused(json.dumps({"a": [{}] * 199}).encode()).message


def test_many_brackets_side_by_side_are_no_nesting():
    assert document.read(json.dumps({"messages": [{"content": [{}]}] * 1000}).encode(), max_depth=5)


@given(values, st.integers(1, 6))
def test_the_depth_that_counts_is_that_of_the_value(value, limit):
    def depth(part):
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    body = json.dumps({"a": value}).encode()

    if depth({"a": value}) <= limit:
        document.read(body, max_depth=limit)
    else:
        refused(body, max_depth=limit)
