"""One exchange's redaction: its policies, its placeholders, what was found; and the texts that go through them.

Several policies may hold for one exchange; a text goes through one after the other. What is put back into answers is
put back last, so what an answer's own redaction masks is never restored. A policy that only tries out changes nothing.

Whatever goes wrong in here is a `RedactionFailed`, but for `Blocked`: the caller refuses. What every policy lets pass
unsearched passes, and `failed` says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from extproc.errors import Blocked, RedactionFailed, TextTooLong, UnknownShape
from extproc.providers.api import Api, Document
from extproc.providers.texts import Channel, walk, walk_document
from extproc.redaction import (
    Action,
    Direction,
    Findings,
    JsonStreamRedactor,
    OnFailure,
    Placeholders,
    Redactor,
    Restorer,
    StreamRedactor,
    TooManyValues,
)

T = TypeVar("T")
#: So many texts may a stream have at the same time: choices, tool calls, fields.
MAX_CHANNELS = 1_000


class Compiled(msgspec.Struct, frozen=True):
    """A policy ready for use: see `redaction.Policy`. `media` says what becomes of images, sounds and files."""

    name: str
    request: Redactor
    response: Redactor
    restore: bool = False
    media: Action = Action.BLOCK
    on_failure: OnFailure = OnFailure.REFUSE

    @property
    def dry_run(self) -> bool:
        return self.request.dry_run


class Redaction:
    """What an exchange does about texts. `policies` is not empty; `hash_key` is the deployment's secret for hashes."""

    def __init__(self, policies: Sequence[Compiled], hash_key: bytes) -> None:
        self._policies = policies
        self._vault = Placeholders(hash_key)
        self.found: Counter[tuple[str, str, str]] = Counter()
        self.failed = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(policy.name for policy in self._policies)

    @property
    def may_fail(self) -> bool:
        """Whether every policy lets pass what cannot be searched."""
        return all(policy.on_failure is OnFailure.ALLOW for policy in self._policies)

    @property
    def reads_answers(self) -> bool:
        """Whether answers are looked into: to redact them, or to put back what the request had masked."""
        return self._restores or any(not policy.response.idle for policy in self._policies)

    def request(self, api: Api, document: Document) -> None:
        """Rewrite the texts of a request in place. Raises `Blocked` and `RedactionFailed`; then nothing is changed."""
        changed = dict(document)
        with self._failures(Direction.REQUEST):
            walk_document(changed, api.REQUEST_TEXTS, Texts(self, Direction.REQUEST))
        document.update(changed)

    def answer(self, api: Api, body: bytes) -> bytes:
        """A whole answer, rewritten. Raises `Blocked` and `RedactionFailed`."""
        with self._failures():
            answer = msgspec.json.decode(body)
            rewritten = walk(answer, api.RESPONSE_TEXTS, Texts(self, Direction.RESPONSE))
            return body if rewritten == answer else msgspec.json.encode(rewritten)

    def plain_text(self, body: bytes) -> bytes:
        """The same for an answer that is no JSON, as some errors are."""
        with self._failures():
            return Texts(self, Direction.RESPONSE).text(body.decode()).encode()

    def passed_unsearched(self, failure: RedactionFailed, original: bytes) -> bytes:
        """What passes after a failure: the original where every policy says so, else the failure itself."""
        if not self.may_fail:
            raise failure
        self.failed = failure.reason
        return original

    def stream(self) -> StreamTexts:
        """For the texts of one event stream."""
        return StreamTexts(self)

    @contextmanager
    def _failures(self, direction: Direction = Direction.RESPONSE) -> Iterator[None]:
        try:
            yield
        except Blocked as blocked:
            self.found[direction.value, blocked.entity, Action.BLOCK.value] += 1
            raise
        except TextTooLong:
            raise RedactionFailed("text_too_long") from None
        except UnknownShape:
            raise RedactionFailed("unknown_shape") from None
        except TooManyValues:
            raise RedactionFailed("too_many_values") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RedactionFailed("not_json") from None
        except Exception as error:  # noqa: BLE001 - fail closed
            # What the engine did not foresee must not pass, nor may its text be told: it may quote what it was given.
            raise RedactionFailed("engine_error") from error.with_traceback(None)

    @property
    def _restores(self) -> bool:
        return len(self._vault) > 0 and any(policy.restore for policy in self._policies)

    def _redactors(self, direction: Direction) -> list[Redactor]:
        found = [policy.request if direction is Direction.REQUEST else policy.response for policy in self._policies]
        return [redactor for redactor in found if not redactor.idle]

    def _count(self, direction: Direction, findings: Findings) -> None:
        for (entity, action), count in findings.counts.items():
            self.found[direction.value, entity, action.value] += count


class Texts:
    """`Rewrite` for whole texts of one direction."""

    def __init__(self, redaction: Redaction, direction: Direction) -> None:
        self._redaction = redaction
        self._direction = direction
        self._redactors = redaction._redactors(direction)
        self._restores = direction is Direction.RESPONSE and redaction._restores

    def text(self, text: str) -> str:
        guarded = False
        for redactor in self._redactors:
            text, findings = redactor.redact(text, self._redaction._vault, guarded=guarded)
            guarded = guarded or redactor.guards
            self._redaction._count(self._direction, findings)
        return Restorer(self._redaction._vault).restore(text) if self._restores else text

    def json_text(self, text: str) -> str:
        guarded = False
        for redactor in self._redactors:
            text, findings = redactor.redact_json_text(text, self._redaction._vault, guarded=guarded)
            guarded = guarded or redactor.guards
            self._redaction._count(self._direction, findings)
        return Restorer(self._redaction._vault, escaped=True).restore(text) if self._restores else text

    def media(self, what: str) -> None:
        for policy in self._redaction._policies:
            redactor = policy.request if self._direction is Direction.REQUEST else policy.response
            if redactor.idle or policy.media is Action.ALLOW:
                continue
            if policy.media is Action.BLOCK and not policy.dry_run:
                raise Blocked(what.upper())
            self._redaction.found[self._direction.value, what.upper(), policy.media.value] += 1


class StreamTexts(Texts):
    """`Channels`: the texts of one stream's answer. Whole ones are done at once."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__(redaction, Direction.RESPONSE)
        self._open: dict[Channel, _Channel] = {}
        self._length = 0

    def feed(self, channel: Channel, delta: str, *, json: bool = False) -> str:
        found = self._open.get(channel)
        if found is None:
            if len(self._open) >= MAX_CHANNELS:
                raise UnknownShape(f"more than {MAX_CHANNELS} texts at once")
            vault = self._redaction._vault
            streams = [each.json_stream(vault) if json else each.stream(vault) for each in self._redactors]
            found = self._open[channel] = _Channel(streams, Restorer(vault, escaped=json) if self._restores else None)
        return found.feed(delta)

    def flush(self, *first: object) -> list[tuple[Channel, str]]:
        ended = [channel for channel in self._open if channel[: len(first)] == first]
        rests = []
        for channel in ended:
            found = self._open.pop(channel)
            rests.append((channel, found.flush()))
            for stream in found.streams:
                self._redaction._count(Direction.RESPONSE, stream.findings)
        return [(channel, rest) for channel, rest in rests if rest]

    def guarded(self, work: Callable[[], T]) -> T:
        """Do something with these texts; every failure as the caller knows them."""
        with self._redaction._failures():
            return work()


class _Channel:
    """One text in pieces: through each policy's stream, then what is put back."""

    __slots__ = ("_restorer", "streams")

    def __init__(self, streams: Sequence[StreamRedactor | JsonStreamRedactor], restorer: Restorer | None) -> None:
        self.streams = streams
        self._restorer = restorer

    def feed(self, delta: str) -> str:
        for stream in self.streams:
            delta = stream.feed(delta)
        return self._restorer.feed(delta) if self._restorer else delta

    def flush(self) -> str:
        rest = ""
        for stream in self.streams:
            rest = stream.feed(rest, final=True)
        return self._restorer.feed(rest) + self._restorer.flush() if self._restorer else rest
