"""What is particular to embeddings; what all APIs keep is in `test_api.py`."""

import pytest

from extproc.errors import MalformedBody
from extproc.framing import document
from extproc.model import Usage
from extproc.providers import openai_embeddings


@pytest.mark.parametrize("text", [b'"hi"', b'["hi","ho"]', b"[1,2]", b"[[1],[2]]"])
def test_the_input_may_be_text_or_numbers_in_lists_or_not(text):
    facts = openai_embeddings.read_request(document.read(b'{"model":"m","input":' + text + b"}"))

    assert [bytes(raw) for raw in facts.texts] == [text]


def test_an_input_must_be_there():
    with pytest.raises(MalformedBody, match="Missing required parameter: 'input'"):
        openai_embeddings.read_request(document.read(b'{"model":"m"}'))


def test_the_model_is_the_providers():
    request = document.read(b'{"model":"m","input":"hi"}')

    openai_embeddings.write_request(request, openai_embeddings.read_request(request), "text-embedding-3-small")

    assert document.write(request) == b'{"model":"text-embedding-3-small","input":"hi"}'


def test_only_input_is_counted():
    assert openai_embeddings.read_response(b'{"usage":{"prompt_tokens":8}}').usage == Usage(input_tokens=8)
