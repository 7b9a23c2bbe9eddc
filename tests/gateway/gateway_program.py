"""The real server, composed as ever, with one call to its surroundings made worse where a test asks for it.

`python -m tests.gateway.gateway_program` imports and loads everything once, then forks a server for each line on its
standard input, a JSON list `[arguments file, log file, fault…]`, and answers with the server's process id. Tests that
kill servers start many, and importing costs seconds. No thread and no loop has begun when it forks. The servers end
with it.

A fault is `name=value`; each changes how the disk, the store or the process behaves at one place, never a decision of
the program.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from pydantic import SecretStr

from extproc import app
from extproc.exchange import Exchange
from extproc.policy.routing import Routes
from extproc.pricing import tokens
from extproc.stores.sql import SqlStore
from extproc.telemetry import logs

_PR_SET_PDEATHSIG = 1


def hold(name: str) -> Callable[[str], None]:
    """While the file exists no call of this function of `os` begins (the outbox is its only caller); another file tells
    that one would have."""

    def install(gate: str) -> None:
        original: Callable[..., Any] = getattr(os, name)

        def held(*arguments: Any) -> Any:
            while Path(gate).exists():
                Path(f"{gate}.reached").touch()
                time.sleep(0.005)
            return original(*arguments)

        setattr(os, name, held)

    return install


def fill_disk(gate: str) -> None:
    """While the file exists the disk has no room, not even where room was promised, as on copy-on-write volumes."""

    def refuse(original: Callable[..., Any]) -> Callable[..., Any]:
        def refused(*arguments: Any) -> Any:
            if Path(gate).exists():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*arguments)

        return refused

    for name in ("posix_fallocate", "pwrite"):
        setattr(os, name, refuse(getattr(os, name)))


def fail_find(_: str) -> None:
    """A defect in the key store: not one of the errors that it may raise."""

    async def find(*_: object) -> None:
        raise RuntimeError("on purpose")

    SqlStore.find = find  # type: ignore[assignment, method-assign]


def die_in_find(_: str) -> None:
    """The process is killed while a verdict is being made."""

    async def find(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    SqlStore.find = find  # type: ignore[assignment, method-assign]


def fail_choose(_: str) -> None:
    """A defect where the body is judged, after the key was accepted."""

    def choose(*_: object) -> None:
        raise RuntimeError("on purpose")

    Routes.choose = choose  # type: ignore[assignment, method-assign]


def fail_close(_: str) -> None:
    """A defect in the very bookkeeping of the end, on top of one before the verdict."""

    def close(*_: object) -> None:
        raise RuntimeError("on purpose")

    fail_choose("")
    Exchange.close = close  # type: ignore[assignment, method-assign]


FAULTS: dict[str, Callable[[str], None]] = {
    "hold-write": hold("pwrite"),
    "hold-flush": hold("fdatasync"),
    "full-disk": fill_disk,
    "fail-find": fail_find,
    "die-in-find": die_in_find,
    "fail-choose": fail_choose,
    "fail-close": fail_close,
}


def serve(arguments: str, log: str, *faults: str) -> None:
    """What a forked child does with its life."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    settings, layout, worker = pickle.loads(Path(arguments).read_bytes())
    for name, _, value in (fault.partition("=") for fault in faults):
        FAULTS[name](value)
    logs.configure(worker=worker if layout.workers > 1 else None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(app.serve(settings, layout, SecretStr(os.environ["EXTPROC_MASTER_KEY"]), worker=worker))


def main() -> None:
    # What every server would load by itself, in the middle of a test.
    tokens.preload()
    # Nobody here waits for the servers: the kernel buries them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            serve(*json.loads(line))
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main()
