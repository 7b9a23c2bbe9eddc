"""What was said in one exchange, where it is to be stored: gathered while it passes, and masked before it is.

Strategy: gathered is what the provider got and what it gave: there the placeholders of a guardrail stand that puts the
client's values back. Nothing is looked into on the way; a stream is folded into its answer now and then, so that what
is held is about as long as the text. `told` does the work and is for a thread: images and sounds become a word, the
answer goes through the exchange's own guardrails, then both through the policy for what is stored, ids and all, and
long texts are cut. What cannot be masked is left out, and that is told in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from extproc.bodies.redaction import Redaction
from extproc.errors import Blocked, RedactionFailed
from extproc.framing.sse import SseEvent, SseFramer
from extproc.providers.api import Api, Assembled
from extproc.providers.texts import TEXT, Fields, Spec, without_media

#: Of a request, and of an answer that is one document; of a stream, whose events are mostly framing, so much more.
MOST_BYTES = 1024 * 1024
MOST_STREAM_BYTES = 32 * 1024 * 1024
#: A stream is folded whenever so much has come, and what it is so far measured whenever so much more has.
FOLDED_BYTES = 64 * 1024
MEASURED_BYTES = 1024 * 1024
#: Of what is stored of a request, or of an answer, as JSON.
MOST_STORED_BYTES = 256 * 1024
#: Texts are cut to so many characters, the first of these with which all fits.
_CUTS = (None, 32_768, 4_096, 512)


class Content:
    """One exchange's: `begin` with the answer's headers, `feed` it the provider's bytes, `end`; then `told`."""

    def __init__(self, api: Api, asked: bytes, redaction: Redaction | None = None) -> None:
        self._api = api
        self._asked = asked if len(asked) <= MOST_BYTES else None
        self._redaction = redaction
        #: Why what was asked passed guardrails that did not look into it; `""` where they did.
        self._unsearched = redaction.unsearched if redaction is not None and redaction.acts else ""
        self._answer: _Document | _Stream | None = None

    @property
    def size(self) -> int:
        """Bytes that are held, nearly."""
        return len(self._asked or b"") + (self._answer.size if self._answer else 0)

    def begin(self, headers: Mapping[bytes, bytes]) -> None:
        """An answer that may be read comes now."""
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return
        if kind == b"text/event-stream":
            self._answer = _Stream(self._api.assembled())
        elif kind == b"application/json":
            self._answer = _Document()

    def feed(self, chunk: bytes) -> None:
        if self._answer is not None:
            self._answer.feed(chunk)

    def end(self) -> None:
        """Nothing more comes."""
        if self._answer is not None:
            self._answer.end()

    def told(self, storing: Redaction) -> bytes:
        """`{"request": …, "response": …}` as JSON. `storing` masks whatever else is to be masked."""
        return msgspec.json.encode(
            {"request": _or_why(lambda: self._request(storing)), "response": _or_why(lambda: self._response(storing))}
        )

    def _request(self, storing: Redaction) -> Any:
        if self._unsearched:
            raise RedactionFailed(self._unsearched)
        if self._asked is None:
            raise RedactionFailed("text_too_long")
        spec = Fields(self._api.REQUEST_TEXTS)
        return _short(_masked(without_media(msgspec.json.decode(self._asked), spec), spec, storing))

    def _response(self, storing: Redaction) -> Any:
        if self._answer is None:
            return {}
        spec: Spec = self._api.RESPONSE_TEXTS
        answer = without_media(self._answer.whole(), spec)
        if self._redaction is not None:
            if self._redaction.inspects_answers:
                raise RedactionFailed("inspected_elsewhere")
            # The exchange may still be at its last piece, with its own deadline, and its log line tells what it found.
            redaction = self._redaction.uncounted()
            redaction.checkpoint = storing.checkpoint
            answer = redaction.masked(answer, spec)
        return _short(_masked(answer, spec, storing))


class _Document:
    """An answer that is one JSON document."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.size = 0

    def feed(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size <= MOST_BYTES:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def end(self) -> None:
        """It is read when it is asked for."""

    def whole(self) -> Any:
        """Raises `RedactionFailed` for what is too long, `DecodeError` or `UnicodeDecodeError` for what is no JSON."""
        if self.size > MOST_BYTES:
            raise RedactionFailed("text_too_long")
        return msgspec.json.decode(b"".join(self._chunks)) if self._chunks else {}


class _Stream:
    """An answer that comes as events. What its texts amount to may be as long as a document, and no longer: little JSON
    can be much in memory."""

    def __init__(self, assembled: Assembled) -> None:
        self._assembled: Assembled | None = assembled
        self._framer = SseFramer()
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._taken = 0
        self._measured = 0
        self._measured_at = 0

    @property
    def size(self) -> int:
        """What waits, the answer as it was measured, and half of what was folded since then: that is in pieces."""
        return self._waiting + self._measured + (self._taken - self._measured_at) // 2

    def feed(self, chunk: bytes) -> None:
        if self._assembled is None:
            return
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._waiting >= FOLDED_BYTES:
            self._fold()

    def end(self) -> None:
        self._fold()
        self._assemble(self._framer.flush())
        self._measure()

    def whole(self) -> Any:
        """Raises `RedactionFailed` for what is too long."""
        if self._assembled is None:
            raise RedactionFailed("text_too_long")
        return self._assembled.answer()

    def _fold(self) -> None:
        self._assemble(self._framer.feed(b"".join(self._chunks)))
        self._taken += self._waiting
        self._chunks.clear()
        self._waiting = 0
        if self._taken - self._measured_at >= MEASURED_BYTES:
            self._measure()

    def _assemble(self, events: list[SseEvent]) -> None:
        for event in events:
            if self._assembled is None:
                return
            try:
                self._assembled.feed(msgspec.json.decode(event.data))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue

    def _measure(self) -> None:
        """Join the pieces so far, and give up what is too long."""
        if self._assembled is None:
            return
        try:
            measured = len(msgspec.json.encode(self._assembled.answer()))
        except RecursionError:
            measured = MOST_BYTES + 1
        self._measured, self._measured_at = measured, self._taken
        if measured > MOST_BYTES or self._taken > MOST_STREAM_BYTES:
            self._assembled, self._measured = None, 0


def _or_why(made: Callable[[], Any]) -> Any:
    """What was made, or why it is left out: a word, never a text."""
    try:
        return made()
    except RedactionFailed as failure:
        return {"left_out": failure.reason}
    except Blocked:
        return {"left_out": "blocked"}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"left_out": "not_json"}


def _masked(value: Any, spec: Spec, storing: Redaction) -> Any:
    """Without what the policy for what is stored finds, also where an id should be: what a client writes there, its
    provider takes as it is, but nobody needs it here."""
    return _everywhere(storing.masked(value, spec), lambda text: storing.masked(text, TEXT))


def _everywhere(value: Any, changed: Callable[[str], Any]) -> Any:
    """A JSON value with each of its texts changed, but for names."""
    if isinstance(value, str):
        return changed(value)
    if isinstance(value, list):
        return [_everywhere(each, changed) for each in value]
    return {name: _everywhere(each, changed) for name, each in value.items()} if isinstance(value, dict) else value


def _short(value: Any) -> Any:
    """A JSON value that may be stored, its long texts cut where it has to be."""
    for most in _CUTS:
        short = value if most is None else _everywhere(value, partial(_cut, most=most))
        if len(msgspec.json.encode(short)) <= MOST_STORED_BYTES:
            return short
    raise RedactionFailed("text_too_long")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters)"
