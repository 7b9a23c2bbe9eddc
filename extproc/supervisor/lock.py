"""One owner for a data directory: a lock that the kernel releases with its holder, however that one ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from extproc.errors import ConfigError

RETRY_SECONDS = 0.1


@contextlib.contextmanager
def held(
    path: Path, *, owner: str, wait_seconds: float = 0, on_wait: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold the lock at `path` for the length of the block.

    `owner` says in a message who else may hold it (`another extproc up`). A holder is waited for during `wait_seconds`,
    after one call of `on_wait`. Raises `ConfigError` naming its process id.
    """
    try:
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        if not _taken(file):
            if on_wait is not None:
                on_wait()
            _wait(file, path, owner, wait_seconds)
        os.truncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _wait(file: int, path: Path, owner: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not _taken(file):
        if time.monotonic() >= deadline:
            holder = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise ConfigError(f"{owner} (process {holder}) is using the data directory {path.parent}")
        time.sleep(RETRY_SECONDS)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
