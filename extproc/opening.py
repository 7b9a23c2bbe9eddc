"""The stores that the settings name, opened: SQLite and counters in this process, or PostgreSQL and Redis for many.

What is opened is closed by the exit stack that is handed in. The drivers of the shared stores are an extra of the
package (`llm-extproc[production]`), so they are imported where they are needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec
from pydantic import SecretStr

from extproc import guardrails
from extproc.contents import Contents
from extproc.encryption import MIN_CHARACTERS, Keyring
from extproc.errors import ConfigError, SecretUnavailable
from extproc.holds import Scope
from extproc.identity_providers.house import IdentityProviders
from extproc.model import SecretRef, UnixMs
from extproc.policy import limits, windows
from extproc.policy.failures import Failures, Pace
from extproc.policy.limits import House
from extproc.secret_managers.keeping import KeptSecrets
from extproc.secrets import SecretResolver
from extproc.settings import Layout, Settings
from extproc.stores import sql_contents, sql_retention, sql_url
from extproc.stores.audit_chain import AuditKey
from extproc.stores.cached import CachedKeys
from extproc.stores.contract import Health
from extproc.stores.counters_memory import MemoryCounters
from extproc.stores.explanations import Explanations, MemoryExplanations, RedisExplanations
from extproc.stores.guarded_counters import Guard, GuardedCounters
from extproc.stores.reservations import Reservations
from extproc.stores.sql import SqlStore
from extproc.stores.sql_retention import Retention

logger = logging.getLogger(__name__)

NAMESPACE = "extproc"
_EMBEDDED = "extproc.db"
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
#: Of the clients that are not on the way of an exchange.
_PATIENT_SECONDS = 5.0


class Counting(msgspec.Struct, frozen=True):
    """Where limits are counted. `forget` tells the caches, of every worker, who has changed; `health` is of the store
    that counts, `None` where that is this process. `heard` says whether Redis brings what others changed."""

    reservations: Reservations
    explanations: Explanations
    forget: Callable[[Scope], None]
    health: Health | None = None
    heard: Callable[[], bool] | None = None


def house(settings: Settings) -> House:
    """The limits that do not hang on a key."""
    return House(
        everybody=settings.everybody,
        deployments=settings.model_rates,
        per_deployment=settings.per_deployment,
        zone=ZoneInfo(settings.timezone),
        apply_user_budget_to_team_keys=settings.apply_user_budget_to_team_keys,
        dry_run=frozenset(settings.dry_run),
    )


async def secrets(settings: Settings, stack: contextlib.AsyncExitStack, report: Callable[[str, bool], None]) -> None:
    """Fetch the secrets that managers keep, and go on asking for them. From now on every resolver has them.

    Raises `ConfigError` for those that cannot be had. `report` hears whether each can be fetched.
    """
    kept = KeptSecrets(settings.managers, report=report)
    SecretResolver.managed = kept
    await kept.fetch_all(settings.references, settings.secret_places)
    refreshing = asyncio.create_task(kept.refresh_until_cancelled())
    stack.push_async_callback(end, refreshing)


def identity_providers(
    settings: Settings, layout: Layout, stack: contextlib.AsyncExitStack
) -> IdentityProviders | None:
    """Who vouches for people, `None` where nobody logs in. Raises `ConfigError` where something is missing.

    Without a `proxy_base_url` the gateway is reached from this machine only.
    """
    sso = settings.sso
    if sso is None:
        return None
    if settings.encryption_key is None:
        raise ConfigError("sso_providers needs general_settings.encryption_key: logins are sealed with it")
    if sso.base_url is None:
        plain = layout.http_port is not None
        local = f"http://localhost:{layout.http_port}" if plain else f"https://localhost:{layout.https_port}"
        sso = msgspec.structs.replace(sso, base_url=local)
        logger.warning("logins_from_this_machine_only", extra={"missing": "proxy_base_url", "base_url": local})
    found = IdentityProviders(sso)
    stack.push_async_callback(found.close)
    return found


def failures(settings: Settings, count: Callable[[str], None]) -> Failures:
    """Who could not prove who they are. `count` hears each reason; a source that is slowed down is logged, once."""
    pace = Pace(settings.failed_login_attempts, settings.failed_login_window_ms, settings.failed_login_block_ms)

    def blocked(source: str) -> None:
        shown = {"source": source} if settings.log_requester_ip else {}
        logger.warning("unknown_keys_slowed_down", extra={**shown, "seconds": pace.block_ms // 1_000})

    return Failures(pace, count=count, blocked=blocked)


async def database(settings: Settings, layout: Layout, audit_key: AuditKey | None = None) -> SqlStore:
    """PostgreSQL where the configuration names it, else a file of our own. Changes are written down with the key."""
    if settings.database_url is None:
        return await SqlStore.open(f"sqlite+aiosqlite:///{layout.data_dir}/{_EMBEDDED}", audit_key=audit_key)
    url = _told(settings.database_url)
    return await SqlStore.open(url, pool_size=settings.database_pool_size, audit_key=audit_key)


def must_have_database(settings: Settings, layout: Layout) -> None:
    """For those who look at what is there, and must not make an empty one. Raises `ConfigError`."""
    if settings.database_url is None and not Path(layout.data_dir, _EMBEDDED).exists():
        raise ConfigError(f"there is no database in {layout.data_dir}: the first start makes one; see --data-dir")


def contents(
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    store: SqlStore,
    keyring: Callable[[], Keyring | None],
    report: Callable[[str, int], None],
) -> Contents | None:
    """What keeps what was said, where that is wanted. Raises `ConfigError` where nothing could encrypt it."""
    if not settings.store_prompts:
        return None
    if settings.encryption_key is None:
        raise ConfigError("store_prompts_in_spend_logs needs general_settings.encryption_key")
    kept = Contents(store.contents, keyring, guardrails.of_everything(), settings.redaction_deadline_ms, report)
    stack.push_async_callback(kept.close)
    return kept


def keeping(
    settings: Settings,
    store: SqlStore,
    contents: Contents | None,
    now: Callable[[], UnixMs],
    purged: Callable[[int, UnixMs], None],
) -> Iterator[Coroutine[Any, Any, None]]:
    """What stores what was said, and purges it and the ledger where they are not kept for ever, until cancelled."""
    if contents is not None:
        yield contents.store_until_cancelled()
    interval_ms = settings.purge_interval_ms
    if settings.keep_ledger_ms is not None:
        retention = Retention(
            keep_ms=settings.keep_ledger_ms,
            interval_ms=interval_ms,
            everybody=settings.everybody,
            most_ms=windows.most_ms,
            now=now,
            report=purged,
        )
        yield sql_retention.purge_until_cancelled(store.database, retention)
    if settings.keep_prompts_ms is not None:
        yield sql_contents.purge_until_cancelled(store.contents, settings.keep_prompts_ms, interval_ms, now)


def audit_key(settings: Settings, master_key: SecretStr) -> AuditKey | None:
    """What the audit trail is hashed with; `None` where there is none. Raises `ConfigError` for a short one."""
    if not settings.store_audit_logs:
        return None
    reference = settings.audit_key or settings.encryption_key
    secret = _told(reference) if reference is not None else master_key.get_secret_value()
    if len(secret) < MIN_CHARACTERS:
        raise ConfigError(f"extproc_settings.audit_key has fewer than {MIN_CHARACTERS} characters")
    return AuditKey(secret)


def audit_keys(settings: Settings) -> list[AuditKey]:
    """All keys that a trail may have been hashed with, as far as they can be read: those of now and of before."""
    references = (
        *(settings.audit_key, settings.encryption_key, settings.master_key),
        *settings.previous_encryption_keys,
        *settings.previous_master_keys,
    )
    found = []
    for reference in references:
        with contextlib.suppress(ConfigError):
            if reference is not None:
                found.append(AuditKey(_told(reference)))
    return found


def counting(
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    store: SqlStore,
    keys: CachedKeys,
    now: Callable[[], UnixMs],
    report: Callable[[str, bool], None],
) -> Counting:
    """Counters in this process, or in Redis. `report` hears whether Redis answers."""

    def local() -> MemoryCounters:
        return MemoryCounters(now)

    if not settings.counters_are_shared:
        own = Reservations(local(), store, now=now, own_clock=False, local=local, scopes_of=limits.scopes)
        return Counting(own, MemoryExplanations(), keys.forget)
    try:
        from redis import asyncio as aioredis

        from extproc.stores.broadcast import Broadcast
        from extproc.stores.counters_redis import RedisCounters
    except ImportError:
        raise ConfigError("Redis is configured, but its driver is missing: install llm-extproc[production]") from None
    url = redis_url(settings)
    lease = settings.counter_lease_ms
    counters = RedisCounters(url, namespace=NAMESPACE, deadline_ms=settings.counter_deadline_ms, lease_ms=lease)
    stack.push_async_callback(counters.close)
    guard = Guard(deadline_ms=None, now=_monotonic_ms, report=report)
    reservations = Reservations(
        GuardedCounters(counters, guard),
        store,
        now=now,
        own_clock=True,
        local=local,
        scopes_of=limits.scopes,
        lease_ms=lease,
    )

    def connected_anew() -> None:
        keys.forget_all()
        reservations.hurry()

    listener = aioredis.Redis.from_url(url, socket_connect_timeout=_PATIENT_SECONDS)
    stack.push_async_callback(listener.aclose)
    broadcast = Broadcast(listener, f"{NAMESPACE}:changed", forget=keys.forget, forget_all=connected_anew)
    listening = asyncio.create_task(broadcast.listen_until_cancelled())
    stack.push_async_callback(end, listening)
    keeper = aioredis.Redis.from_url(url, socket_connect_timeout=_PATIENT_SECONDS, socket_timeout=_PATIENT_SECONDS)
    stack.push_async_callback(keeper.aclose)
    explanations = RedisExplanations(keeper, f"{NAMESPACE}:explained:")
    return Counting(reservations, explanations, broadcast.tell, counters, broadcast.heard)


def revocations(
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    keys: CachedKeys,
    counting: Counting,
    report: Callable[[str, bool], None],
) -> None:
    """Let the cache hear of what other processes change: from PostgreSQL, else from Redis.

    Without either, or while it is away, the cache believes nothing for longer than a second. The embedded database has
    this process only, which tells itself.
    """
    if settings.database_url is None:
        return
    location = sql_url.read(_told(settings.database_listen_url or settings.database_url))
    if location.url.get_backend_name() != "postgresql":
        return
    if location.pooled_outside:
        keys.trust(counting.heard or (lambda: False))
        return
    from extproc.stores.listening import Listening

    listening = Listening(location, forget=keys.forget, forget_all=keys.forget_all, report=report)
    keys.trust(listening.heard)
    task = asyncio.create_task(listening.listen_until_cancelled())
    stack.push_async_callback(end, task)


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel, and wait until it is over: what it uses may be closed then."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def redis_url(settings: Settings) -> str:
    """The address of Redis, with its password. Raises `ConfigError` for a reference that cannot be resolved, and for
    what is no address of Redis."""
    if settings.redis_url is not None:
        url = _told(settings.redis_url)
        if not url.startswith(REDIS_SCHEMES):
            raise ConfigError(f"router_settings.redis_url must begin with {', '.join(REDIS_SCHEMES)}")
        return url
    assert settings.redis_host is not None
    host = _told(settings.redis_host)
    port = _told(settings.redis_port) if settings.redis_port is not None else "6379"
    password = f":{quote(_told(settings.redis_password), safe='')}@" if settings.redis_password is not None else ""
    return f"redis://{password}{f'[{host}]' if ':' in host else host}:{port}"


def _told(reference: SecretRef) -> str:
    try:
        return SecretResolver().resolve(reference).get_secret_value()
    except SecretUnavailable as error:
        raise ConfigError(str(error)) from None


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
