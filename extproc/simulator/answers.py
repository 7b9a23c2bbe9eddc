"""What is answered: texts, their tokens, vectors and usage, all from the request alone."""

from __future__ import annotations

import array
import base64
import hashlib
import random
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import msgspec

from extproc.simulator.questions import Chat, Function, Generation
from extproc.simulator.tools import arguments

FINGERPRINT = "simulated-provider"

_TOKEN = re.compile(r" ?[^\W\d_]{1,6}|\d{1,3}|\s+|.", re.DOTALL)

Tokens: TypeAlias = "list[str]"


class Answer(msgspec.Struct, frozen=True):
    """One choice: its tokens, and why it ended."""

    tokens: Tokens
    finish_reason: str


class Generated(msgspec.Struct, frozen=True):
    """Everything that is sent of one answer, in whatever form."""

    id: str
    created: int
    model: str
    prompt_tokens: int
    answers: tuple[Answer, ...]

    def usage(self) -> dict[str, Any]:
        completion = sum(len(answer.tokens) for answer in self.answers)
        predicted = {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
        total = self.prompt_tokens + completion
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, **predicted},
        }

    def head(self, kind: str) -> dict[str, Any]:
        named = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**named, "system_fingerprint": FINGERPRINT}


def tokenize(text: str) -> Tokens:
    """The tokens of a text; joined they are the text again."""
    return _TOKEN.findall(text)


def generate(prefix: str, asked: Generation, given: int, questions: Sequence[str], limit: int) -> Generated:
    """The answers to all questions, `asked.n` for each; `given` is the number of tokens of the prompt."""
    answers = tuple(_answer(question, index, limit) for question in questions for index in range(asked.n))
    return _generated(prefix, asked, given, answers)


def call(asked: Chat, function: Function, given: int, limit: int) -> Generated:
    """The arguments of a call, for each choice. Where the function was named, OpenAI ends with `stop`."""
    tokens = tokenize(arguments(function.parameters, asked.question()))
    ended = "length" if len(tokens) > limit else "tool_calls" if asked.tool_choice == "required" else "stop"
    return _generated("chatcmpl-", asked, given, (Answer(tokens[:limit], ended),) * asked.n)


def _generated(prefix: str, asked: Generation, given: int, answers: tuple[Answer, ...]) -> Generated:
    return Generated(prefix + secrets.token_urlsafe(22), int(time.time()), asked.model, given, answers)


def _answer(question: str, index: int, limit: int) -> Answer:
    quoted = " ".join(question.split())[:200]
    about = f' You wrote: "{quoted}".' if quoted else ""
    which = f" This is choice {index + 1}." if index else ""
    tokens = tokenize(
        f"This is a simulated answer: no model was asked.{which}{about} "
        "The simulated provider answers like this, token by token, with usage that adds up, so that keys, budgets and "
        "spend can be tried without a provider's key."
    )
    return Answer(tokens[:limit], "length" if len(tokens) > limit else "stop")


def vector(value: str | list[int], size: int, encoding: str) -> list[float] | str:
    """A direction that depends on the input alone; its length is 1, as OpenAI's."""
    seed = hashlib.sha256(repr(value).encode()).digest()
    chance = random.Random(seed)  # noqa: S311 - a made-up vector, not a secret
    raw = [chance.gauss(0.0, 1.0) for _ in range(size)]
    length = sum(component * component for component in raw) ** 0.5
    vector = array.array("f", (component / length for component in raw))
    return base64.b64encode(vector.tobytes()).decode() if encoding == "base64" else vector.tolist()


def texts(value: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """One input or several, each a text or tokens."""
    if isinstance(value, str) or (value and isinstance(value[0], int)):
        return [value]
    return cast("list[str | list[int]]", value)


def size_of(value: str | list[int]) -> int:
    """How many tokens an input has."""
    return len(tokenize(value)) if isinstance(value, str) else len(value)
