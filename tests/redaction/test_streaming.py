"""A text is redacted alike however it is cut, and little of it waits."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redaction.redacting import compiled, cut, redactor

from extproc.redaction import (
    ENTITIES,
    Action,
    Blocked,
    Placeholders,
    Restorer,
    TextTooLong,
)
from extproc.redaction.streaming import MAX_PENDING_CHARS

PIECES = [
    *("john.doe@example.com", " 4111 1111 1111 1111 ", "+44 20 7946 0958", "+1 415 555 2671", "10.1.2.3", "a@b", "12"),
    *("sk-proj-abcdefghijklmnopqrstuvwx", "AKIAABCDEFGHIJKLMNOP", "536-90-4399", "DE89 3704 0044 0532 0130 00", "@"),
    *("eyJhbGciOiJI.eyJzdWIiOiIxMjM0.abcdefghijk", "-----BEGIN RSA PRIVATE KEY-----", "passport ", "123456789", "-"),
    *(
        "-----END RSA PRIVATE KEY-----",
        "\u65e5\u672c\u8a9e",
        "\xe9",
        "\uff4a\uff4f\uff45\uff20ex.com",
        "\u200b",
        "key: ",
    ),
    *("9f8a7b6c5d4e3f2a1b0c", "postgres://u:p@h/db", "<EMAIL_ADDRESS_1>", "<", "EMAIL", "born ", "12/03/1980", "."),
    *(
        "x" * 70,
        "1" * 20,
        "\\",
        '"',
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "1.5e3",
        " ",
        "x",
        "\n",
        "_",
        "/",
        "\\u0040",
        "\\n",
    ),
    "2001:db8::1",
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)
sizes = st.lists(st.sampled_from([1, 1, 2, 3, 5, 9, 30]), max_size=60)


def streamed(stream, pieces):
    return "".join([stream.feed(piece) for piece in pieces]) + stream.flush()


@settings(max_examples=300)
@given(text=texts, sizes=sizes)
def test_any_pieces_give_what_the_whole_gives(text, sizes):
    whole = compiled(*ENTITIES).redact(text, Placeholders())
    stream = compiled(*ENTITIES).stream(Placeholders())

    assert streamed(stream, cut(text, sizes)) == whole.text
    assert stream.findings == whole.findings


LONG_PIECES = [
    "A",
    "a1",
    "7",
    r"\u0041",
    r"\\u0041",
    r"\n",
    r"\\n",
    "\u200b",
    "\uff21",
    "\xe9",
    " ",
    "@x.com ",
    "4111 1111 ",
]
long_texts = st.lists(
    st.tuples(st.sampled_from([*LONG_PIECES, "-----BEGIN RSA PRIVATE KEY-----"]), st.integers(1, 90)), max_size=8
).map(lambda runs: "".join([piece * times for piece, times in runs]))


@given(text=long_texts, sizes=sizes)
def test_any_pieces_give_what_the_whole_gives_also_where_much_waits(text, sizes):
    policy = compiled(*ENTITIES)

    assert streamed(policy.stream(Placeholders()), cut(text, sizes)) == policy.redact(text, Placeholders()).text
    text = f'["{text}"]'
    whole = policy.redact_json_text(text, Placeholders()).text
    assert streamed(policy.json_stream(Placeholders()), cut(text, sizes)) == whole


@given(text=texts, sizes=sizes)
def test_bytes_decoded_piece_by_piece_give_what_the_whole_gives(text, sizes):
    text = text.encode("utf-8", "replace").decode()
    decoder = codecs.getincrementaldecoder("utf-8")()
    pieces = [decoder.decode(piece.encode("latin-1")) for piece in cut(text.encode().decode("latin-1"), sizes)]

    assert (
        streamed(compiled(*ENTITIES).stream(Placeholders()), pieces)
        == compiled(*ENTITIES).redact(text, Placeholders()).text
    )


@given(text=texts, sizes=sizes)
def test_what_was_masked_comes_back(text, sizes):
    vault = Placeholders()
    masked = compiled(*ENTITIES).redact(text, vault).text

    assert Restorer(vault).restore(masked) == text
    assert streamed(Restorer(vault), cut(masked, sizes)) == text


@settings(max_examples=50)
@given(text=texts, sizes=sizes)
def test_actions_that_only_log_leave_any_pieces_as_they_are(text, sizes):
    stream = redactor({"EMAIL_ADDRESS": Action.LOG, "CREDIT_CARD": Action.LOG}).stream(Placeholders())

    assert streamed(stream, cut(text, sizes)) == text


def test_prose_waits_for_no_more_than_the_word_it_is_in():
    prose = "The quick brown fox jumps over the lazy dog, and then writes to nobody about it. " * 5
    stream = compiled(*ENTITIES).stream(Placeholders())
    held = []
    for start in range(0, len(prose), 4):
        stream.feed(prose[start : start + 4])
        held.append(stream.held)

    assert max(held) <= 7
    assert sum(held) / len(held) < 4


def test_what_waits_is_bounded_whatever_comes():
    stream = redactor({"EMAIL_ADDRESS": Action.MASK}).stream(Placeholders())
    for _ in range(300):
        stream.feed("a" * 50)

    assert stream.held <= 640


@pytest.mark.parametrize("size", [1_000, 30_000])
def test_characters_that_nobody_sees_may_not_wait_without_end(size):
    policy = redactor({"EMAIL_ADDRESS": Action.MASK})
    text = "a" + "\u200b" * 2 * MAX_PENDING_CHARS + "@company.com"

    with pytest.raises(TextTooLong):
        streamed(policy.stream(Placeholders()), cut(text, [size] * (len(text) // size)))
    with pytest.raises(TextTooLong):
        policy.redact(text, Placeholders())


def test_a_policy_without_rules_holds_nothing_and_changes_nothing():
    nothing = redactor({})
    stream = nothing.stream(Placeholders())

    assert nothing.idle
    assert not compiled("EMAIL_ADDRESS").idle
    assert (stream.feed("joe@example.com"), stream.held, stream.flush()) == ("joe@example.com", 0, "")
    assert stream.seen_before() == b""


def test_the_context_is_what_was_said_before_also_when_it_is_gone():
    stream = compiled("US_PASSPORT").stream(Placeholders())

    assert streamed(stream, ["my ", "passport is ", "C123", "45678", "."]) == "my passport is <US_PASSPORT_1>."


def test_a_stream_gives_nothing_of_what_it_blocks():
    stream = redactor({"EMAIL_ADDRESS": Action.BLOCK}).stream(Placeholders())

    assert stream.feed("write to joe@exam") == "write to "
    with pytest.raises(Blocked):
        stream.feed("ple.com now")


def test_spans_are_places_in_the_text_as_it_came():
    stream = compiled("EMAIL_ADDRESS").stream(Placeholders())
    text = "a\u200b joe@example.com, jim@example.com"
    streamed(stream, cut(text, [3, 9]))

    assert [text[span.start : span.end] for span in stream.findings.spans] == ["joe@example.com", "jim@example.com"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (r'{"paid with": "card:\n4111 1111 1111 1111"}', r'{"paid with": "card:\n<CREDIT_CARD_1>"}'),
        (r'{"to":"\tjoe@example.com"}', r'{"to":"\t<EMAIL_ADDRESS_1>"}'),
        (r'{"to":"joe\u0040example.com"}', r'{"to":"<EMAIL_ADDRESS_1>"}'),
        (r'print("\nAKIAABCDEFGHIJKLMNOP")', r'print("\n<AWS_ACCESS_KEY_1>")'),
        (r"http:\/\/joe:pass1word@example.com\/", r"<URL_CREDENTIALS_1>\/"),
        ("joe@example.com\\", "<EMAIL_ADDRESS_1>\\"),
    ],
)
def test_an_escape_in_a_text_hides_nothing_and_comes_back_as_it_was(text, masked):
    kinds, vault = compiled(*ENTITIES), Placeholders()

    assert streamed(kinds.stream(vault), text) == kinds.redact(text, vault).text == masked
    assert Restorer(vault).restore(masked) == text
