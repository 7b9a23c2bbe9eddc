"""`extproc up`: everything is checked, then everything is started, looked after, and ended in order.

The workers start first, while Envoy's configuration is still being rendered; Envoy starts when there is something for
it to lead to, so that its ports open last. Envoy ends before the workers, so that they see the end of every exchange;
the workers, all at the same time, before the simulated provider. Receipts are flushed by a worker's own end. The exit
code is 0 after an ordered stop and 1 when a child turned out to be hopeless, or the listeners never answered.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from extproc.supervisor import certificates, draining, envoy, layout, lock, master_key, plan, ports, readiness
from extproc.supervisor.certificates import Certificates
from extproc.supervisor.children import Child, Patience, Program, Say
from extproc.supervisor.plan import Plan, Wishes
from extproc.supervisor.screen import Screen

READY_SECONDS = 120


def up(wishes: Wishes, show: Callable[[str], None], say: Say, screen: Screen | None = None) -> int:
    """Run until told to stop; the exit code. Raises `ConfigError`.

    `show` is for stdout, `say` for stderr. Where a person looks at stderr, `screen` tells what the children log.
    """
    os.umask(0o077)
    settings = plan.settings_for(wishes, say)
    tls = _supplied(wishes)
    place = layout.build(
        settings, wishes.data_dir, wishes.ports, drain_seconds=wishes.drain_seconds, workers=wishes.workers, tls=tls
    )
    layout.prepare(place)
    with lock.held(Path(place.data_dir) / "up.lock", owner="another extproc up"):
        binary = envoy.find(wishes.envoy)
        ports.check(place)
        tls = tls or certificates.ensure(Path(place.data_dir) / "tls", socket.gethostname(), _now())
        key = master_key.resolve(settings.master_key, Path(place.data_dir))
        master_key.announce(key, show, say)
        layout.remove_sockets(place)
        layout.prepare(place)
        planned = plan.build(wishes, settings, place, binary=binary, tls=tls, key=key, on_screen=screen is not None)
        try:
            return asyncio.run(Supervisor(planned, show, say, screen=screen).run())
        finally:
            layout.remove_sockets(place)


class Supervisor:
    """Runs a plan. `show` and `say` get whole texts, without a last line end."""

    def __init__(
        self,
        planned: Plan,
        show: Callable[[str], None],
        say: Say,
        *,
        patience: Patience | None = None,
        screen: Screen | None = None,
    ) -> None:
        self._plan = planned
        self._show = show
        self._say = say
        self._screen = screen

        def child(program: Program) -> Child:
            return Child(program, say, patience, screen.feeder() if screen else None)

        self._envoy = child(planned.edge)
        self._inner = [[child(program) for program in row] for row in planned.inner]
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> int:
        """Start, look after, stop; the exit code."""
        self._listen_to_signals()
        lives = [asyncio.create_task(child.keep_running()) for row in self._inner for child in row]
        lives.append(asyncio.create_task(self._run_envoy()))
        opening = asyncio.create_task(self._until_ready())
        stopping = asyncio.create_task(self._stop.wait())
        trouble = "an error of its own"
        try:
            trouble = await self._watch(lives, opening, stopping)
            if trouble:
                self._say(f"error: {trouble}; stopping")
        finally:
            opening.cancel()
            await self._shut_down(polite=not trouble)
            for task in (stopping, *lives):
                task.cancel()
            await asyncio.gather(opening, stopping, *lives, return_exceptions=True)
        return 1 if trouble else 0

    async def _run_envoy(self) -> str:
        await asyncio.to_thread(self._plan.configure)
        await readiness.until_listening(self._plan.sockets)
        return await self._envoy.keep_running()

    async def _until_ready(self) -> str:
        note = self._screen.ignore if self._screen else None
        return await readiness.until_ready(self._plan.doors, READY_SECONDS, note, self._say)

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
                if self._screen:
                    self._screen.open()

    async def _shut_down(self, *, polite: bool) -> None:
        rows = ([self._envoy], *self._inner)
        for row in rows:
            for child in row:
                child.let_go()
        if polite and self._envoy.pid is not None and await self._drain():
            # What is in flight is cut either way, and an Envoy that ends by itself with such streams open crashes.
            await self._envoy.kill()
        for row, seconds in zip(rows, self._plan.stop_seconds, strict=False):
            await asyncio.gather(*(child.stop(seconds, self._hurry) for child in row))

    async def _drain(self) -> int:
        """How many requests are still in flight when there is no more time for them."""
        admin = draining.EnvoyAdmin(self._plan.admin_socket)
        self._say(f"draining: requests in flight have up to {self._plan.drain_seconds:g} s; Ctrl-C again to hurry")
        left = await draining.drain(admin, self._plan.drain_seconds, self._hurry)
        if left:
            self._say(f"{left} requests in flight are cut")
        return left

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


def _supplied(wishes: Wishes) -> Certificates | None:
    return certificates.supplied(*wishes.tls, _now()) if wishes.tls else None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
