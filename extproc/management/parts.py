"""What the management API is made of: handed in by the composition root, reached by every endpoint."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from fastapi import Depends, Request

from extproc.encryption import Keyring
from extproc.guardrails import Guardrails
from extproc.holds import Scope
from extproc.identity_providers.house import IdentityProviders
from extproc.model import Deployment, UnixMs, Upstream
from extproc.policy.failures import Failures
from extproc.settings.model import Settings
from extproc.stores.contents import ContentStore
from extproc.stores.contract import AuditTrail, Entities, Health, KeyAdmin
from extproc.stores.explanations import Explanations, MemoryExplanations
from extproc.stores.spending import Spending


def generate_key() -> str:
    """A new virtual key: `sk-` and 256 random bits."""
    return "sk-" + secrets.token_urlsafe(32)


def generate_id() -> str:
    """A new id of a team, a user or a budget, as LiteLLM makes them."""
    return str(uuid.uuid4())


async def no_counters(_: Scope) -> None:
    """Where nothing is counted, nobody is told."""


def no_keyring() -> Keyring | None:
    """Where no encryption key is configured, no secret is stored."""
    return None


def no_guardrails() -> Guardrails | None:
    """Where none is configured, none can be tried."""
    return None


async def every_host_is_there(_: Upstream) -> None:
    """Where nobody is served, no host is looked for."""


async def nothing_to_reload() -> None:
    """Where nobody is served, nothing has to follow."""


class ManagementParts(msgspec.Struct, frozen=True, kw_only=True):
    """`master_digest` is the digest of the master key; `metrics` gives this process's Prometheus text, and
    `all_metrics` that of all workers, where there are several.

    `health` names what must answer for the gateway to be ready; `database` is the one LiteLLM's clients know.
    `forget` tells every cache who has changed (see `CachedKeys.forget`), `unseed` the counters of whom the ledger or
    the limits have changed; that may raise `StoreUnavailable`. `failures` remembers who could not prove who they are.
    `previous_digests` are those of master keys that are on their way out. `keyring` gives what seals stored secrets (it
    may raise `SecretUnavailable`), `deployments` those that are served now; `reload_models` reads stored ones again.
    `check_host` raises `ConfigError` where a host's name leads where no stored model may. `guardrails` are those that
    hold now. `contents` has what was said, where that is stored. `identity_providers` let people log in, `None` where
    nobody can.
    """

    keys: KeyAdmin
    entities: Entities
    ledger: Spending
    trail: AuditTrail
    health: Mapping[str, Health]
    settings: Settings
    master_digest: str
    now: Callable[[], UnixMs]
    metrics: Callable[[], bytes]
    forget: Callable[[Scope], None]
    all_metrics: Callable[[], Awaitable[bytes]] | None = None
    unseed: Callable[[Scope], Awaitable[None]] = no_counters
    failures: Failures = msgspec.field(default_factory=Failures)
    previous_digests: tuple[str, ...] = ()
    keyring: Callable[[], Keyring | None] = no_keyring
    deployments: Callable[[], tuple[Deployment, ...]] | None = None
    reload_models: Callable[[], Awaitable[None]] = nothing_to_reload
    check_host: Callable[[Upstream], Awaitable[None]] = every_host_is_there
    guardrails: Callable[[], Guardrails | None] = no_guardrails
    contents: ContentStore | None = None
    identity_providers: IdentityProviders | None = None
    explanations: Explanations = msgspec.field(default_factory=MemoryExplanations)
    new_key: Callable[[], str] = generate_key
    new_id: Callable[[], str] = generate_id

    @property
    def serving(self) -> tuple[Deployment, ...]:
        """The deployments of now, those that are stored too."""
        return self.settings.deployments if self.deployments is None else self.deployments()

    @property
    def zone(self) -> ZoneInfo:
        """Where days and months begin and end."""
        return ZoneInfo(self.settings.timezone)


def parts_of(request: Request) -> ManagementParts:
    """The parts of the application that a request came to."""
    parts: ManagementParts = request.app.state.parts
    return parts


async def _parts(request: Request) -> ManagementParts:
    """As a coroutine, for FastAPI runs a plain function in a thread."""
    return parts_of(request)


Parts = Annotated[ManagementParts, Depends(_parts)]
