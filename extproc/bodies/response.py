"""A response body, fed chunk by chunk: what goes on to the client, and what was used.

Three kinds share three members: `feed(chunk)` gives the bytes to pass on, or `None` for "unchanged"; `flush()` gives
what was still held; `finished` says that the client has, or is about to have, a complete answer. The bookkeeping for a
complete answer must be done before the bytes that complete it are passed on, so `finished` is true as soon as these
bytes are in our hands. Where only the end of the body tells, its last byte is held back until the end was seen: the end
may come in a message of its own. Before trailers, which HTTP/2 has, it does not come at all: a JSON document ends with
its last bracket.

The common chunk of a stream is whole events with neither usage nor an end in them. It is looked at once, never parsed,
and kept (bounded) in case the stream is cut and the answer must be estimated from what was seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import msgspec

from extproc.framing.sse import SseEvent, SseFramer
from extproc.model import Usage
from extproc.pricing import tokens
from extproc.providers.api import Api, Reading

#: Seen events are folded into a token count when they have grown to this many bytes.
KEPT_BYTES = 64 * 1024
#: A response that cannot be read is estimated at this many bytes to a token (English prose in JSON).
BYTES_PER_TOKEN = 4

#: Looks at the syntax of JSON, and at nothing else.
_any = msgspec.json.Decoder(msgspec.Raw)


class ResponseBody(Protocol):
    """What the exchange asks of a body, whatever its kind."""

    finished: bool
    response_id: str
    model: str
    usage: Usage | None
    #: What a stream that goes on has told so far: its input is exact, its output is at least this.
    usage_so_far: Usage | None

    @property
    def progress(self) -> int:
        """Output tokens so far, nearly and cheaply; 0 where they cannot be told before the end."""
        ...

    def feed(self, chunk: bytes) -> bytes | None: ...

    def flush(self) -> bytes:
        """The end of the response was seen: give what was held back."""
        ...

    def cut(self) -> None:
        """Nothing more comes and nothing passes on: only what was used is still read, at once."""
        ...

    def seen_tokens(self) -> int:
        """Output tokens seen so far, counted with a tokenizer: for a response without usage."""
        ...


def body(api: Api, headers: Mapping[bytes, bytes], limit: int, *, hide_usage: bool) -> ResponseBody:
    """The body of a response with these headers; of a document up to `limit` bytes are read."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        return OpaqueBody()
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind == b"text/event-stream":
        return EventStreamBody(api, hide_usage=hide_usage)
    return PlainBody(api, limit) if kind == b"application/json" else OpaqueBody()


def take(body: ResponseBody, chunk: bytes, *, last: bool) -> bytes | None:
    """What a message gives to pass on, `None` for "unchanged"; after the `last` one nothing is held.

    Of an empty chunk nothing passes, and that is not "unchanged": what stood in the message may wait in another body.
    """
    passed = body.feed(chunk) if chunk else b""
    if last and (held := body.flush()):
        return (chunk if passed is None else passed) + held
    return passed


class PlainBody:
    """One JSON document. It is passed on as it comes, but for its last byte, and read at its end."""

    #: So many chunks that end with a bracket, and not with the document, are looked at.
    MOST_TRIES = 8

    progress = 0
    usage_so_far: Usage | None = None

    def __init__(self, api: Api, limit: int) -> None:
        self.finished = False
        self.response_id = ""
        self.model = ""
        self.usage: Usage | None = None
        self._api = api
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._last = b""
        self._text = ""
        self._tries = 0

    def feed(self, chunk: bytes) -> bytes | None:
        self._take(chunk)
        if self.finished:
            return None
        waiting = self._last + chunk
        if waiting.rstrip().endswith((b"}", b"]")) and self._is_whole():
            self.flush()
            self._last = b""
            return waiting
        passed, self._last = _without_last(waiting)
        return passed

    def flush(self) -> bytes:
        if not self.finished:
            self.cut()
        self.finished = True
        return self._last

    def _take(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= self._limit:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def _is_whole(self) -> bool:
        """Whether what has come is all of a document."""
        self._tries += 1
        if self._tries > self.MOST_TRIES:
            return False
        try:
            _any.decode(b"".join(self._chunks))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True

    def cut(self) -> None:
        reading = self._api.read_response(b"".join(self._chunks))
        self.response_id, self.model, self.usage = reading.response_id, reading.model, reading.usage
        self._text = reading.text

    def seen_tokens(self) -> int:
        return tokens.count(self._text) if self._text else self._size // BYTES_PER_TOKEN


class OpaqueBody:
    """A body that must not be looked into (compressed, or of an unknown type): only its size is known."""

    progress = 0
    usage_so_far: Usage | None = None

    def __init__(self) -> None:
        self.finished = False
        self.response_id = ""
        self.model = ""
        self.usage: Usage | None = None
        self._size = 0
        self._last = b""

    def feed(self, chunk: bytes) -> bytes | None:
        self._size += len(chunk)
        passed, self._last = _without_last(self._last + chunk)
        return passed

    def flush(self) -> bytes:
        self.finished = True
        return self._last

    def cut(self) -> None:
        """There is nothing to be read."""

    def seen_tokens(self) -> int:
        return self._size // BYTES_PER_TOKEN


class EventStreamBody:
    """Server-sent events. `hide_usage` drops the event that exists only because we asked for usage.

    An event that may matter is passed on whole or not at all, so bytes of an unfinished event are held back from the
    first chunk that does not end with an event until the event is complete.
    """

    def __init__(self, api: Api, *, hide_usage: bool) -> None:
        self.finished = False
        self.response_id = ""
        self.model = ""
        self.usage: Usage | None = None
        self.usage_so_far: Usage | None = None
        self._api = api
        self._hide_usage = hide_usage
        self._marks = [re.compile(mark).search for mark in api.STREAM_MARKS]
        self._framer = SseFramer()
        self._begun = False
        self._inside_event = False
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._kept_events = 0
        self._folded_tokens = 0
        self._tokens_per_event = 1

    @property
    def progress(self) -> int:
        """Output tokens so far: exact up to where they were counted last, then as many in each event as before."""
        return self._folded_tokens + self._kept_events * self._tokens_per_event

    def feed(self, chunk: bytes) -> bytes | None:
        if (
            self._begun
            and not self._inside_event
            and chunk.endswith((b"\n\n", b"\r\n\r\n"))
            and not any(marked(chunk) for marked in self._marks)
        ):
            self._keep(chunk)
            return None
        return self._pass(self._framer.feed(chunk), chunk)

    def flush(self) -> bytes:
        passed = self._pass(self._framer.flush(), b"") or b""
        self.finished = True
        return passed

    def cut(self) -> None:
        for event in self._framer.flush():
            self._read(event)

    def seen_tokens(self) -> int:
        self._fold()
        return self._folded_tokens

    def _pass(self, events: list[SseEvent], chunk: bytes) -> bytes | None:
        passed = b"".join(event.raw for event in events if self._read(event))
        self._inside_event = self._framer.pending
        return None if passed == chunk else passed

    def _read(self, event: SseEvent) -> bool:
        """Take in one event; whether the client may see it."""
        reading = self._api.read_response(event.data) if event.data else Reading()
        self._begun = self._begun or bool(event.data)
        self.response_id = self.response_id or reading.response_id
        self.model = self.model or reading.model
        if reading.usage is not None:
            self._take(reading.usage, begins=reading.usage_begins)
        self.finished = self.finished or reading.finished
        self._keep(event.raw)
        return not (reading.usage_only and self._hide_usage)

    def _take(self, told: Usage, *, begins: bool) -> None:
        """Some APIs tell the input at the beginning and the output at the end; only then is the usage known."""
        self.usage_so_far = self._api.merge_usage(self.usage_so_far, told)
        if not begins:
            self.usage = self.usage_so_far

    def _keep(self, events: bytes) -> None:
        self._kept.append(events)
        self._kept_size += len(events)
        self._kept_events += events.count(b"\n\n") or 1
        if self._kept_size > KEPT_BYTES:
            self._fold()

    def _fold(self) -> None:
        """Count what is kept. Our tokenizer is not every provider's, but no event has less than one token of text."""
        framer = SseFramer()
        events = framer.feed(b"".join(self._kept)) + framer.flush()
        texts = [text for event in events if (text := self._api.read_response(event.data).text)]
        counted = max(tokens.count("".join(texts)), len(texts))
        self._tokens_per_event = -(-counted // len(texts)) if texts else self._tokens_per_event
        self._folded_tokens += counted
        self._kept.clear()
        self._kept_size = self._kept_events = 0


def _without_last(data: bytes) -> tuple[bytes, bytes]:
    """Everything but the last byte, and that."""
    return data[:-1], data[-1:]
