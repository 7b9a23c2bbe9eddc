"""JSON in a string stays JSON, and what is no JSON does not pass unsearched."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redaction.redacting import compiled, cut, redactor
from redaction.test_streaming import sizes, streamed, texts

from extproc.redaction import ENTITIES, Action, Placeholders, Restorer

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
documents = st.builds(
    json.dumps,
    values,
    ensure_ascii=st.booleans(),
    indent=st.none() | st.just(1),
    separators=st.none() | st.just((",", ":")),
)
broken = st.tuples(documents, st.integers(0, 50), st.sampled_from(['"', "{", "]", ",", "\\", "x", " 4111 1111"])).map(
    lambda made: made[0][: made[1]] + made[2] + made[0][made[1] :]
)
KINDS = [entity for entity in ENTITIES if entity != "PASSWORD"]


@settings(max_examples=300)
@given(documents | broken | texts, sizes)
def test_any_pieces_give_what_the_whole_gives(text, sizes):
    whole = compiled(*KINDS).redact_json_text(text, Placeholders())
    stream = compiled(*KINDS).json_stream(Placeholders())

    assert streamed(stream, cut(text, sizes)) == whole.text
    assert stream.findings == whole.findings
    assert stream.held == 0


@given(documents)
def test_json_stays_json_and_nothing_but_values_changes(text):
    vault = Placeholders()
    masked = compiled(*KINDS).redact_json_text(text, vault).text

    assert _as_texts(json.loads(Restorer(vault, escaped=True).restore(masked))) == _as_texts(json.loads(text))


def _as_texts(value):
    """Numbers as they are written, since a number in which something is found becomes a string."""
    if isinstance(value, dict):
        return {key: _as_texts(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_texts(inner) for inner in value]
    return value if isinstance(value, str) else json.dumps(value)


def test_one_object_behind_another_stays_json_too():
    """As where a provider gives two tool calls the same index."""
    stream = compiled("CREDIT_CARD").json_stream(Placeholders())

    given = [stream.feed(text) for text in ('{"n": 1}', '{"n": 4111111111111111}', "\n[4111111111111111]")]

    assert given == ['{"n": 1}', '{"n": "<CREDIT_CARD_1>"}', '\n["<CREDIT_CARD_1>"]']
    assert stream.flush() == ""


@given(texts)
def test_a_string_is_searched_as_what_it_stands_for(text):
    """Whatever escapes hide, the string's value is redacted as the plain text would be."""
    text = text.encode("utf-8", "replace").decode()
    masked = compiled("EMAIL_ADDRESS", "CREDIT_CARD").redact_json_text(json.dumps([text]), Placeholders()).text

    assert json.loads(masked) == [compiled("EMAIL_ADDRESS", "CREDIT_CARD").redact(text, Placeholders()).text]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (r'{"to": "joe\u0040example.com"}', '{"to": "<EMAIL_ADDRESS_1>"}'),
        (r'{"joe@example.com": "\n\u00e9"}', r'{"<EMAIL_ADDRESS_1>": "\n\u00e9"}'),
        ('{"card": 4111111111111111, "n": [1, -2.5e3]}', '{"card": "<CREDIT_CARD_1>", "n": [1, -2.5e3]}'),
        ('{"ssn": "536904399", "n": "536904399x"}', '{"ssn": "<US_SSN_1>", "n": "536904399x"}'),
        (' [ ] ', ' [ ] '),
        ('{"a": {"b": [{}, []]}, "c": true}', '{"a": {"b": [{}, []]}, "c": true}'),
        ('"joe@example.com', '"<EMAIL_ADDRESS_1>'),
        ("4111111111111111", '"<CREDIT_CARD_1>"'),
        ("", ""),
    ],
)  # fmt: skip
def test_json_is_rewritten_as_json(text, masked):
    assert compiled("EMAIL_ADDRESS", "CREDIT_CARD", "US_SSN").redact_json_text(text, Placeholders()).text == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (r"joe\u0040example.com", "<EMAIL_ADDRESS_1>"),
        ("4111 1111 1111 1111", "<CREDIT_CARD_1>"),
        ('{"a": 4111 1111 1111 1111}', '{"a": <CREDIT_CARD_1>}'),
        ("12:34:56:78:9a:bc", "<MAC_ADDRESS_1>"),
        ('{12:34:56:78:9a:bc}', '{<MAC_ADDRESS_1>}'),
        ('{"a" 1, joe@example.com', '{"a" 1, <EMAIL_ADDRESS_1>'),
        ('{"a": "x\njoe@example.com"}', '{"a": "x\n<EMAIL_ADDRESS_1>"}'),
        ('{"a": "\\q joe@example.com"}', '{"a": "\\q <EMAIL_ADDRESS_1>"}'),
        ('{"a":1} joe@example.com', '{"a":1} <EMAIL_ADDRESS_1>'),
        ('{"a":1}, "joe@example.com"', '{"a":1}, "<EMAIL_ADDRESS_1>"'),
        ("[1} joe@example.com", "[1} <EMAIL_ADDRESS_1>"),
        ("[01, joe@example.com", "[01, <EMAIL_ADDRESS_1>"),
        ("1" * 1100 + " joe@example.com", "1" * 1100 + " <EMAIL_ADDRESS_1>"),
        ("[" * 1100 + " joe@example.com", "[" * 1100 + " <EMAIL_ADDRESS_1>"),
        ("x\\", "x\\"),
        ("x\\\\u0040", "x\\\\u0040"),
        ('"\\u00', '"\\u00'),
    ],
)  # fmt: skip
def test_what_is_no_json_is_searched_as_text(text, masked):
    kinds = compiled("EMAIL_ADDRESS", "CREDIT_CARD", "MAC_ADDRESS")

    assert kinds.redact_json_text(text, Placeholders()).text == masked
    assert streamed(kinds.json_stream(Placeholders()), list(text)) == masked


def test_a_stream_of_arguments_waits_for_little():
    stream = compiled("EMAIL_ADDRESS").json_stream(Placeholders())

    assert stream.feed('{"city": "Paris", "to": "') == '{"city": "Paris", "to": "'
    assert stream.feed("joe@exam") == ""
    assert stream.held == len("joe@exam")
    assert stream.feed('ple.com", "n": 12') == '<EMAIL_ADDRESS_1>", "n": '
    assert stream.held == 2


def test_places_are_places_in_the_json_text():
    text = r'{"to": "joe\u0040example.com", "n": 4111111111111111}'
    found = compiled("EMAIL_ADDRESS", "CREDIT_CARD").redact_json_text(text, Placeholders()).findings

    assert [text[span.start : span.end] for span in found.spans] == [r"joe\u0040example.com", "4111111111111111"]


def test_a_dry_run_leaves_numbers_as_they_are():
    dry = redactor({"CREDIT_CARD": Action.MASK}, dry_run=True)

    assert dry.redact_json_text("[4111111111111111]", Placeholders()).text == "[4111111111111111]"


def test_of_two_backslashes_the_second_begins_no_escape():
    stream = compiled("EMAIL_ADDRESS").json_stream(Placeholders())

    assert streamed(stream, [r"x\\joe\u", "0040example.com"]) == r"x\\<EMAIL_ADDRESS_1>"


@pytest.mark.parametrize(
    "text", [r'{"a": "\n4111 1111 1111 1111"}', r"joe\u0040example.com", r"\\", "\\\n joe@example.com\\"]
)
def test_a_string_with_escapes_of_its_own_is_searched_as_the_text_that_it_is(text):
    kinds = compiled("EMAIL_ADDRESS", "CREDIT_CARD")
    vault, encoded = Placeholders(), json.dumps({"key": text})
    masked = kinds.redact(text, Placeholders()).text

    assert json.loads(kinds.redact_json_text(encoded, vault).text) == {"key": masked}
    assert json.loads(streamed(kinds.json_stream(vault), encoded)) == {"key": masked}
    assert Restorer(vault, escaped=True).restore(json.dumps({"key": masked})) == encoded
