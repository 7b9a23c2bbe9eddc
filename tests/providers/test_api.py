"""What every API must keep, whatever its fields: recorded payloads give exactly the expected reading."""

import functools
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import MalformedBody
from extproc.framing import document
from extproc.framing.sse import SseFramer
from extproc.model import Usage
from extproc.providers import registry
from extproc.providers.api import Reading

FIXTURES = Path(__file__).parent / "fixtures"
APIS = {api.NAME: api for api in registry.APIS}
CASES = sorted(path.parent for path in FIXTURES.glob("*/*/expected.toml"))
STREAMS = [case for case in CASES if (case / "stream.sse").exists()]
REQUESTS: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": [{"role": "user", "content": "hi"}]},
    "openai_completions": {"prompt": "hi"},
    "openai_embeddings": {"input": ["hi"]},
    "anthropic_messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 16},
}
OPENAIS = [api for api in registry.APIS if api.NAME.startswith("openai_")]
#: What the last event of a complete stream ends with.
ENDS = (b"[DONE]", b'{"type":"message_stop"}')

each_api = pytest.mark.parametrize("api", registry.APIS, ids=lambda api: api.NAME)
each_openai = pytest.mark.parametrize("api", OPENAIS, ids=lambda api: api.NAME)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
each_stream = pytest.mark.parametrize("case", STREAMS, ids=lambda case: f"{case.parent.name}-{case.name}")


def marked(api, chunk):
    return any(re.search(mark, chunk) for mark in api.STREAM_MARKS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def read_case(case):
    """The readings of a case, in order; a plain response is one."""
    api = APIS[case.parent.name]
    if (case / "response.json").exists():
        return [api.read_response((case / "response.json").read_bytes())]
    framer = SseFramer()
    events = framer.feed((case / "stream.sse").read_bytes()) + framer.flush()
    return [api.read_response(event.data) for event in events if event.data]


def expected(case):
    return tomllib.loads((case / "expected.toml").read_text())


@each_api
def test_there_are_recorded_payloads_and_a_request(api):
    assert any(case.parent.name == api.NAME for case in CASES)
    assert api.NAME in REQUESTS


@each_case
def test_the_usage_of_a_recorded_payload_is_exact(case):
    usages = [reading.usage for reading in read_case(case)]

    told = functools.reduce(APIS[case.parent.name].merge_usage, usages, None)
    assert told == (Usage(**expected(case)["usage"]) if "usage" in expected(case) else None)


@each_case
def test_the_identity_and_text_of_a_recorded_payload_are_exact(case):
    readings = read_case(case)

    assert (
        next((reading.response_id for reading in readings if reading.response_id), "") == expected(case)["response_id"]
    )
    assert next((reading.model for reading in readings if reading.model), "") == expected(case)["model"]
    assert "".join(reading.text for reading in readings) == expected(case)["text"]


@each_stream
def test_only_the_event_we_asked_for_would_be_hidden(case):
    assert sum(reading.usage_only for reading in read_case(case)) == expected(case)["usage_only_events"]


@each_stream
def test_a_stream_is_finished_with_its_last_event_and_not_before(case):
    readings = read_case(case)

    assert not any(reading.finished for reading in readings[:-1])
    assert readings[-1].finished == (case / "stream.sse").read_bytes().rstrip().endswith(ENDS)


@each_stream
def test_an_event_that_matters_bears_the_mark_and_no_other_does(case):
    api = APIS[case.parent.name]
    framer = SseFramer()

    for event in framer.feed((case / "stream.sse").read_bytes()):
        reading = api.read_response(event.data)
        assert marked(api, event.raw) == bool(reading.usage or reading.finished)


@each_api
@pytest.mark.parametrize("options", [{}, {"indent": 1}, {"indent": "\t"}, {"separators": (",", ":")}])
@given(text=st.text(), usage=st.booleans())
def test_the_mark_is_found_however_usage_is_written(api, options, text, usage):
    told = {"prompt_tokens": 1, "completion_tokens": 2} if usage else None
    chunk = json.dumps({"id": text, "usage": told, "choices": [{"delta": {"content": text}}]}, **options).encode()

    assert marked(api, chunk) == (usage or b"[DONE]" in chunk)


@each_api
def test_text_about_usage_does_not_bear_the_mark(api):
    chunk = json.dumps({"choices": [{"delta": {"content": '{"usage": {"prompt_tokens": 1}}'}}], "usage": None})

    assert not marked(api, chunk.encode())


@each_api
@given(payload=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_payload_raises(api, payload):
    assert isinstance(api.read_response(payload), Reading)


@each_api
@given(
    parts=st.dictionaries(
        st.sampled_from(["id", "model", "usage", "choices", "error"]), json_values | st.lists(json_values, max_size=2)
    )
)
def test_an_odd_part_of_a_payload_does_not_raise(api, parts):
    assert isinstance(api.read_response(json.dumps(parts).encode()), Reading)


@each_api
def test_an_error_in_a_response_says_nothing(api):
    error = b'{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}'

    assert api.read_response(error) == Reading()


@each_api
def test_the_provider_gets_its_model_name_and_nothing_else_changes(api):
    content = {"model": "ours", **REQUESTS[api.NAME], "temperature": 0.5}
    request = document.read(json.dumps(content).encode())

    api.write_request(request, api.read_request(request), "theirs")

    assert json.loads(document.write(request)) == content | {"model": "theirs"}


@each_openai
def test_a_stream_is_asked_for_usage_unless_the_provider_does_not_know_that(api):
    content = {"model": "ours", **REQUESTS[api.NAME], "stream": True}
    asked, unasked = (document.read(json.dumps(content).encode()) for _ in range(2))

    api.write_request(asked, api.read_request(asked), "theirs")
    api.write_request(unasked, api.read_request(unasked), "theirs", ask_usage=False)

    assert json.loads(document.write(asked))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in unasked


@each_api
def test_the_prompt_is_named_for_an_estimate(api):
    request = document.read(json.dumps({"model": "ours", **REQUESTS[api.NAME]}).encode())

    assert any(b"hi" in bytes(text) for text in api.read_request(request).texts)


@each_api
def test_a_request_without_its_prompt_is_refused_in_litellms_words(api):
    name = next(iter(REQUESTS[api.NAME]))

    with pytest.raises(MalformedBody) as caught:
        api.read_request(document.read(b'{"model":"ours"}'))

    assert caught.value.message == f"{api.UPSTREAM_PATH}: Missing required parameter: '{name}'."
    assert (caught.value.param, caught.value.status) == (name, 400)


@each_openai
def test_an_error_has_the_shape_that_the_sdks_read(api):
    assert json.loads(api.error_body("No.", "auth_error", None, 401)) == {
        "error": {"message": "No.", "type": "auth_error", "param": None, "code": "401"}
    }


@each_api
def test_every_path_leads_to_the_api(api):
    for path in api.PATHS:
        found = registry.find(path.replace("{model}", "gpt-4o"))

        assert found == (api, "gpt-4o" if "{model}" in path else None)


@each_api
def test_an_error_in_a_stream_is_one_event_with_the_error(api):
    (event,) = SseFramer().feed(api.error_event("No.", "budget_exceeded", None, 422))

    assert json.loads(event.data) == json.loads(api.error_body("No.", "budget_exceeded", None, 422))
