"""No child outlives the supervisor, however that one ends.

Two ways, both without code between fork and exec in the supervisor, where only async-signal-safe calls are allowed:

* a program of ours holds a *lifeline*: its stdin is a pipe whose other end only the supervisor has. The kernel closes
  it with the supervisor, and `end_with_lifeline` then drains as if SIGTERM had come;
* any other program is started through this file, run as a script: it asks the kernel for SIGTERM at its parent's death
  (prctl(2), PR_SET_PDEATHSIG), and becomes that program. The process id stays.

The script imports nothing of ours and runs isolated, so that it costs a few milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1


def bound_to_parent(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command line that runs `command`, an absolute path and arguments, for as long as its parent lives."""
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *command)


def end_with_lifeline() -> None:
    """Send this process SIGTERM when its stdin ends."""
    threading.Thread(target=_end_with, args=(0,), name="lifeline", daemon=True).start()


def _end_with(descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _become(parent: int, command: list[str]) -> None:
    """Raises `OSError` where the command cannot be run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have died before the kernel was asked.
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell is what is wanted


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
