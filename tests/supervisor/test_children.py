"""Children are started again, with patience, and end when they are told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

import pytest

from extproc.supervisor.children import Backoff, Child, Patience, Program

QUICK = Patience(first_pause=0.001, longest_pause=0.004, limit=4)
UNTIL_TOLD = "import time\nprint('up', file=sys.stderr, flush=True)\ntime.sleep(600)"


def program(code, **changes):
    command = (sys.executable, "-S", "-c", f"import os, signal, sys\n{code}")
    return Program(title="the child", command=command, lifeline=False, **changes)


class Watched:
    """A child, what is said about it, and what it writes to stderr."""

    def __init__(self, code, patience=QUICK, **changes):
        self.said: list[str] = []
        self.logged, self.changed = b"", asyncio.Event()
        self.child = Child(program(code, **changes), self.said.append, patience, self._log)
        self.life = asyncio.create_task(self.child.keep_running())

    def _log(self, piece):
        self.logged += piece
        self.changed.set()

    async def logs(self, text, times=1):
        async with asyncio.timeout(30):
            while self.logged.count(text) < times:
                self.changed.clear()
                await self.changed.wait()

    async def stop(self, seconds=30.0, hurry=None):
        async with asyncio.timeout(30):
            await self.child.stop(seconds, hurry or asyncio.Event())
            return await self.life


@contextlib.asynccontextmanager
async def watched(code, **changes):
    found = Watched(code, **changes)
    yield found
    await found.stop(0)


def test_pauses_double_up_to_the_longest_and_end_when_it_is_hopeless():
    backoff = Backoff(Patience(first_pause=0.2, longest_pause=1.0, limit=6, window=60))

    assert [backoff.pause(float(moment)) for moment in range(6)] == [0.2, 0.4, 0.8, 1.0, 1.0, None]


def test_an_end_is_forgotten_after_the_window():
    backoff = Backoff(Patience(first_pause=0.2, longest_pause=1.0, limit=3, window=60))

    assert [backoff.pause(moment) for moment in (0.0, 59.0, 60.0, 119.5, 120.0)] == [0.2, 0.4, 0.4, 0.4, 0.4]


async def test_a_child_that_ends_is_started_again_and_it_is_said_how_it_ended():
    async with watched("sys.stderr.write('.')\nsys.exit(3)") as it:
        assert await asyncio.wait_for(it.life, 30) == "the child ended with code 3, 4 times within 60 s"

    assert it.logged == b"...."
    assert it.said == [
        "the child ended with code 3; starting it again in 0.001 s",
        "the child ended with code 3; starting it again in 0.002 s",
        "the child ended with code 3; starting it again in 0.004 s",
    ]


async def test_a_killed_child_is_told_by_the_name_of_the_signal():
    async with watched(UNTIL_TOLD) as it:
        await it.logs(b"up")
        first = it.child.pid
        os.kill(first, signal.SIGKILL)
        await it.logs(b"up", times=2)

        assert it.said == ["the child was ended by SIGKILL; starting it again in 0.001 s"]
        assert it.child.pid != first


async def test_a_child_that_said_why_it_will_never_run_is_not_started_again():
    async with watched("sys.exit(2)", final_codes=frozenset({2})) as it:
        assert await asyncio.wait_for(it.life, 30) == "the child ended with code 2 and would do so again"

    assert it.said == []


async def test_a_program_that_is_not_there_is_hopeless_at_once(tmp_path):
    missing = Program(title="the child", command=(str(tmp_path / "nothing"),), lifeline=False)

    reason = await Child(missing, pytest.fail).keep_running()

    assert reason == "the child cannot be started: No such file or directory"


async def test_a_stopped_child_ends_politely_and_stays_down():
    async with watched(UNTIL_TOLD) as it:
        await it.logs(b"up")
        pid = it.child.pid

        assert await it.stop() == ""
        assert it.child.pid is None
        assert it.said == []
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_child_that_is_being_started_is_stopped_too():
    it = Watched(UNTIL_TOLD)
    await asyncio.sleep(0)

    assert await it.stop(0) == ""
    assert it.child.pid is None


async def test_a_child_that_was_let_go_is_never_started():
    it = Watched(UNTIL_TOLD)
    it.child.let_go()

    assert await asyncio.wait_for(it.life, 30) == ""
    assert it.logged == b""


async def test_a_deaf_child_is_killed_when_its_time_is_over():
    async with watched(f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{UNTIL_TOLD}") as it:
        await it.logs(b"up")

        await it.stop(0.05)
        assert it.said == ["the child does not stop; killing it"]


async def test_a_killed_child_is_gone_and_stays_down():
    async with watched(UNTIL_TOLD) as it:
        await it.logs(b"up")

        await it.child.kill()
        assert await asyncio.wait_for(it.life, 30) == ""
        assert it.child.pid is None


async def test_a_pause_before_a_start_ends_when_the_child_is_let_go():
    slow = Patience(first_pause=600, longest_pause=600)
    async with watched("sys.exit(1)", patience=slow) as it:
        async with asyncio.timeout(30):
            while not it.said:
                await asyncio.sleep(0.01)
        it.child.let_go()

        assert await asyncio.wait_for(it.life, 30) == ""


async def test_all_that_a_child_wrote_is_handed_on_before_its_end_is_told():
    async with watched("sys.stderr.write('x' * 1_000_000)", final_codes=frozenset({0})) as it:
        await asyncio.wait_for(it.life, 30)

        assert len(it.logged) == 1_000_000


async def test_a_child_leads_a_process_group_of_its_own():
    """Ctrl-C goes to the whole group in front of a terminal; only the supervisor shall have it."""
    async with watched(UNTIL_TOLD) as it:
        await it.logs(b"up")

        assert os.getpgid(it.child.pid) == it.child.pid != os.getpgrp()
