"""Which redaction policies hold for an exchange, and how long it may take to apply them to a request.

A guardrail holds where it is on by default and its selectors (models, teams, keys, paths) fit, and wherever a key, a
team or a request asks for it by name. Nobody can ask for less: a name that is not configured is a refusal, for whoever
asked for it relies on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from extproc.bodies import response
from extproc.bodies.inspection import Inspection, Inspector
from extproc.bodies.payload_encryption import Sealing
from extproc.bodies.redacted import InspectedPlainBody
from extproc.bodies.redaction import Compiled, Redaction, go_on
from extproc.bodies.response import ResponseBody
from extproc.errors import Blocked, ConfigError, MalformedBody, RedactionFailed
from extproc.model import Key
from extproc.policy import access, refusals
from extproc.policy.refusals import Refusal
from extproc.providers.api import Api, Document
from extproc.redaction import Action, Direction, InvalidPattern, Policy, UnknownEntity, catalog, validators
from extproc.redaction.outside import Outside
from extproc.redaction.recognizer import Valid

#: What costs no more is searched at once: a millisecond mostly, and 30 where a text is full of addresses.
_INLINE_COST = 32 * 1024
#: A value of JSON, even one of a single character, costs as much as so many bytes of prose, at the least.
_COST_OF_A_VALUE = 64
#: So many bytes are searched at once whatever they are: most chunks of a stream are no longer.
_SURELY_INLINE = _INLINE_COST // (1 + _COST_OF_A_VALUE)
_PLACEHOLDER = re.compile(r"<[A-Z0-9_]{1,100}>")
T = TypeVar("T")
_asked = msgspec.json.Decoder(list[str] | None)


class Selectors(msgspec.Struct, frozen=True):
    """Where a guardrail that is on by default holds; an empty list is "everywhere". Models, aliases and paths may hold
    `*`; teams and keys are named by id or by alias."""

    models: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def fit(self, key: Key, model: str, path: str) -> bool:
        team = key.team.alias if key.team else None
        return (
            _fits(self.models, (model,))
            and _fits(self.teams, (key.team_id, team))
            and _fits(self.keys, (key.alias, key.digest))
            and _fits(self.paths, (path,))
        )


class Consulted(msgspec.Struct, frozen=True):
    """What others are asked to find, beside our own engine, and the action for each entity.

    `deadline_ms` is for all texts of a payload. `streams_pass`: answers that come as streams pass without them.
    """

    request: dict[str, Action] = {}
    response: dict[str, Action] = {}
    deadline_ms: int = 1_000
    streams_pass: bool = False


class Configured(msgspec.Struct, frozen=True):
    """A guardrail as the configuration has it. `analyzer` is the address of a Presidio server, or empty; then it is the
    small model of this process that is `consulted`, where anybody is."""

    name: str
    policy: Policy
    media: Action
    default_on: bool = False
    selectors: Selectors = Selectors()
    analyzer: str = ""
    language: str = "en"
    consulted: Consulted | None = None

    def acts_on(self) -> tuple[list[str], list[str]]:
        """The entities that are looked for in requests, and in answers."""
        others = self.consulted or Consulted()
        both = ({**self.policy.request, **others.request}, {**self.policy.response, **others.response})
        request, response = ([name for name, action in each.items() if action is not Action.ALLOW] for each in both)
        return request, response


class Guardrail(msgspec.Struct, frozen=True):
    """A policy under its name, and where it holds without being asked for."""

    policy: Compiled
    default_on: bool = False
    selectors: Selectors = Selectors()


class Guardrails:
    """All that are configured, in their order. `secret` makes the hashes of this deployment its own."""

    def __init__(self, configured: Sequence[Guardrail], secret: str = "") -> None:
        self._configured = configured
        self._names = frozenset(each.policy.name for each in configured)
        self._hash_key = hashlib.sha256(b"extproc redaction hashes\0" + secret.encode()).digest()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.policy.name for each in self._configured)

    def __iter__(self) -> Iterator[Guardrail]:
        return iter(self._configured)

    def find(self, name: str) -> Redaction | None:
        """A redaction by one guardrail alone, for whoever wants to try it."""
        policies = [each.policy for each in self._configured if each.policy.name == name]
        return Redaction(policies, self._hash_key) if policies else None

    def with_secret(self, secret: str) -> Guardrails:
        return Guardrails(self._configured, secret)

    def choose(self, key: Key, model: str, path: str, asked: Iterable[str]) -> Redaction | Refusal | None:
        """What the exchange's texts go through, `None` for nothing. `asked` are names that the request itself gave."""
        wanted = {*asked, *_named_by(key)}
        if unknown := wanted - self._names:
            return refusals.unknown_guardrail(min(unknown))
        policies = [
            each.policy
            for each in self._configured
            if each.policy.name in wanted or (each.default_on and each.selectors.fit(key, model, path))
        ]
        return Redaction(policies, self._hash_key) if policies else None


def _named_by(key: Key) -> Iterable[str]:
    """The guardrails that a key and its team name in LiteLLM's field."""
    for fields in (key.fields, key.team.fields if key.team else {}):
        named = fields.get("guardrails")
        if isinstance(named, list):
            yield from (name for name in named if isinstance(name, str))


def _fits(patterns: tuple[str, ...], names: Iterable[str | None]) -> bool:
    given = [name for name in names if name is not None]
    return not patterns or any(access.matches(pattern, name) for name in given for pattern in patterns)


def asked(document: Document) -> list[str]:
    """The guardrails that a request asks for in LiteLLM's field. Raises `MalformedBody`."""
    try:
        return _asked.decode(document["guardrails"]) or [] if "guardrails" in document else []
    except msgspec.DecodeError:
        raise MalformedBody("Invalid 'guardrails': expected a list of names", param="guardrails") from None


def _nobody(_: Configured) -> None:
    """Nobody is asked beside our own engine."""


def compiled(
    configured: Iterable[Configured], inspector: Callable[[Configured], Inspector | None] = _nobody
) -> Guardrails:
    """Ready for use. Takes up to a second for each policy. `inspector` says who else is asked. Raises `ConfigError`."""
    known = validators()
    return Guardrails(
        [Guardrail(_policy(each, known, inspector(each)), each.default_on, each.selectors) for each in configured]
    )


def of_everything() -> Callable[[], Redaction]:
    """What makes redactions that mask all that our own engine finds, as for texts that are stored. Takes a second."""
    known = validators()
    masked = dict.fromkeys(catalog.findable(known), Action.MASK)
    compiled_once = _policy(
        Configured("everything", Policy(request=masked, response=masked, restore=False), Action.ALLOW), known, None
    )
    return lambda: Redaction([compiled_once], b"")


def _inspection(configured: Configured, inspector: Inspector | None) -> Inspection | None:
    consulted, policy = configured.consulted, configured.policy
    if consulted is None:
        return None
    if inspector is None:
        raise ConfigError(f"guardrail {configured.name}: nobody is here to be asked for names and places")
    request, response = (
        Outside(actions, policy.threshold, policy.thresholds, policy.dry_run, restorable)
        for actions, restorable in ((consulted.request, policy.restore), (consulted.response, False))
    )
    return Inspection(inspector, request, response, consulted.streams_pass)


def _policy(configured: Configured, known: Mapping[str, Valid], inspector: Inspector | None) -> Compiled:
    policy = configured.policy
    try:
        return Compiled(
            name=configured.name,
            request=policy.compile(Direction.REQUEST, known),
            response=policy.compile(Direction.RESPONSE, known),
            restore=policy.restore,
            media=configured.media,
            on_failure=policy.on_failure,
            inspection=_inspection(configured, inspector),
        )
    except (UnknownEntity, InvalidPattern) as error:
        raise ConfigError(f"guardrail {configured.name}: {error}") from None


async def redact(redaction: Redaction, api: Api, document: Document, deadline_ms: int) -> Refusal | None:
    """Rewrite a request in place, or say why it may not go on."""
    try:
        cost = _cost_of(document)
        await _search(redaction, cost, deadline_ms, lambda: redaction.request(api, document))
        await redaction.inspect_request(api, document, partial(_search, redaction, cost, deadline_ms))
    except Blocked as blocked:
        refusal = refusals.blocked_entity(blocked.entity, redaction.blocking(blocked.entity, Direction.REQUEST))
        return msgspec.structs.replace(refusal, found=dict(redaction.found))
    except RedactionFailed as failure:
        if redaction.may_fail:
            redaction.failed = failure.reason
            return None
        return refusals.not_redacted(failure.reason)
    return None


async def unseal(sealing: Sealing, api: Api, document: Document, deadline_ms: int) -> None:
    """Open what a client has encrypted, in place. Raises `MalformedBody`, `RedactionFailed`."""
    await _search(sealing, _cost_of(document), deadline_ms, lambda: sealing.open(api, document))


async def apply(redaction: Redaction, text: str, deadline_ms: int, only: Collection[str] = ()) -> str:
    """A single text, as one of a request. What is masked as an entity that is not among `only` is put back, where any
    are given. Raises `Blocked` and `RedactionFailed`."""
    redacted = await _search(redaction, len(text), deadline_ms, lambda: redaction.text(text))
    redacted = await redaction.inspected_text(redacted)
    back = {placeholder: value for entity, value, placeholder in redaction.masked_values() if entity not in only}
    return _PLACEHOLDER.sub(lambda match: back.get(match[0], match[0]), redacted) if only else redacted


async def take(redaction: Redaction, body: ResponseBody, chunk: bytes, deadline_ms: int, *, last: bool) -> bytes | None:
    """What a message of a response gives to pass on, `None` for "unchanged". Raises `Blocked`, `RedactionFailed`."""
    if len(chunk) <= _SURELY_INLINE:
        redaction.checkpoint = go_on
        passed = response.take(body, chunk, last=last)
    else:
        passed = await _search(redaction, _cost(chunk), deadline_ms, lambda: response.take(body, chunk, last=last))
    if last and isinstance(body, InspectedPlainBody):
        return await body.inspected(passed or b"", partial(_search, redaction, _cost(chunk), deadline_ms))
    return passed


def withheld(redaction: Redaction | None, error: Blocked | RedactionFailed) -> Refusal:
    """Why an answer may not pass, in words for the client."""
    if isinstance(error, Blocked):
        by = redaction.blocking(error.entity, Direction.RESPONSE) if redaction else ""
        return refusals.blocked_entity(error.entity, by)
    return refusals.answer_not_redacted(error.reason)


def _cost_of(document: Document) -> int:
    return sum(_cost(bytes(raw)) for raw in document.values())


def _cost(payload: bytes) -> int:
    """Of JSON or a part of it. Each value but the first has a comma before it."""
    return len(payload) + _COST_OF_A_VALUE * payload.count(b",")


async def _search(redaction: Redaction, cost: int, deadline_ms: int, work: Callable[[], T]) -> T:
    """Search so much; what is large in a thread of its own, for others must not wait for it. It ends at its deadline:
    RE2 takes linear time, but a hostile text may still take seconds."""
    if cost <= _INLINE_COST:
        redaction.checkpoint = go_on
        return work()
    deadline = time.monotonic() + deadline_ms / 1_000

    def checkpoint() -> None:
        if time.monotonic() > deadline:
            raise RedactionFailed("timeout")

    redaction.checkpoint = checkpoint
    return await asyncio.to_thread(work)
