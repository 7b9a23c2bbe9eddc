"""What `extproc up` would run, worked out before anything runs: settings, programs, and what the operator is told.

Nothing is started or changed here. `Wishes` come from the command line, a `Plan` goes to the supervisor.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from extproc.errors import ConfigError
from extproc.secret_managers.keeping import KeptSecrets
from extproc.secrets import SecretResolver
from extproc.settings import demo, load, workers
from extproc.settings.model import Layout, Settings
from extproc.supervisor import envoy, first_steps, launch, layout, readiness
from extproc.supervisor.certificates import Certificates
from extproc.supervisor.children import Program, Say
from extproc.supervisor.master_key import MasterKey

#: Envoy has nothing left to do when it is stopped; the processor flushes what is on disk already.
ENVOY_STOP_SECONDS = 5.0
FLUSH_SECONDS = 15.0
PROVIDER_STOP_SECONDS = 5.0
#: Exit code for what the operator must mend; a child that ends with it is not started again.
CONFIG_ERROR_CODE = 2


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for. `demo` is `None` where it leaves the choice to us."""

    config: Path | None = None
    data_dir: Path = layout.DEFAULT_DATA_DIR
    ports: layout.Ports = layout.Ports()
    demo: bool | None = None
    envoy: Path | None = None
    strict: bool = False
    drain_seconds: int = 30
    envoy_concurrency: int | None = None
    tls: tuple[Path, Path] | None = None
    workers: int = 1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is started, and how it is told to be ready.

    `edge` is Envoy: it starts when `configure` has written what it reads and all of `sockets` listen. `inner` are the
    programs behind it, in rows: the workers, then the simulated provider. Stops go in the same order, edge first; the
    programs of a row stop at the same time, and each may take its row's `stop_seconds`.
    """

    edge: Program
    inner: tuple[tuple[Program, ...], ...]
    stop_seconds: tuple[float, ...]
    configure: Callable[[], object]
    sockets: tuple[str, ...]
    doors: tuple[readiness.Door, ...]
    admin_socket: str
    drain_seconds: float
    welcome: str


def settings_for(wishes: Wishes, say: Say) -> Settings:
    """The settings, with the simulated provider where it is wanted or nothing else could answer."""
    settings = load(wishes.config, strict=wishes.strict)
    for line in settings.unsupported:
        say(f"warning: {line}")
    workers.check(settings, wishes.workers)
    SecretResolver.managed = kept = KeptSecrets(settings.managers)
    asyncio.run(kept.fetch_all(settings.references, settings.secret_places))
    resolver = SecretResolver()
    missing = [each for each in settings.deployments if not demo.is_usable(each, resolver)]
    usable = len(settings.deployments) > len(missing)
    if wishes.demo is False and not usable:
        raise ConfigError(_nothing_usable(settings))
    for each in missing:
        say(f"warning: model {each.model_name} cannot be used: {each.credential} is not set")
    if wishes.demo or (wishes.demo is None and not usable):
        provider = layout.provider_socket(wishes.data_dir)
        settings = demo.with_simulated_provider(settings, str(provider))
        say(_about_simulation(settings, usable=usable))
    return settings


def build(
    wishes: Wishes,
    settings: Settings,
    place: Layout,
    *,
    binary: Path,
    tls: Certificates,
    key: MasterKey,
    on_screen: bool,
) -> Plan:
    """The plan for these settings. `on_screen` is whether a person reads along as it happens."""
    doors = readiness.doors(place, tls)
    access = first_steps.Access(tuple(door.url for door in doors), tls.authority, key.shell)
    simulated = str(layout.provider_socket(wishes.data_dir)) if demo.simulated_models(settings) else None
    bootstrap = envoy.bootstrap_path(place)
    command = envoy.command(
        binary,
        bootstrap,
        drain_seconds=wishes.drain_seconds,
        concurrency=wishes.envoy_concurrency,
        on_screen=on_screen,
    )
    return Plan(
        edge=Program(title="Envoy", command=launch.bound_to_parent(command), lifeline=False),
        inner=_inner(wishes, place, simulated),
        stop_seconds=(ENVOY_STOP_SECONDS, wishes.drain_seconds + FLUSH_SECONDS, PROVIDER_STOP_SECONDS),
        configure=lambda: envoy.write_bootstrap(bootstrap, settings, place),
        sockets=(*place.processor_sockets, *place.management_sockets, *((simulated,) if simulated else ())),
        doors=doors,
        admin_socket=place.admin_socket,
        drain_seconds=wishes.drain_seconds,
        welcome=first_steps.ready_line(access.urls) + "\n" + first_steps.text(settings, access),
    )


def _inner(wishes: Wishes, place: Layout, simulated: str | None) -> tuple[tuple[Program, ...], ...]:
    several = place.workers > 1
    row = tuple(
        _own(f"worker {worker}" if several else "the processor", *_serve_arguments(wishes, place, worker, simulated))
        for worker in range(place.workers)
    )
    if simulated is None:
        return (row,)
    return row, (_own("the simulated provider", "simulate-provider", "--socket", simulated),)


def _own(title: str, *arguments: str) -> Program:
    """A command of this program, in the same environment. `-P` keeps the working directory off its module path."""
    return Program(
        title=title,
        command=(sys.executable, "-P", "-m", "extproc", *arguments, "--until-stdin-ends"),
        lifeline=True,
        final_codes=frozenset({CONFIG_ERROR_CODE}),
    )


def _serve_arguments(wishes: Wishes, place: Layout, worker: int, simulated: str | None) -> tuple[str, ...]:
    config = ("--config", str(wishes.config.absolute())) if wishes.config else ()
    strict = ("--strict",) if wishes.strict else ()
    provider = ("--simulated-provider", simulated) if simulated else ()
    data = ("--data-dir", place.data_dir, "--drain-seconds", str(wishes.drain_seconds))
    which = ("--workers", str(place.workers), "--worker", str(worker)) if place.workers > 1 else ()
    # Whoever logs in from this machine comes back to the port that they came to.
    ports = ("--http-port", str(wishes.ports.http), "--https-port", str(wishes.ports.https))
    return ("serve", *config, *strict, *data, *which, *(ports if wishes.ports != layout.Ports() else ()), *provider)


def _nothing_usable(settings: Settings) -> str:
    if not settings.deployments:
        return "no model is configured: name one in model_list of --config FILE, or leave --no-demo out"
    missing = ", ".join(sorted({str(each.credential) for each in settings.deployments}))
    return (
        f"no configured model can be used, because no provider key is set ({missing}); set one, or leave --no-demo out"
    )


def _about_simulation(settings: Settings, *, usable: bool) -> str:
    models = ", ".join(demo.simulated_models(settings)) or "none, since all of its names are configured already"
    reason = "" if usable else "no provider key is configured, so "
    return f"{reason}a SIMULATED provider answers, no model is asked: {models}"
