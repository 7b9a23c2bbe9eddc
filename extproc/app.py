"""The composition root: the only module that knows everyone, and decides nothing.

`serve` runs one worker: the gRPC processor and the management API on one asyncio loop (uvloop). Both stop on SIGTERM or
SIGINT: no new stream is taken, those in flight get `drain_seconds` to end, receipts are flushed, sockets are removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from extproc import guardrails, opening, server
from extproc.admission import Surroundings
from extproc.events import Header
from extproc.identity_providers.house import IdentityProviders
from extproc.inspection import Inspectors
from extproc.management import ManagementParts, create_app
from extproc.master_keys import MasterKeys
from extproc.model import Deployment, Outcome, UnixMs
from extproc.opening import Counting
from extproc.payload_keys import PayloadKey, PayloadKeys
from extproc.policy.expectation import Expectations
from extproc.policy.failures import Failures
from extproc.policy.outages import OnOutage
from extproc.policy.routing import Routes
from extproc.pricing import tokens
from extproc.pricing.catalog import Prices
from extproc.providers import registry
from extproc.reservation import Rules
from extproc.secrets import SecretResolver
from extproc.settings import Layout, Settings
from extproc.stored_models import EncryptionKeys, StoredModels
from extproc.stores import leftovers, outbox
from extproc.stores.cached import CachedKeys
from extproc.stores.contract import Health
from extproc.stores.explanations import Explained
from extproc.stores.guarded import GuardedKeys
from extproc.stores.outbox import Outbox
from extproc.stores.recorder import Recorder
from extproc.stores.sql import SqlStore
from extproc.telemetry.logs import log_exchange
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.workers import WorkersMetrics

logger = logging.getLogger(__name__)

_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_RANDOM_BITS = 0xFFF << 64 | (1 << 62) - 1

#: What a client is told where Envoy cannot connect to a provider, and what providers say themselves.
_UNAVAILABLE = 503
#: Refusals that may be on their way to where they are kept; beyond them some are not kept.
MOST_KEPT_AT_ONCE = 1_000


def now() -> UnixMs:
    """The wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


def event_id(moment: UnixMs) -> str:
    """A time-ordered random id, laid out as a UUID of version 7 (RFC 9562 §5.7)."""
    value = moment << 80 | int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS | _VERSION_AND_VARIANT
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


async def serve(settings: Settings, layout: Layout, master_key: SecretStr, *, worker: int = 0) -> None:
    """Serve as this worker of the layout's until told to stop.

    Raises `ConfigError` for what the operator must mend, before any socket exists.
    """
    stop = _stop_on_signals()
    async with contextlib.AsyncExitStack() as stack:
        metrics = Metrics()
        await opening.secrets(settings, stack, metrics.secret_up)
        store = await opening.database(settings, layout, opening.audit_key(settings, master_key))
        stack.push_async_callback(store.close)
        guarded = GuardedKeys(store, "keys", deadline_ms=settings.store_deadline_ms, report=metrics.store_up)
        keys = CachedKeys(guarded, ttl_ms=settings.key_cache_ttl_ms, size=settings.key_cache_size, now=now)
        counting = opening.counting(settings, stack, store, keys, now, metrics.store_up)
        opening.revocations(settings, stack, keys, counting, metrics.store_up)
        outboxes = Path(layout.data_dir) / "outbox"

        def recorder_of(folder: Path) -> Recorder:
            return Recorder(Outbox(folder), store, now, counting.reservations.booked)

        recorder = recorder_of(outboxes / str(worker))
        stack.push_async_callback(recorder.close)
        _watch(metrics, keys, recorder, outboxes if worker == 0 else None)
        master = MasterKeys(settings, master_key)
        models = StoredModels(settings, store.models, EncryptionKeys(settings).ring)
        await models.reload()
        contents = opening.contents(settings, stack, store, models.keyring, metrics.content)
        for work in (
            master.follow_until_cancelled(),
            models.follow_until_cancelled(),
            models.hosts.refresh_until_cancelled(),
            recorder.ship_until_cancelled(),
            counting.reservations.renew_until_cancelled(),
            counting.reservations.sweep_until_cancelled(recorder),
            asyncio.to_thread(tokens.preload),
            *([leftovers.ship(outboxes, layout.workers, recorder_of)] if worker == 0 else []),
            *opening.keeping(settings, store, contents, now, metrics.ledger_purged),
        ):
            await stack.enter_async_context(_running(work, stop))
        failures = opening.failures(settings, metrics.authentication_failed)
        providers = opening.identity_providers(settings, layout, stack)
        parts = _parts(settings, store, counting, models, metrics, failures, providers)
        if layout.workers > 1:
            everybody = WorkersMetrics(worker, layout.management_sockets, metrics.render)
            parts = msgspec.structs.replace(parts, all_metrics=everybody.render)
        management = create_app(parts)
        inspectors = Inspectors()
        stack.push_async_callback(inspectors.close)
        surroundings = _surroundings(settings, keys, recorder, counting, inspectors)
        surroundings = msgspec.structs.replace(surroundings, failures=failures, contents=contents, way=models.hosts.way)
        reporter = _reporter(metrics, models, counting, anonymous=settings.redact_user_api_key_info)
        processor = server.Processor(surroundings, reporter)
        management.state.parts = msgspec.structs.replace(parts, guardrails=lambda: processor.surroundings.guardrails)
        _follow(processor, management, settings, master, models)
        await stack.enter_async_context(_management(management, layout.management_sockets[worker]))
        metrics.watch("extproc_exchanges_in_flight", "Exchanges in flight.", lambda: processor.in_flight)
        await stack.enter_async_context(_processor(processor, settings, layout, worker))
        # What is there now stays: without it a full collection is short, with it no exchange could go on for 0.1 s.
        gc.collect()
        gc.freeze()
        logger.info("serving", extra={"processor": layout.processor_sockets[worker], "worker": worker})
        await stop.wait()
        logger.info("draining", extra={"in_flight": processor.in_flight})


def _watch(metrics: Metrics, keys: CachedKeys, recorder: Recorder, outboxes: Path | None) -> None:
    """What is asked for at each scrape; of all outboxes here, by the first worker only."""
    metrics.watch("extproc_cached_keys", "Keys in memory, unknown ones too.", lambda: len(keys))
    metrics.watch("extproc_outbox_depth", "Receipts not yet booked.", lambda: recorder.depth)
    if outboxes is not None:
        told = "Segments of all outboxes here with receipts that cannot be read."
        metrics.watch("extproc_outbox_set_aside", told, lambda: outbox.set_aside(outboxes))


def _follow(
    processor: server.Processor, management: FastAPI, settings: Settings, master: MasterKeys, models: StoredModels
) -> None:
    """Let the data path and the management API have the models and the master keys of now, whenever they change."""

    def serve_models() -> None:
        processor.surroundings = msgspec.structs.replace(
            processor.surroundings,
            routes=Routes(models.deployments),
            price=Prices(models.deployments).price,
            house=msgspec.structs.replace(opening.house(settings), deployments=models.rates),
        )

    def accept_keys() -> None:
        digests: dict[str, Any] = {"master_digest": master.current, "previous_digests": master.previous}
        configured = processor.surroundings.guardrails
        processor.surroundings = msgspec.structs.replace(
            processor.surroundings,
            guardrails=configured.with_secret(master.current) if configured else None,
            **digests,
        )
        management.state.parts = msgspec.structs.replace(management.state.parts, **digests)

    models.changed, master.changed = serve_models, accept_keys
    serve_models()
    accept_keys()


def _parts(
    settings: Settings,
    store: SqlStore,
    counting: Counting,
    models: StoredModels,
    metrics: Metrics,
    failures: Failures,
    providers: IdentityProviders | None,
) -> ManagementParts:
    """Without the master keys, which change while this process serves: see `_follow`."""
    health: dict[str, Health] = {"database": store}
    if counting.health is not None:
        health["counters"] = counting.health
    return ManagementParts(
        keys=store,
        entities=store,
        ledger=store,
        trail=store.trail,
        explanations=counting.explanations,
        health=health,
        settings=settings,
        master_digest="",
        keyring=models.keyring,
        contents=store.contents,
        deployments=lambda: models.deployments,
        reload_models=models.reload,
        check_host=models.hosts.check,
        now=now,
        metrics=metrics.render,
        forget=counting.forget,
        unseed=counting.reservations.unseed,
        failures=failures,
        identity_providers=providers,
    )


def _surroundings(
    settings: Settings, keys: CachedKeys, recorder: Recorder, counting: Counting, inspectors: Inspectors
) -> Surroundings:
    """Without the models and the master keys, which change while this process serves: see `_follow`."""
    return Surroundings(
        keys=keys,
        receipts=recorder,
        routes=Routes(()),
        master_digest="",
        credential=_credentials_of(SecretResolver()),
        price=Prices().price,
        now=now,
        event_id=event_id,
        block_unpriced_models=settings.block_unpriced_models,
        max_response_bytes=settings.max_response_bytes,
        kept=settings.kept,
        heed_no_log=settings.heed_no_log,
        consent=settings.consent,
        end_user_headers=tuple(name.encode() for name in settings.end_user_headers),
        mapped_headers=tuple(name.encode() for name in settings.mapped_headers),
        guardrails=guardrails.compiled(settings.guardrails, inspectors.of) if settings.guardrails else None,
        redaction_deadline_ms=settings.redaction_deadline_ms,
        payload_keys=_payload_keys(settings.payload_encryption),
        house=opening.house(settings),
        origins=settings.origins,
        rules=Rules(
            reservations=counting.reservations,
            expectations=Expectations(),
            now=now,
            on_outage=OnOutage(settings.on_outage),
            wait_ms=settings.budget_wait_ms,
            budget_exceeded_status=settings.budget_exceeded_status,
        ),
    )


def _payload_keys(rows: Sequence[PayloadKey]) -> PayloadKeys | None:
    resolver = SecretResolver()
    return PayloadKeys(rows, lambda key: resolver.resolve(key).get_secret_value()) if rows else None


def _credentials_of(resolver: SecretResolver) -> Callable[[Deployment], Header | None]:
    def credential(deployment: Deployment) -> Header | None:
        if deployment.credential is None:
            return None
        return registry.credential_header(
            deployment.provider, resolver.resolve(deployment.credential).get_secret_value()
        )

    return credential


def _reporter(
    metrics: Metrics, models: StoredModels, counting: Counting, *, anonymous: bool
) -> Callable[[Outcome, int], None]:
    """Counts, logs and keeps outcomes, under the configured name of the model that served them."""
    keeping: set[asyncio.Task[None]] = set()

    def report(outcome: Outcome, busy_nanoseconds: int) -> None:
        name = models.name_of(outcome.receipt.model_id) if outcome.receipt else ""
        metrics.observe(outcome, busy_nanoseconds, name)
        log_exchange(outcome, busy_nanoseconds, anonymous=anonymous)
        if outcome.receipt and outcome.status == _UNAVAILABLE:
            models.failed(outcome.receipt.model_id)
        if len(keeping) < MOST_KEPT_AT_ONCE and (explained := _explained(outcome)) is not None:
            task = asyncio.create_task(counting.explanations.put(explained))
            keeping.add(task)
            task.add_done_callback(keeping.discard)

    return report


def _explained(outcome: Outcome) -> Explained | None:
    if outcome.explanation is None or outcome.key is None:
        return None
    return Explained(
        event_id=outcome.event_id,
        call_id=outcome.call_id,
        key_digest=outcome.key.digest,
        at=outcome.ended_at,
        status=outcome.status,
        reason=outcome.reason,
        explanation=outcome.explanation,
    )


@contextlib.asynccontextmanager
async def _processor(
    processor: server.Processor, settings: Settings, layout: Layout, worker: int
) -> AsyncIterator[None]:
    path = layout.processor_sockets[worker]
    _remove(path)
    running = await server.start(processor, f"unix:{path}", settings.max_request_bytes)
    try:
        yield
    finally:
        await running.stop(layout.drain_seconds)
        _remove(path)


@contextlib.asynccontextmanager
async def _management(application: FastAPI, path: str) -> AsyncIterator[None]:
    listening = _listen(path)
    config = uvicorn.Config(
        application, log_config=None, access_log=False, server_header=False, lifespan="off", loop="none"
    )
    running = _QuietServer(config)
    serving = asyncio.create_task(running.serve(sockets=[listening]))
    try:
        yield
    finally:
        running.should_exit = True
        await serving
        listening.close()
        _remove(path)


class _QuietServer(uvicorn.Server):
    """Signals are this module's: uvicorn would stop at once what must outlive the streams in flight."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(path: str) -> socket.socket:
    """A listening Unix socket for the owner only: connections wait in it until they are accepted."""
    _remove(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    Path(path).chmod(0o600)
    listening.listen(1024)
    listening.setblocking(False)
    return listening


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, Any], stop: asyncio.Event) -> AsyncIterator[None]:
    """Work in the background. If it fails the process stops, and fails: without it nobody would renew, or book."""

    def failed(task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("background_work_failed", exc_info=error)
            stop.set()

    task = asyncio.create_task(work)
    task.add_done_callback(failed)
    try:
        yield
    finally:
        await opening.end(task)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
