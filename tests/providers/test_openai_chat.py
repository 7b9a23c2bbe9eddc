"""What is particular to chat completions; what all APIs keep is in `test_api.py`."""

import json

import pytest

from extproc.errors import MalformedBody
from extproc.framing import document
from extproc.model import Usage
from extproc.providers import openai_chat


def test_tools_are_part_of_the_prompt():
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}], "user": "u"}

    facts = openai_chat.read_request(document.read(json.dumps(body).encode()))

    assert [json.loads(bytes(text)) for text in facts.texts] == [body["messages"], body["tools"]]


def test_messages_must_hold_something():
    with pytest.raises(MalformedBody, match="Invalid 'messages'"):
        openai_chat.read_request(document.read(b'{"model":"m","messages":[]}'))


def test_a_stream_is_asked_for_usage():
    request = document.read(b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}')

    openai_chat.write_request(request, openai_chat.read_request(request), "gpt-4o")

    assert document.write(request) == (
        b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}],'
        b'"stream_options":{"include_usage":true}}'
    )


def test_usage_must_count_the_completion():
    assert openai_chat.read_response(b'{"usage":{"prompt_tokens":1}}').usage is None
    assert openai_chat.read_response(b'{"usage":{"prompt_tokens":1,"completion_tokens":0}}').usage == Usage(
        input_tokens=1
    )
