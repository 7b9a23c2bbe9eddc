"""The command `extproc` for tests: in this process, where that is all the same, and as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from extproc import cli

Run = Callable[..., "Ended"]


class Ended(msgspec.Struct, frozen=True):
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the entry point of the command in this process."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["extproc", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        written = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, written.out, written.err)

    return run


def run_process(*arguments: str, cwd: Path) -> Ended:
    """Runs `python -m extproc`."""
    command = (sys.executable, "-m", "extproc", *arguments)
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)
