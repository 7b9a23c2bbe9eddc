"""Response bodies of an exchange whose texts are redacted, or have placeholders to be put back.

A document is held until it is whole and goes on rewritten. A stream goes on event by event, each of its texts a little
later than it came: what may still become a match waits for its channel's next piece. Events keep their order, their
names and their ids, and nothing else beside their data; an event whose text waits goes on with an empty one.

What is counted (usage, the end) is read from what the provider sent, as in `response.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from extproc.bodies import response
from extproc.bodies.event_template import Echo, EventTemplate
from extproc.bodies.redaction import Aside, Redaction
from extproc.bodies.response import EventStreamBody, OpaqueBody, PlainBody, ResponseBody
from extproc.errors import Blocked, RedactionFailed
from extproc.framing.sse import SseEvent
from extproc.providers.api import Api
from extproc.providers.texts import TEXT, Spec, is_whole

_LINE_END = re.compile(rb"(?>\r\n|\n|\r)")
_DATA = re.compile(rb"data(?::|\r|\n|\Z)")
_NAMING = re.compile(rb"(?:event|id|retry): ?[A-Za-z0-9_.:/+=-]*")


def body(
    api: Api, redaction: Redaction, headers: Mapping[bytes, bytes], *, failed: bool, hide_usage: bool, limit: int
) -> ResponseBody:
    """The body of a response with these headers; `failed` ones have no usage. One that cannot be read passes where no
    policy minds, else it is withheld."""
    made = _searched(api, redaction, headers, failed=failed, hide_usage=hide_usage, limit=limit)
    if not isinstance(made, WithheldBody) or not redaction.may_fail or redaction.refuses_streams:
        return made
    redaction.failed = "unreadable_answer"
    return OpaqueBody() if failed else response.body(api, headers, limit, hide_usage=hide_usage)


def _searched(
    api: Api, redaction: Redaction, headers: Mapping[bytes, bytes], *, failed: bool, hide_usage: bool, limit: int
) -> ResponseBody:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if headers.get(b"content-encoding", b"identity") != b"identity":
        return WithheldBody()
    if redaction.refuses_streams and kind == b"text/event-stream":
        return WithheldBody()
    if redaction.inspects_answers and kind != b"text/event-stream":
        json = kind == b"application/json"
        return InspectedPlainBody(api, redaction, limit, json=json) if json or failed else WithheldBody()
    if failed and kind != b"text/event-stream":
        return RedactedErrorBody(api, redaction, limit, json=kind == b"application/json")
    if kind == b"text/event-stream":
        return RedactedStreamBody(api, redaction, hide_usage=hide_usage)
    return RedactedPlainBody(api, redaction, limit) if kind == b"application/json" else WithheldBody()


class RedactedPlainBody(PlainBody):
    """One JSON document. Raises `Blocked` and `RedactionFailed` at its end."""

    def __init__(self, api: Api, redaction: Redaction, limit: int) -> None:
        super().__init__(api, limit)
        self._redaction = redaction

    def feed(self, chunk: bytes) -> bytes:
        self._take(chunk)
        return b""

    def flush(self) -> bytes:
        super().flush()
        if self._size > self._limit:
            raise RedactionFailed("text_too_long")
        body = b"".join(self._chunks)
        try:
            return self._rewritten(body)
        except RedactionFailed as failure:
            return self._redaction.passed_unsearched(failure, body)

    def _rewritten(self, body: bytes) -> bytes:
        return self._redaction.answer(self._api, body)


class RedactedErrorBody(RedactedPlainBody):
    """What a provider says of a request that it did not answer: JSON of any shape, or a text."""

    def __init__(self, api: Api, redaction: Redaction, limit: int, *, json: bool) -> None:
        super().__init__(api, redaction, limit)
        self._json = json

    def _rewritten(self, body: bytes) -> bytes:
        return super()._rewritten(body) if self._json and body else self._redaction.plain_text(body)


class InspectedPlainBody(RedactedPlainBody):
    """A document that others are asked about, too: whoever drives it awaits `inspected` when it is over."""

    def __init__(self, api: Api, redaction: Redaction, limit: int, *, json: bool) -> None:
        super().__init__(api, redaction, limit)
        self._json = json
        self._masked: Any = None

    async def inspected(self, passed: bytes, aside: Aside) -> bytes:
        """What goes on, given what `flush` gave. Raises `Blocked` and `RedactionFailed`."""
        if self._masked is None:
            return passed
        answer = await self._redaction.inspected(self._masked, self._spec, aside)
        return msgspec.json.encode(answer) if self._json else str(answer).encode()

    def _rewritten(self, body: bytes) -> bytes:
        """Nothing goes on before everybody was asked."""
        try:
            self._json = self._json and bool(body)
            self._masked = self._redaction.masked(
                msgspec.json.decode(body) if self._json else body.decode(), self._spec
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RedactionFailed("not_json") from None
        return b""

    @property
    def _spec(self) -> Spec:
        return self._api.RESPONSE_TEXTS if self._json else TEXT


class WithheldBody(OpaqueBody):
    """A body that cannot be looked into, of an exchange whose answers must be. Nothing of it passes."""

    def feed(self, chunk: bytes) -> bytes:
        super().feed(chunk)
        return b""

    def flush(self) -> bytes:
        super().flush()
        raise RedactionFailed("unreadable_answer")


class RedactedStreamBody(EventStreamBody):
    """Server-sent events. Raises `Blocked` and `RedactionFailed`; then the stream must end here."""

    def __init__(self, api: Api, redaction: Redaction, *, hide_usage: bool) -> None:
        super().__init__(api, hide_usage=hide_usage)
        self._redaction = redaction
        self._texts = redaction.stream()
        self._streamed = api.streamed(self._texts)
        self._ended = False
        self._template: EventTemplate | None = None
        self._lessons = _MOST_LESSONS

    def feed(self, chunk: bytes) -> bytes:
        if self._template is not None and (like := self._like_before(self._template, chunk)) is not None:
            return like
        return self._pass_on(self._framer.feed(chunk))

    def flush(self) -> bytes:
        passed = self._pass_on(self._framer.flush())
        self.finished = True
        rest = self._remaining()
        return passed + b"\n\n" + rest if passed and rest and not passed.endswith(b"\n\n") else passed + rest

    def _pass_on(self, events: list[SseEvent]) -> bytes:
        passed = []
        try:
            for event in events:
                if self._takes(event):
                    passed.append(self._rewritten(event))  # noqa: PERF401 - what came before an error is needed
        except (Blocked, RedactionFailed) as error:
            error.passed = b"".join(passed)
            raise
        return b"".join(passed)

    def _takes(self, event: SseEvent) -> bool:
        """Take in one event, parsed only where it may matter; whether the client may see it."""
        if self._begun and not any(marked(event.raw) for marked in self._marks):
            self._keep(event.raw)
            return True
        return self._read(event)

    def _rewritten(self, event: SseEvent) -> bytes:
        if self._redaction.failed:
            return event.raw
        try:
            if not event.data:
                return self._without_data(event.raw)
            if event.data == b"[DONE]":
                return self._remaining() + (event.raw if _is_plain(event.raw) else b"data: [DONE]\n\n")
            return self._texts.guarded(lambda: self._rewrite(event))
        except RedactionFailed as failure:
            return self._after(failure, event.raw)

    def _after(self, error: Exception, raw: bytes) -> bytes:
        """What passes of an event after an error: itself where the policies say so. Raises what the caller knows."""

        def again() -> bytes:
            raise error

        try:
            return self._texts.guarded(again)
        except RedactionFailed as failure:
            passed = self._redaction.passed_unsearched(failure, raw)
            return self._remaining() + passed

    def _rewrite(self, event: SseEvent) -> bytes:
        told = msgspec.json.decode(event.data)
        events = self._streamed.rewrite(told)
        plain = is_whole(event.data, told) and _is_plain(event.raw)
        if self._lessons and len(events) == 1 and plain:
            self._learn(event.raw, told)
        if events == [told] and plain:
            return event.raw
        *before, last = events
        return b"".join([*(_event(each) for each in before), _with_data(event.raw, last)])

    def _like_before(self, template: EventTemplate, raw: bytes) -> bytes | None:
        """An event that differs from the last ones in its delta only, rewritten; `None` for anything else."""
        delta = template.delta(raw)
        if delta is None or self._framer.pending or self._redaction.failed:
            return None
        self._keep(raw)
        try:
            return template.event(self._texts.feed(template.channel, delta))
        except Exception as error:  # noqa: BLE001 - told as every other failure is
            return self._after(error, raw)

    def _learn(self, raw: bytes, told: Any) -> None:
        """Keep the bytes around the only delta of an event, where rewriting changes nothing else in it and it holds no
        usage: then no other with these bytes does."""
        self._lessons -= 1
        if any(marked(raw) for marked in self._marks):
            return
        echo, found = Echo(self._texts), self._redaction.found.copy()
        if self._api.streamed(echo).rewrite(told) == [told] and len(echo.fed) == 1:
            [(channel, delta, json)] = echo.fed
            self._template = None if json else EventTemplate.of(raw, channel, delta)
        self._redaction.found = found

    def _remaining(self) -> bytes:
        """What is still held, once, when nothing more can come."""
        if self._ended:
            return b""
        self._ended = True
        return self._texts.guarded(lambda: b"".join([_event(each) for each in self._streamed.remaining()]))

    @staticmethod
    def _without_data(raw: bytes) -> bytes:
        """A comment, a blank line or data that is none goes on without its words; what was too long to be read does
        not."""
        if len(raw) > _LONGEST_COMMENT:
            raise RedactionFailed("text_too_long")
        return b":\n\n" if raw.strip() else raw


#: So often a stream may show how its events look: each time costs as much as an event.
_MOST_LESSONS = 8
#: A keep-alive is shorter.
_LONGEST_COMMENT = 4096


def _event(told: Any) -> bytes:
    """An event of our own; APIs whose events have names say them in `type`."""
    name = told.get("type") if isinstance(told, dict) else None
    head = b"event: " + name.encode() + b"\n" if isinstance(name, str) else b""
    return head + b"data: " + msgspec.json.encode(told) + b"\n\n"


def _with_data(raw: bytes, told: Any) -> bytes:
    """The same event with other data. Its name and its id stay, unless they could be texts."""
    data = b"data: " + msgspec.json.encode(told) + b"\n\n"
    if raw.startswith(b"data: ") and raw.count(b"\n") == 2:
        return data
    return b"".join([*(line + b"\n" for line in _LINE_END.split(raw) if _NAMING.fullmatch(line)), data])


def _is_plain(raw: bytes) -> bool:
    """Whether there is nothing in an event but its name, its id and its data."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
        return True
    lines = _LINE_END.split(raw)
    return all(not line or _DATA.match(line) or _NAMING.fullmatch(line) for line in lines)
