"""What is particular to completions; what all APIs keep is in `test_api.py`."""

import pytest

from extproc.errors import MalformedBody
from extproc.framing import document
from extproc.model import Usage
from extproc.providers import openai_completions


@pytest.mark.parametrize("prompt", [b'"hi"', b'["hi","ho"]', b"[1,2]", b"[[1],[2]]"])
def test_a_prompt_may_be_text_or_numbers_in_lists_or_not(prompt):
    facts = openai_completions.read_request(document.read(b'{"model":"m","prompt":' + prompt + b"}"))

    assert [bytes(text) for text in facts.texts] == [prompt]


def test_a_prompt_must_be_there():
    with pytest.raises(MalformedBody, match="Missing required parameter: 'prompt'"):
        openai_completions.read_request(document.read(b'{"model":"m","prompt":null}'))


def test_as_many_answers_as_are_generated_bound_the_output():
    facts = openai_completions.read_request(document.read(b'{"model":"m","prompt":"hi","max_tokens":4,"best_of":3}'))

    assert facts.max_output_tokens == 12


def test_the_model_is_the_providers():
    request = document.read(b'{"model":"m","prompt":"hi"}')

    openai_completions.write_request(request, openai_completions.read_request(request), "davinci-002")

    assert document.write(request) == b'{"model":"davinci-002","prompt":"hi"}'


def test_usage_must_count_the_completion():
    assert openai_completions.read_response(b'{"usage":{"prompt_tokens":1}}').usage is None
    assert openai_completions.read_response(b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}').usage == Usage(
        input_tokens=1, output_tokens=2
    )
