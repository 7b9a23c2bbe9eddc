"""`extproc up`: everything is checked, then everything is started, looked after, and ended in order.

Envoy ends before the processor, so that the processor sees the end of every exchange; the processor before the
simulated provider. Receipts are flushed by the processor's own end. The exit code is 0 after an ordered stop and 1 when
a child turned out to be hopeless, or the listeners never answered.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from extproc.envoyconfig import render
from extproc.errors import ConfigError
from extproc.secrets import SecretResolver
from extproc.settings import demo, load
from extproc.settings.model import Layout, Settings
from extproc.supervisor import (
    certificates,
    draining,
    envoy,
    first_steps,
    launch,
    layout,
    lock,
    master_key,
    ports,
    readiness,
)
from extproc.supervisor.certificates import Certificates
from extproc.supervisor.children import Child, Patience, Program, Say

READY_SECONDS = 120
#: Envoy has nothing left to do when it is stopped; the processor flushes what is on disk already.
ENVOY_STOP_SECONDS = 5
FLUSH_SECONDS = 15
PROVIDER_STOP_SECONDS = 5
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


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is started, in this order, and how it is told to be ready. The first program is Envoy."""

    programs: tuple[Program, ...]
    stop_seconds: tuple[float, ...]
    doors: tuple[readiness.Door, ...]
    admin_socket: str
    drain_seconds: float
    welcome: str


def up(wishes: Wishes, show: Callable[[str], None], say: Say) -> int:
    """Run until told to stop; the exit code. `show` is for stdout, `say` for stderr. Raises `ConfigError`."""
    os.umask(0o077)
    settings = settings_for(wishes, say)
    tls = _supplied(wishes)
    place = layout.build(settings, wishes.data_dir, wishes.ports, drain_seconds=wishes.drain_seconds, tls=tls)
    layout.prepare(place)
    with lock.held(Path(place.data_dir) / "up.lock", owner="another extproc up"):
        binary = envoy.find(wishes.envoy)
        ports.check(place)
        tls = tls or certificates.ensure(Path(place.data_dir) / "tls", socket.gethostname(), _now())
        key = master_key.resolve(settings.master_key, Path(place.data_dir))
        master_key.announce(key, show, say)
        layout.remove_sockets(place)
        layout.prepare(place)
        bootstrap = envoy.write_bootstrap(place, render(settings, place))
        doors = readiness.doors(place, tls)
        access = first_steps.Access(tuple(door.url for door in doors), tls.authority, key.shell)
        plan = Plan(
            programs=_programs(wishes, settings, place, binary, bootstrap),
            stop_seconds=(ENVOY_STOP_SECONDS, wishes.drain_seconds + FLUSH_SECONDS, PROVIDER_STOP_SECONDS),
            doors=doors,
            admin_socket=place.admin_socket,
            drain_seconds=wishes.drain_seconds,
            welcome=first_steps.ready_line(access.urls) + "\n" + first_steps.text(settings, access),
        )
        try:
            return asyncio.run(Supervisor(plan, show, say).run())
        finally:
            layout.remove_sockets(place)


def settings_for(wishes: Wishes, say: Say) -> Settings:
    """The settings, with the simulated provider where it is wanted or nothing else could answer."""
    settings = load(wishes.config, strict=wishes.strict)
    for line in settings.unsupported:
        say(f"warning: {line}")
    resolver = SecretResolver()
    missing = [each for each in settings.deployments if not demo.is_usable(each, resolver)]
    usable = len(settings.deployments) > len(missing)
    if wishes.demo is False and not usable:
        raise ConfigError(_nothing_usable(settings))
    for each in missing:
        say(f"warning: model {each.model_name} cannot be used: {each.credential} is not set")
    if wishes.demo or not usable:
        provider = layout.provider_socket(wishes.data_dir)
        settings = demo.with_simulated_provider(settings, str(provider))
        say(_about_simulation(settings, usable=usable))
    return settings


class Supervisor:
    """Runs a plan. `show` and `say` get whole texts, without a last line end."""

    def __init__(self, plan: Plan, show: Callable[[str], None], say: Say, patience: Patience | None = None) -> None:
        self._plan = plan
        self._show = show
        self._say = say
        self._children = [Child(program, say, patience) for program in plan.programs]
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """Start, look after, stop; the exit code."""
        self._listen_to_signals()
        lives = [asyncio.create_task(child.keep_running()) for child in self._children]
        opening = asyncio.create_task(readiness.until_ready(self._plan.doors, READY_SECONDS))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            trouble = await self._watch(lives, opening, stopping)
            if trouble:
                self._say(f"error: {trouble}; stopping")
            await self._shut_down(polite=not trouble)
        finally:
            for task in (opening, stopping, *lives):
                task.cancel()
            await asyncio.gather(opening, stopping, *lives, return_exceptions=True)
        return 1 if trouble else 0

    async def _watch(
        self, lives: Sequence[asyncio.Task[str]], opening: asyncio.Task[str], stopping: asyncio.Task[bool]
    ) -> str:
        """Wait for the end: an empty text if it was ordered, else the reason."""
        waiting: set[asyncio.Task[str] | asyncio.Task[bool]] = {*lives, opening, stopping}
        while True:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return ""
            if hopeless := next((life.result() for life in lives if life.done()), None):
                return hopeless
            if opening in waiting and opening.done():
                waiting.remove(opening)
                if late := opening.result():
                    return late
                self._show(self._plan.welcome)

    async def _shut_down(self, *, polite: bool) -> None:
        for child in self._children:
            child.let_go()
        if polite and self._children[0].pid is not None:
            await self._drain()
        for child, seconds in zip(self._children, self._plan.stop_seconds, strict=False):
            await child.stop(seconds, self._hurry)

    async def _drain(self) -> None:
        admin = draining.EnvoyAdmin(self._plan.admin_socket)
        self._say(f"draining: requests in flight have up to {self._plan.drain_seconds:g} s; Ctrl-C again to hurry")
        left = await draining.drain(admin, self._plan.drain_seconds, self._hurry)
        if left:
            self._say(f"{left} requests in flight are cut")

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup the hang-up is ignored on purpose.
            if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()


def _programs(wishes: Wishes, settings: Settings, place: Layout, binary: Path, bootstrap: Path) -> tuple[Program, ...]:
    command = envoy.command(
        binary,
        bootstrap,
        drain_seconds=wishes.drain_seconds,
        concurrency=wishes.envoy_concurrency,
        for_machines=not sys.stderr.isatty(),
    )
    simulated = str(layout.provider_socket(wishes.data_dir)) if demo.simulated_models(settings) else None
    programs = [
        Program(title="Envoy", command=launch.bound_to_parent(command), lifeline=False),
        _own("the processor", *_serve_arguments(wishes, place, simulated)),
    ]
    if simulated:
        programs.append(_own("the simulated provider", "simulate-provider", "--socket", simulated))
    return tuple(programs)


def _own(title: str, *arguments: str) -> Program:
    """A command of this program, in the same environment. `-P` keeps the working directory off its module path."""
    return Program(
        title=title,
        command=(sys.executable, "-P", "-m", "extproc", *arguments, "--until-stdin-ends"),
        lifeline=True,
        final_codes=frozenset({CONFIG_ERROR_CODE}),
    )


def _serve_arguments(wishes: Wishes, place: Layout, simulated: str | None) -> tuple[str, ...]:
    config = ("--config", str(wishes.config.absolute())) if wishes.config else ()
    strict = ("--strict",) if wishes.strict else ()
    provider = ("--simulated-provider", simulated) if simulated else ()
    data = ("--data-dir", place.data_dir, "--drain-seconds", str(wishes.drain_seconds))
    return ("serve", *config, *strict, *data, *provider)


def _supplied(wishes: Wishes) -> Certificates | None:
    return certificates.supplied(*wishes.tls, _now()) if wishes.tls else None


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


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
