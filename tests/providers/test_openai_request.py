"""The facts of a request are typed, never guessed; what is not the client's to say is refused or taken out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import MalformedBody
from extproc.framing import document
from extproc.providers import openai_request
from extproc.providers.api import RequestFacts

PATH = "/chat/completions"


def facts_of(**fields) -> RequestFacts:
    request = document.read(json.dumps({"model": "m", **fields}).encode())
    return openai_request.read_facts(request, PATH, ("messages", "tools"))


def refused(**fields) -> MalformedBody:
    with pytest.raises(MalformedBody) as caught:
        facts_of(**fields)
    assert caught.value.status == 400
    return caught.value


def forwarded(*, ask_usage=True, **fields):
    request = document.read(json.dumps({"model": "m", **fields}).encode())
    openai_request.write_common(request, openai_request.read_facts(request, PATH, ()), "theirs", ask_usage=ask_usage)
    return json.loads(document.write(request))


def test_the_least_request():
    assert facts_of() == RequestFacts(model="m", stream=False)


def test_all_facts_of_a_full_request():
    facts = facts_of(
        stream=True, stream_options={"include_usage": True}, max_tokens=5, n=3, user="u", tags=["a", "b", "a"]
    )

    assert facts == RequestFacts(
        model="m", stream=True, max_output_tokens=15, choices=3, wants_usage=True, end_user="u", tags=("a", "b")
    )


@pytest.mark.parametrize(
    "field",
    ["stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "best_of", "user", "metadata", "tags"],
)
def test_null_is_the_same_as_absent(field):
    assert facts_of(**{field: None}) == facts_of()


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, None),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 1, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 9, "max_completion_tokens": 1}, 9),
        ({"max_tokens": 9, "n": 2}, 18),
        ({"max_tokens": 9, "n": 2, "best_of": 3}, 27),
    ],
)
def test_the_bound_on_the_answer_is_the_largest_that_was_allowed(fields, bound):
    assert facts_of(**fields).max_output_tokens == bound


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("model", ""),
        ("model", 5),
        ("model", ["m"]),
        ("model", "m" * 257),
        ("model", "m\r\nx-evil: 1"),
        ("stream", "true"),
        ("stream", 1),
        ("stream_options", []),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("max_tokens", 2**31),
        ("max_completion_tokens", 10**30),
        ("n", 0),
        ("n", 129),
        ("best_of", -1),
        ("user", 5),
        ("user", {"id": "x"}),
        ("user", "u" * 1025),
        ("safety_identifier", []),
        ("metadata", "x"),
        ("metadata", []),
        ("litellm_metadata", 1),
        ("store", "yes"),
    ],
)
def test_a_wrong_value_is_refused_by_name(field, value):
    error = refused(**{field: value})

    assert error.param == field
    assert error.message.startswith(f"Invalid '{field}': ")


def test_an_odd_wish_for_usage_is_refused():
    assert refused(stream_options={"include_usage": "yes"}).param == "stream_options"


def test_a_request_without_a_model_is_refused_in_litellms_words():
    with pytest.raises(MalformedBody) as caught:
        openai_request.read_facts({}, PATH, ())

    assert caught.value.message.startswith("/chat/completions: Invalid model name passed in model=None.")
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    "name",
    [
        "api_base",
        "base_url",
        "api_key",
        "api_version",
        "user_config",
        "extra_headers",
        "litellm_params",
        "aws_region_name",
    ],
)
def test_a_client_may_not_choose_the_upstream_or_its_credential(name):
    error = refused(**{name: "x"})

    assert error.message == f"Rejected Request: {name} is not allowed in request body."
    assert error.param == name


@pytest.mark.parametrize(
    ("fields", "end_user"),
    [
        ({"user": "u", "metadata": {"user_id": "v"}, "safety_identifier": "w"}, "u"),
        ({"user": "", "metadata": {"user_id": "v"}}, "v"),
        ({"metadata": {"user_id": 17}}, "17"),
        ({"metadata": {"user_id": True}, "safety_identifier": "w"}, "w"),
        ({"metadata": {"user_id": ""}}, None),
        ({"metadata": {"user_id": ["v"]}}, None),
        ({"litellm_metadata": {"user_id": "v"}}, "v"),
        ({"metadata": {"user_id": "v" * 2000}}, "v" * 1024),
        ({"safety_identifier": ""}, None),
    ],
)
def test_the_end_user_is_found_where_litellm_looks(fields, end_user):
    assert facts_of(**fields).end_user == end_user


@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        ({"metadata": {"tags": ["a"]}}, ("a",)),
        ({"litellm_metadata": {"tags": ["a"]}}, ("a",)),
        ({"tags": ["a"], "metadata": {"tags": ["b"]}}, ("a",)),
        ({"tags": "a,b"}, ()),
        ({"tags": ["", 5, "a", "x" * 257]}, ("a",)),
        ({"tags": [str(number) for number in range(100)]}, tuple(str(number) for number in range(64))),
    ],
)
def test_tags_are_short_strings_in_a_bounded_list(fields, tags):
    assert facts_of(**fields).tags == tags


def test_texts_are_the_raw_values_of_the_named_fields():
    facts = facts_of(messages=[{"content": "hi"}], other="x")

    assert [bytes(text) for text in facts.texts] == [b'[{"content": "hi"}]']


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "{}"), ("user", "{}"), ("metadata", {"a": "{}"}), ("tags", ["{}"]), ("stream_options", {"{}": True})],
)
def test_a_field_that_decides_is_never_a_large_one(name, value):
    large = json.loads(json.dumps(value).replace("{}", "9" * openai_request.MAX_FIELD_BYTES))

    error = refused(**{name: large})

    assert (error.message, error.param) == (f"Invalid '{name}': longer than 65536 bytes", name)


def test_metadata_is_the_clients_and_the_gateways_together():
    assert facts_of(metadata={"a": 1, "b": 1}, litellm_metadata={"b": 2}).metadata == {"a": 1, "b": 2}


def test_a_stream_is_asked_for_usage_beside_the_clients_own_options():
    options = {"include_usage": False, "include_obfuscation": False}

    assert forwarded(stream=True, stream_options=options)["stream_options"] == options | {"include_usage": True}


def test_duplicate_options_are_forwarded_as_they_were_read():
    request = document.read(b'{"model":"m","stream":true,"stream_options":{"a":1,"a":2,"include_us\\u0061ge":false}}')
    openai_request.write_common(request, openai_request.read_facts(request, PATH, ()), "m", ask_usage=True)

    assert bytes(request["stream_options"]) == b'{"a":2,"include_usage":true}'


def test_without_a_stream_nothing_is_asked():
    assert "stream_options" not in forwarded(stream=False)


def test_a_provider_that_does_not_know_stream_options_never_sees_them():
    assert "stream_options" not in forwarded(stream=True, stream_options={"include_usage": True}, ask_usage=False)


@pytest.mark.parametrize("name", [*sorted(openai_request.REMOVED), "litellm_session_id", "litellm_metadata"])
def test_what_only_the_gateway_understands_is_not_forwarded(name):
    assert forwarded(**{name: {}}) == {"model": "theirs"}


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"metadata": {"a": "b"}}, False),
        ({"metadata": {"a": "b"}, "store": False}, False),
        ({"metadata": {"a": "b"}, "store": True}, True),
        ({"metadata": {"tags": ["b"]}, "store": True}, False),
        ({"metadata": {}, "store": True}, False),
        ({"metadata": None, "store": True}, False),
    ],
)
def test_metadata_is_forwarded_only_as_openai_defines_it(fields, kept):
    assert ("metadata" in forwarded(**fields)) is kept


@given(st.text(min_size=1, max_size=50))
def test_any_provider_model_name_is_written_as_json(name):
    request = document.read(b'{"model":"m"}')

    openai_request.write_common(request, RequestFacts(model="m", stream=False), name, ask_usage=True)

    assert json.loads(document.write(request)) == {"model": name}


@pytest.mark.parametrize("raw", ["[1]", '[ "x"]', '[\n\n{"a":1}]', "[[]]"])
def test_a_list_with_an_item_passes(raw):
    openai_request.require_list(document.read(f'{{"messages":{raw}}}'.encode()), PATH, "messages")


@pytest.mark.parametrize("raw", ["[]", "[ \n ]", "null", "{}", '"[1]"', "5"])
def test_anything_but_a_filled_list_is_refused(raw):
    with pytest.raises(MalformedBody) as caught:
        openai_request.require_list(document.read(f'{{"messages":{raw}}}'.encode()), PATH, "messages")

    assert caught.value.message == "/chat/completions: Invalid 'messages': expected a list with at least one item."
    assert caught.value.param == "messages"


@pytest.mark.parametrize("body", [b"{}", b'{"input":null}'])
def test_an_absent_value_is_refused(body):
    with pytest.raises(MalformedBody, match="Missing required parameter: 'input'"):
        openai_request.require(document.read(body), "/embeddings", "input")


def test_an_absent_list_is_refused():
    with pytest.raises(MalformedBody, match="Missing required parameter: 'messages'"):
        openai_request.require_list({}, PATH, "messages")


def test_a_present_value_passes():
    openai_request.require(document.read(b'{"input":""}'), "/embeddings", "input")


def test_an_error_is_litellms_envelope():
    assert openai_request.error_body("No.", "x", "model", 403) == (
        b'{"error":{"message":"No.","type":"x","param":"model","code":"403"}}'
    )
