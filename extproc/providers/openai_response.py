"""What the responses of OpenAI's three APIs have in common: usage, identity, and the text for an estimate.

A payload that is as it should be is read in one go. Any other is taken apart at its top level and its parts each for
itself, so that an odd `choices` never costs us the `usage` beside it. Nothing raises: what is not understood is as if
it were absent, and the exchange is estimated.

The rows of usage follow genai-prices' extractors. Two of its subtleties are kept: the counts are inclusive, and a
provider that leaves reasoning tokens out of `completion_tokens` (xAI, Perplexity) shows it by its total.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from extproc.model import Usage
from extproc.providers.api import Reading
from extproc.providers.lenient import Tokens, decoded, identifier

#: Any event that may hold usage or the end of the stream. Quotes inside JSON strings are escaped, so that an answer
#: which talks about `"usage": {` does not match.
STREAM_MARKS: tuple[bytes, ...] = (rb'"usage"\s*:\s*\{', rb"\[DONE\]")

DONE = b"[DONE]"
_FINISHED = Reading(finished=True)
_NOTHING = Reading()
_ABSENT = Raw(b"null")


class Payload(msgspec.Struct, frozen=True, gc=False):
    """The top level of a response, a chunk, or an error; parts undecoded."""

    id: Any = None
    model: Any = None
    usage: Raw = _ABSENT
    choices: Raw = _ABSENT


class _InputDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    audio_tokens: Tokens | None = None


class _OutputDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: Tokens | None = None
    audio_tokens: Tokens | None = None


class _Counts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    prompt_tokens: Tokens
    completion_tokens: Tokens | None = None
    total_tokens: Tokens | None = None
    #: DeepSeek's name for cached input, beside its newer details.
    prompt_cache_hit_tokens: Tokens | None = None
    #: Perplexity's place for reasoning.
    reasoning_tokens: Tokens | None = None


class _Usage(_Counts, frozen=True, gc=False, kw_only=True):
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _OddUsage(_Counts, frozen=True, gc=False, kw_only=True):
    """Counts beside details that may be anything."""

    prompt_tokens_details: Raw = _ABSENT
    completion_tokens_details: Raw = _ABSENT


class _Function(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, frozen=True, gc=False):
    function: _Function | None = None


class _Message(msgspec.Struct, frozen=True, gc=False):
    """A message, or the delta of one. `reasoning` and `reasoning_content` are spellings of several providers."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One choice of a chat response, a chat chunk (`delta`), or a completion (`text`)."""

    delta: _Message | None = None
    message: _Message | None = None
    text: str | None = None


class _Whole(msgspec.Struct, frozen=True, gc=False):
    """A payload all of whose parts are as they should be."""

    id: Any = None
    model: Any = None
    usage: _Usage | None = None
    choices: list[Choice] | None = None


_NO_INPUTS, _NO_OUTPUTS = _InputDetails(), _OutputDetails()
_wholes = msgspec.json.Decoder(_Whole)
_payloads = msgspec.json.Decoder(Payload)
_odd_usages = msgspec.json.Decoder(_OddUsage | None)
_input_details = msgspec.json.Decoder(_InputDetails | None)
_output_details = msgspec.json.Decoder(_OutputDetails | None)
_choices = msgspec.json.Decoder(list[Choice] | None)


def read(payload: bytes, *, completion_tokens: bool) -> Reading:
    """Read a plain response or the data of one event. `completion_tokens` says whether usage must count them."""
    if payload == DONE:
        return _FINISHED
    whole = decoded(_wholes, payload) or _from_parts(payload)
    if whole is None:
        return _NOTHING
    usage = _counted(whole.usage, completion_tokens=completion_tokens)
    choices = whole.choices
    return Reading(
        response_id=identifier(whole.id),
        model=identifier(whole.model),
        usage=usage,
        usage_only=usage is not None and choices == [],
        text="".join([_text(choice) for choice in choices]) if choices else "",
    )


def merge(earlier: Usage | None, later: Usage | None) -> Usage | None:
    """The usage of a stream after one more event: each tells all of it."""
    return later or earlier


def _from_parts(payload: bytes) -> _Whole | None:
    """What can be understood of an odd payload."""
    top = decoded(_payloads, payload)
    if top is None:
        return None
    return _Whole(top.id, top.model, _usage_from_parts(top.usage), decoded(_choices, top.choices))


def _usage_from_parts(raw: Raw) -> _Usage | None:
    told = decoded(_odd_usages, raw)
    if told is None:
        return None
    counts = {name: getattr(told, name) for name in _Counts.__struct_fields__}
    return _Usage(
        **counts,
        prompt_tokens_details=decoded(_input_details, told.prompt_tokens_details),
        completion_tokens_details=decoded(_output_details, told.completion_tokens_details),
    )


def _counted(told: _Usage | None, *, completion_tokens: bool) -> Usage | None:
    if told is None or (completion_tokens and told.completion_tokens is None):
        return None
    return _inclusive(told, told.prompt_tokens_details or _NO_INPUTS, told.completion_tokens_details or _NO_OUTPUTS)


def _inclusive(told: _Usage, inputs: _InputDetails, outputs: _OutputDetails) -> Usage:
    """Inclusive counts. A part that is larger than its whole is not believed: the whole is billed at its full price."""
    input_tokens, output_tokens = told.prompt_tokens, told.completion_tokens or 0
    reasoning = outputs.reasoning_tokens or told.reasoning_tokens or 0
    if told.total_tokens is not None and told.total_tokens >= input_tokens + output_tokens + reasoning:
        output_tokens += reasoning if told.total_tokens > input_tokens + output_tokens else 0
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=_part(inputs.cached_tokens or told.prompt_cache_hit_tokens, input_tokens),
        cache_write_tokens=_part(inputs.cache_write_tokens, input_tokens),
        reasoning_tokens=_part(reasoning, output_tokens),
        input_audio_tokens=_part(inputs.audio_tokens, input_tokens),
        output_audio_tokens=_part(outputs.audio_tokens, output_tokens),
    )


def _part(count: int | None, whole: int) -> int:
    return count if count is not None and count <= whole else 0


def _text(choice: Choice) -> str:
    """Everything in a choice that the model generated, whatever its channel."""
    message = choice.message or choice.delta
    if message is None:
        return choice.text or ""
    said = (message.content, message.refusal, message.reasoning_content or message.reasoning)
    text = "".join([part for part in said if isinstance(part, str)])
    if message.function_call is None and not message.tool_calls:
        return text
    calls = [message.function_call, *(call.function for call in message.tool_calls or ())]
    return text + "".join((call.name or "") + (call.arguments or "") for call in calls if call is not None)
