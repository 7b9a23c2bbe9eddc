"""Which redaction policies hold for an exchange, and how long it may take to apply them to a request.

A guardrail holds where it is on by default and its selectors (models, teams, keys, paths) fit, and wherever a key, a
team or a request asks for it by name. Nobody can ask for less: a name that is not configured is a refusal, for whoever
asked for it relies on it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from extproc.bodies.redaction import Compiled, Redaction
from extproc.errors import Blocked, ConfigError, MalformedBody, RedactionFailed
from extproc.model import Key
from extproc.policy import access, refusals
from extproc.policy.refusals import Refusal
from extproc.providers.api import Api, Document
from extproc.redaction import Action, Direction, InvalidPattern, Policy, UnknownEntity, validators
from extproc.redaction.recognizer import Valid

#: A request of this size is searched in about a millisecond.
_INLINE_BYTES = 128 * 1024
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


class Configured(msgspec.Struct, frozen=True):
    """A guardrail as the configuration has it. `analyzer` is the address of a Presidio server, or empty."""

    name: str
    policy: Policy
    media: Action
    default_on: bool = False
    selectors: Selectors = Selectors()
    analyzer: str = ""
    language: str = "en"


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


def compiled(configured: Iterable[Configured]) -> Guardrails:
    """Ready for use. Takes up to a second for each policy. Raises `ConfigError`."""
    known = validators()
    return Guardrails([Guardrail(_policy(each, known), each.default_on, each.selectors) for each in configured])


def _policy(configured: Configured, known: Mapping[str, Valid]) -> Compiled:
    policy = configured.policy
    try:
        return Compiled(
            name=configured.name,
            request=policy.compile(Direction.REQUEST, known),
            response=policy.compile(Direction.RESPONSE, known),
            restore=policy.restore,
            media=configured.media,
            on_failure=policy.on_failure,
        )
    except (UnknownEntity, InvalidPattern) as error:
        raise ConfigError(f"guardrail {configured.name}: {error}") from None


async def redact(redaction: Redaction, api: Api, document: Document, deadline_ms: int) -> Refusal | None:
    """Rewrite a request in place, or say why it may not go on.

    A large one is searched in a thread of its own: others must not wait for it. RE2 lets go of the interpreter's lock.
    """
    try:
        if sum(len(memoryview(raw)) for raw in document.values()) <= _INLINE_BYTES:
            redaction.request(api, document)
        else:
            await asyncio.wait_for(asyncio.to_thread(redaction.request, api, document), deadline_ms / 1_000)
    except Blocked as blocked:
        refusal = refusals.blocked_entity(blocked.entity, ", ".join(redaction.names))
        return msgspec.structs.replace(refusal, found=dict(redaction.found))
    except (RedactionFailed, TimeoutError) as failure:
        reason = failure.reason if isinstance(failure, RedactionFailed) else "timeout"
        if redaction.may_fail:
            redaction.failed = reason
            return None
        return refusals.not_redacted(reason)
    return None
