"""A command without root's power to write everywhere, so that permissions mean the same whoever runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys

_DROPPED = "-dac_override,-dac_read_search"


def powerless(*command: str) -> tuple[str, ...]:
    """The command line that runs `command` bound by file permissions (capabilities(7), setpriv(1))."""
    if os.geteuid() != 0:
        return command
    return ("setpriv", f"--inh-caps={_DROPPED}", f"--bounding-set={_DROPPED}", *command)


def refusal_of(code: str, *arguments: str) -> str:
    """The message of the `ConfigError` that some Python ends with, run so."""
    ended = subprocess.run(
        powerless(sys.executable, "-c", code, *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    return ended.stderr.splitlines()[-1].removeprefix("extproc.errors.ConfigError: ")
