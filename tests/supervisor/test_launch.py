"""No child outlives its parent, however that one ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extproc.supervisor import launch

#: Starts a child, tells its process id and waits.
PARENT = """
import subprocess, sys
from extproc.supervisor import launch
command = launch.bound_to_parent((sys.executable, "-S", "-c", "import time; time.sleep(600)"))
child = subprocess.Popen(command)
print(child.pid, flush=True)
sys.stdin.read()
"""
WITH_LIFELINE = """
import signal, time
from extproc.supervisor import launch
launch.end_with_lifeline()
print("up", flush=True)
time.sleep(600)
"""


def wait_for_the_end(handle):
    ready, _, _ = select.select([handle], [], [], 30)
    os.close(handle)
    assert ready, "the process goes on"


def becomes_python_that_sleeps(pid):
    deadline = time.monotonic() + 30
    while launch.__file__ in Path(f"/proc/{pid}/cmdline").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_bound_child_ends_with_a_parent_that_was_killed():
    with subprocess.Popen((sys.executable, "-c", PARENT), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        handle = os.pidfd_open(pid)
        becomes_python_that_sleeps(pid)

        parent.send_signal(signal.SIGKILL)
        wait_for_the_end(handle)


def test_a_bound_program_is_the_one_that_was_asked_for_with_its_arguments():
    command = launch.bound_to_parent(("/bin/echo", "one argument", "", "$HOME"))

    assert subprocess.run(command, capture_output=True, check=True).stdout == b"one argument  $HOME\n"


def test_a_program_whose_parent_is_gone_already_is_not_run(monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    command = launch.bound_to_parent(("/bin/echo", "running"))

    ended = subprocess.run(command, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.parametrize("lost", [True, False])
def test_a_lifeline_ends_its_process_politely_and_only_when_it_is_lost(lost):
    command = (sys.executable, "-c", WITH_LIFELINE)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        process.stdin.write(b"anything")
        process.stdin.flush()
        if lost:
            process.stdin.close()
            assert process.wait(30) == -signal.SIGTERM
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
            process.kill()
