"""One exchange's redaction: its policies, its placeholders, what was found; and the texts that go through them.

Several policies may hold for one exchange; a text goes through one after the other. What is put back into answers is
put back last, so what an answer's own redaction masks is never restored. A policy that only tries out changes nothing.

Whatever goes wrong in here is a `RedactionFailed`, but for `Blocked`: the caller refuses. What every policy lets pass
unsearched passes, and `failed` says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec

from extproc.bodies.inspection import Collected, Inspection, Replaced, Restored
from extproc.errors import Blocked, InspectionFailed, RedactionFailed, TextTooLong, UnknownShape
from extproc.providers.api import Api, Document
from extproc.providers.raw_texts import walk_document, walk_json
from extproc.providers.texts import Channel, Rewrite, Spec, walk
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
from extproc.redaction.redactor import SLICE_CHARS

T = TypeVar("T")
#: Does a piece of work where nobody waits for it.
Aside: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]
#: So many texts may a stream have: choices, tool calls, fields.
MAX_CHANNELS = 1_000


async def _here(work: Callable[[], Any]) -> Any:
    return work()


class Compiled(msgspec.Struct, frozen=True):
    """A policy ready for use: see `redaction.Policy`. `media` says what becomes of images, sounds and files,
    `inspection` who else is asked about texts."""

    name: str
    request: Redactor
    response: Redactor
    restore: bool = False
    media: Action = Action.BLOCK
    on_failure: OnFailure = OnFailure.REFUSE
    inspection: Inspection | None = None

    @property
    def dry_run(self) -> bool:
        return self.request.dry_run

    @property
    def passes_unsearched(self) -> bool:
        """Whether what cannot be searched passes; what is only tried out refuses nothing."""
        return self.on_failure is OnFailure.ALLOW or self.dry_run

    def redactor(self, direction: Direction) -> Redactor:
        return self.request if direction is Direction.REQUEST else self.response

    def searches(self, direction: Direction) -> bool:
        """Whether texts of this direction are looked into."""
        return not self.redactor(direction).idle or self.inspects(direction)

    def blocks(self, entity: str, direction: Direction) -> bool:
        """Whether an entity of a text may not pass."""
        outside = self.inspection.acting(direction) if self.inspection else None
        others = outside.actions if outside else {}
        found = entity in self.redactor(direction).blocked or others.get(entity) is Action.BLOCK
        return found and not self.dry_run

    def blocks_media(self, direction: Direction) -> bool:
        return self.searches(direction) and self.media is Action.BLOCK and not self.dry_run

    def inspects(self, direction: Direction) -> bool:
        """Whether somebody else is asked about texts of this direction."""
        return self.inspection is not None and self.inspection.acting(direction) is not None


class Redaction:
    """What an exchange does about texts. `policies` is not empty; `hash_key` is the deployment's secret for hashes.

    `checkpoint` is called now and then while texts are searched; it may raise `RedactionFailed`.
    """

    def __init__(self, policies: Sequence[Compiled], hash_key: bytes) -> None:
        self._policies = policies
        self._vault = Placeholders(hash_key)
        self.found: Counter[tuple[str, str, str]] = Counter()
        self.failed = ""
        self.uninspected = ""
        self.checkpoint: Callable[[], None] = go_on

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(policy.name for policy in self._policies)

    @property
    def may_fail(self) -> bool:
        """Whether every policy lets pass what cannot be searched. Encryption has none, and never does."""
        return bool(self._policies) and all(policy.passes_unsearched for policy in self._policies)

    @property
    def acts(self) -> bool:
        """Whether any policy is more than tried out."""
        return any(not policy.dry_run for policy in self._policies)

    @property
    def reads_answers(self) -> bool:
        """Whether answers are looked into: to redact them, or to put back what the request had masked."""
        return self._restores or any(policy.searches(Direction.RESPONSE) for policy in self._policies)

    @property
    def inspects_answers(self) -> bool:
        """Whether somebody else must be asked about an answer, which can be done when it is whole."""
        return any(policy.inspects(Direction.RESPONSE) for policy in self._policies)

    @property
    def refuses_streams(self) -> bool:
        """Whether an answer may not come as a stream, for who must be asked about it cannot be asked in time."""
        return any(
            policy.inspects(Direction.RESPONSE)
            and not (policy.dry_run or (policy.inspection and policy.inspection.streams_pass))
            for policy in self._policies
        )

    @property
    def unsearched(self) -> str:
        """Why something passed that not everybody has looked into."""
        return self.failed or self.uninspected

    def request(self, api: Api, document: Document) -> None:
        """Rewrite the texts of a request in place. Raises `Blocked` and `RedactionFailed`; then nothing is changed."""
        changed = dict(document)
        with self._failures(Direction.REQUEST):
            walk_document(changed, api.REQUEST_TEXTS, Texts(self, Direction.REQUEST), self.checkpoint)
        _replace(document, changed)

    def answer(self, api: Api, body: bytes) -> bytes:
        """A whole answer, rewritten. Raises `Blocked` and `RedactionFailed`."""
        with self._failures():
            return walk_json(body, api.RESPONSE_TEXTS, Texts(self, Direction.RESPONSE), self.checkpoint)

    def masked(self, answer: Any, spec: Spec) -> Any:
        """A decoded answer without what the engine finds; nothing is put back yet. See `inspected`."""
        with self._failures():
            return walk(answer, spec, Texts(self, Direction.RESPONSE, restores=False))

    async def inspected(self, answer: Any, spec: Spec, aside: Aside = _here) -> Any:
        """What others find in a masked answer is masked too, and then the client's values are put back."""
        with self._failures():
            answer = await self._inspected(Direction.RESPONSE, answer, lambda told, by: walk(told, spec, by), aside)
            return walk(answer, spec, Restored(self._vault)) if self._restores else answer

    async def inspect_request(self, api: Api, document: Document, aside: Aside = _here) -> None:
        """What others find in a redacted request is redacted too, in place; large ones are walked through `aside`.
        Raises `Blocked` and `RedactionFailed`."""

        def work(told: Document, by: Rewrite) -> Document:
            changed = dict(told)
            walk_document(changed, api.REQUEST_TEXTS, by, self.checkpoint)
            return changed

        with self._failures(Direction.REQUEST):
            redacted: Document = await self._inspected(Direction.REQUEST, dict(document), work, aside)
        _replace(document, redacted)

    async def _inspected(
        self, direction: Direction, told: T, work: Callable[[T, Rewrite], T], aside: Aside = _here
    ) -> T:
        """A payload after everybody was asked about its texts; `work` takes a `Rewrite` through them."""
        for policy in self._policies:
            outside = policy.inspection.acting(direction) if policy.inspection else None
            if policy.inspection is None or outside is None:
                continue
            texts = Collected()
            await aside(partial(work, told, texts))
            try:
                found = await policy.inspection.inspector.inspect(texts.texts)
            except InspectionFailed as failure:
                if not policy.passes_unsearched:
                    raise
                self.uninspected = failure.reason
                continue
            replaced = Replaced(outside, dict(zip(texts.texts, found, strict=True)), self._vault)
            told = await aside(partial(work, told, replaced))
            self._count(direction, replaced.findings)
        return told

    def blocking(self, entity: str, direction: Direction) -> str:
        """The names of the policies for which an entity, or a kind of media, may not pass."""
        named = [policy.name for policy in self._policies if policy.blocks(entity, direction)]
        return ", ".join(named or [policy.name for policy in self._policies if policy.blocks_media(direction)])

    def text(self, text: str) -> str:
        """One text, as those of a request. Raises `Blocked` and `RedactionFailed`."""
        with self._failures(Direction.REQUEST):
            return Texts(self, Direction.REQUEST).text(text)

    async def inspected_text(self, text: str) -> str:
        """The same text after others were asked about it."""
        with self._failures(Direction.REQUEST):
            return await self._inspected(Direction.REQUEST, text, lambda told, by: by.text(told))

    def masked_values(self) -> Iterator[tuple[str, str, str]]:
        """The entity, the value and the placeholder of everything that is masked."""
        return self._vault.values()

    def plain_text(self, body: bytes) -> bytes:
        """The same for an answer that need not be JSON, as some errors are."""
        with self._failures():
            return Texts(self, Direction.RESPONSE).json_text(body.decode()).encode()

    def passed_unsearched(self, failure: RedactionFailed, original: bytes) -> bytes:
        """What passes after a failure: the original where every policy says so, else the failure itself."""
        if not self.may_fail:
            raise failure
        self.failed = failure.reason
        return original

    def uncounted(self) -> Redaction:
        """The same policies and placeholders for another look at what was counted; with a checkpoint of its own."""
        again = Redaction(self._policies, b"")
        again._vault = self._vault
        return again

    def stream(self) -> StreamTexts:
        """For the texts of one event stream."""
        return StreamTexts(self)

    @contextmanager
    def _failures(self, direction: Direction = Direction.RESPONSE) -> Iterator[None]:
        try:
            yield
        except RedactionFailed:
            raise
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
        found = [policy.redactor(direction) for policy in self._policies]
        return [redactor for redactor in found if not redactor.idle]

    def _count(self, direction: Direction, findings: Findings) -> None:
        for (entity, action), count in findings.counts.items():
            self.found[direction.value, entity, action.value] += count


def _replace(document: Document, changed: Document) -> None:
    """In place; the names of fields may have changed, too."""
    document.clear()
    document.update(changed)


def go_on() -> None:
    """Nobody waits."""


class Texts:
    """`Rewrite` for whole texts of one direction."""

    def __init__(self, redaction: Redaction, direction: Direction, *, restores: bool = True) -> None:
        self._redaction = redaction
        self._direction = direction
        self._redactors = redaction._redactors(direction)
        self._restores = restores and direction is Direction.RESPONSE and redaction._restores

    def text(self, text: str) -> str:
        return self._searched(text, escaped=False)

    def json_text(self, text: str) -> str:
        return self._searched(text, escaped=True)

    def _searched(self, text: str, *, escaped: bool) -> str:
        """A text through each policy, then what is put back. `escaped` is JSON inside a string."""
        self._redaction.checkpoint()
        vault, guarded = self._redaction._vault, False
        for redactor in self._redactors:
            redact = redactor.redact_json_text if escaped else redactor.redact
            try:
                text, findings = redact(text, vault, guarded=guarded, checkpoint=self._redaction.checkpoint)
            except TextTooLong:
                if not redactor.dry_run:
                    raise
                self._redaction.uninspected = "text_too_long"
                continue
            guarded = guarded or redactor.guards
            self._redaction._count(self._direction, findings)
        return Restorer(vault, escaped=escaped).restore(text) if self._restores else text

    def name(self, text: str) -> str:
        return self.text(text)

    def media(self, what: str) -> None:
        for policy in self._redaction._policies:
            if not policy.searches(self._direction) or policy.media is Action.ALLOW:
                continue
            if policy.blocks_media(self._direction):
                raise Blocked(what.upper())
            self._redaction.found[self._direction.value, what.upper(), policy.media.value] += 1


class StreamTexts(Texts):
    """`Channels`: the texts of one stream's answer. Whole ones are done at once.

    What has ended does not go on: a client would read on where we began anew, and a value over that seam would pass.
    """

    def __init__(self, redaction: Redaction) -> None:
        super().__init__(redaction, Direction.RESPONSE)
        self._open: dict[Channel, _Channel] = {}
        self._ended: set[Channel] = set()

    def feed(self, channel: Channel, delta: str, *, json: bool = False) -> str:
        found = self._open.get(channel)
        if found is None:
            if not delta:
                return delta
            if channel in self._ended:
                raise UnknownShape("a text that goes on behind its end")
            if len(self._open) + len(self._ended) >= MAX_CHANNELS:
                raise UnknownShape(f"more than {MAX_CHANNELS} texts")
            vault = self._redaction._vault
            streams = [each.json_stream(vault) if json else each.stream(vault) for each in self._redactors]
            found = self._open[channel] = _Channel(streams, Restorer(vault, escaped=json) if self._restores else None)
        self._redaction.checkpoint()
        if len(delta) <= SLICE_CHARS:
            return found.feed(delta)
        return "".join([self.feed(channel, delta[at : at + SLICE_CHARS]) for at in range(0, len(delta), SLICE_CHARS)])

    def flush(self, *first: object) -> list[tuple[Channel, str]]:
        ended = [channel for channel in self._open if channel[: len(first)] == first]
        rests = []
        for channel in ended:
            found = self._open.pop(channel)
            self._ended.add(channel)
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
