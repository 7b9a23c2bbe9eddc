"""One owner for a data directory, and a lock that dies with it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from extproc.errors import ConfigError
from extproc.supervisor import lock

HOLDER = """
import sys
from pathlib import Path
from extproc.supervisor import lock
with lock.held(Path(sys.argv[1]), owner="nobody"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until its stdin ends."""
    command = (sys.executable, "-c", HOLDER, str(tmp_path / "up.lock"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_owner_is_refused_by_a_sentence_that_names_the_first(tmp_path, holder):
    with (
        pytest.raises(ConfigError) as refused,
        lock.held(tmp_path / "up.lock", owner="another extproc up"),
    ):
        raise AssertionError

    assert str(refused.value) == f"another extproc up (process {holder.pid}) is using the data directory {tmp_path}"


def test_a_killed_owner_leaves_the_lock_free(tmp_path, holder):
    holder.kill()
    holder.wait()

    with lock.held(tmp_path / "up.lock", owner="another"):
        assert (tmp_path / "up.lock").read_text() == f"{os.getpid()}\n"


def test_an_owner_that_leaves_in_time_is_waited_for(tmp_path, holder):
    waited = []

    def told():
        waited.append(True)
        holder.stdin.close()

    with lock.held(tmp_path / "up.lock", owner="another", wait_seconds=30, on_wait=told):
        assert waited == [True]


def test_nobody_is_waited_for_where_the_lock_is_free(tmp_path):
    with lock.held(tmp_path / "up.lock", owner="another", wait_seconds=30, on_wait=pytest.fail):
        pass


def test_the_lock_is_free_after_the_block(tmp_path):
    for _ in range(2):
        with lock.held(tmp_path / "up.lock", owner="another"):
            pass


def test_a_link_is_not_taken_for_a_lock(tmp_path):
    (tmp_path / "up.lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match="cannot be opened"), lock.held(tmp_path / "up.lock", owner="another"):
        pass
    assert not (tmp_path / "elsewhere").exists()
