"""Tokens counted here, for exchanges whose provider did not count them: cut streams and missing usage.

Strategy: OpenAI's `o200k_base` with ranks from this package, never from the network. For the models that use it
(GPT-4o and later) the count of a text is exact; others differ by some ten percent, more outside English prose. A prompt
is exact to a few tokens a message, since providers do not tell how they render messages and tools.

Counting is bounded: of a long text only samples are encoded and their density taken for the whole, and a prompt of
very many values is told by its size, so that one call costs a tenth of a second at most, whatever a client sends.
Images count as one of usual size; sound and files count nothing.

Loading takes a quarter of a second and 60 MB, at the first count or in `preload`.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import accumulate, pairwise
from typing import Any

import msgspec
import tiktoken

#: Texts up to this many characters are counted exactly.
EXACT_CHARACTERS = 64 * 1024
#: Of longer texts, this many pieces of this many characters are, evenly spread over the whole.
SAMPLES = 16
SAMPLE_CHARACTERS = 1024

#: What surrounds each message and what primes the answer (OpenAI cookbook, "How to count tokens with tiktoken").
MESSAGE_TOKENS = 3
ANSWER_TOKENS = 3
#: An image of 1024 x 1024 in high detail, and any image in low detail (OpenAI's guide "Images and vision", GPT-4o).
IMAGE_TOKENS = 765
LOW_DETAIL_IMAGE_TOKENS = 85

BYTES_PER_TOKEN = 4
#: A prompt with more commas and brackets than this is not taken apart: that costs by the value, not by the byte.
MAX_MARKS = 100_000

_VOCABULARY = 199_998
#: How `o200k_base` splits text before it merges bytes; from tiktoken's `openai_public.py`.
_PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

#: Keys whose text the model never sees.
_UNSEEN = frozenset({"id", "type", "tool_call_id", "cache_control"})
#: Reading a long fraction is slow, and no count needs its value.
_decoder = msgspec.json.Decoder(float_hook=len)
_UNCOUNTED_PARTS = frozenset({"input_audio", "file", "video_url"})


def preload() -> None:
    """Load the tokenizer now, so that no exchange waits for it."""
    _encoding()


def count(text: str) -> int:
    """Tokens of a text. Names of special tokens are counted as the text they are."""
    if len(text) <= EXACT_CHARACTERS:
        return len(_encoding().encode_ordinary(text))
    step = (len(text) - SAMPLE_CHARACTERS) // (SAMPLES - 1)
    starts = range(0, step * SAMPLES, step)
    sampled = sum(len(_encoding().encode_ordinary(text[start : start + SAMPLE_CHARACTERS])) for start in starts)
    return sampled * len(text) // (SAMPLES * SAMPLE_CHARACTERS)


def count_prompt(texts: Iterable[bytes]) -> int:
    """Tokens of the raw JSON values that hold a prompt: messages and tools, a text, texts, or token numbers."""
    strings: list[str] = []
    tokens = sum(_collect_raw(raw, strings) for raw in texts)
    if sum(map(len, strings)) > EXACT_CHARACTERS:
        return tokens + count("\n".join(strings))
    return tokens + sum(map(count, strings))


@cache
def _encoding() -> tiktoken.Encoding:
    return tiktoken.Encoding("o200k_base", pat_str=_PATTERN, mergeable_ranks=_ranks(), special_tokens={})


def _ranks() -> dict[bytes, int]:
    """Token to rank, out of the form that the data's README describes."""
    packed = lzma.decompress(resources.files(__package__).joinpath("data", "o200k_base.xz").read_bytes())
    ends = accumulate(packed[:_VOCABULARY], initial=_VOCABULARY)
    return {packed[start:end]: rank for rank, (start, end) in enumerate(pairwise(ends))}


def _collect_raw(raw: bytes, strings: list[str]) -> int:
    if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_MARKS:
        return len(raw) // BYTES_PER_TOKEN
    try:
        value = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return len(raw) // BYTES_PER_TOKEN
    answered = ANSWER_TOKENS if _is_message(value[0] if isinstance(value, list) and value else None) else 0
    return answered + _collect(value, strings)


def _collect(value: Any, strings: list[str]) -> int:
    """Add the text in a value to `strings`; the tokens of what is not text."""
    if isinstance(value, str):
        strings.append(value)
        return 0
    if isinstance(value, list):
        return _collect_list(value, strings)
    return _collect_object(value, strings) if isinstance(value, dict) else 0


def _collect_list(values: Sequence[Any], strings: list[str]) -> int:
    if values and all(type(value) is int for value in values):
        return len(values)
    return sum(_collect(value, strings) for value in values)


def _collect_object(value: Mapping[str, Any], strings: list[str]) -> int:
    if "parameters" in value:  # a tool's definition is shown to the model with the names of its fields
        strings.append(msgspec.json.encode(value).decode())
        return 0
    if (image := value.get("image_url")) is not None:
        return LOW_DETAIL_IMAGE_TOKENS if isinstance(image, dict) and image.get("detail") == "low" else IMAGE_TOKENS
    if value.get("type") in _UNCOUNTED_PARTS:
        return 0
    framing = MESSAGE_TOKENS if _is_message(value) else 0
    return framing + sum(_collect(part, strings) for name, part in value.items() if name not in _UNSEEN)


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and "role" in value
