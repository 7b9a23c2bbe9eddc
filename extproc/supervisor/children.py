"""A child process that is started again when it ends, with growing pauses, until it is told to stop or is hopeless.

Every child leads a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone, which knows the
order in which things end. See `launch.py` for why no child outlives the supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

#: Of an ordered stop: how long a process that was killed may take to be gone, and one that was hurried to end.
HURRIED_SECONDS = 5.0

PIECE_BYTES = 64 * 1024

Say = Callable[[str], None]
Logged = Callable[[bytes], None]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `title` begins sentences about it.

    `lifeline` gives it a pipe for its stdin that ends with the supervisor. An exit code in `final_codes` means that it
    has said why it will never run; it is not started again.
    """

    title: str
    command: tuple[str, ...]
    lifeline: bool
    final_codes: frozenset[int] = frozenset()


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How often a child may end. Seconds; after `limit` ends within `window` it is hopeless."""

    first_pause: float = 0.2
    longest_pause: float = 10.0
    limit: int = 6
    window: float = 60.0


class Backoff:
    """The pauses between the ends of a child and its next starts. Time is handed in."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._ends: deque[float] = deque()

    def pause(self, now: float) -> float | None:
        """It ended at `now` (seconds of a monotonic clock): the pause before the next start, `None` if it is hopeless.

        The first pause is doubled for every end within the window.
        """
        patience = self._patience
        while self._ends and self._ends[0] <= now - patience.window:
            self._ends.popleft()
        self._ends.append(now)
        if len(self._ends) >= patience.limit:
            return None
        return min(patience.first_pause * (1 << (len(self._ends) - 1)), patience.longest_pause)


class Child:
    """A program and the process that runs it at the moment.

    `logged` takes what the process writes to stderr, in pieces as they come; without it they share ours.
    """

    def __init__(
        self, program: Program, say: Say, patience: Patience | None = None, logged: Logged | None = None
    ) -> None:
        self.program = program
        self._say = say
        self._patience = patience or Patience()
        self._logged = logged
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._let_go = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep_running(self) -> str:
        """Run until it is let go; why it is hopeless, or an empty text if it was let go."""
        title, backoff = self.program.title, Backoff(self._patience)
        while True:
            try:
                process = await self._start()
            except OSError as error:
                return f"{title} cannot be started: {error.strerror}"
            if process is None:
                return ""
            how = _how_it_ended(code := await self._end_of(process))
            if self._let_go.is_set():
                return ""
            if code in self.program.final_codes:
                return f"{title} {how} and would do so again"
            pause = backoff.pause(asyncio.get_running_loop().time())
            if pause is None:
                return f"{title} {how}, {self._patience.limit} times within {self._patience.window:g} s"
            self._say(f"{title} {how}; starting it again in {pause:g} s")
            await _wait(self._let_go, pause)

    def let_go(self) -> None:
        """Do not start it again."""
        self._let_go.set()

    async def stop(self, seconds: float, hurry: asyncio.Event) -> None:
        """Let go, ask the process to end and wait; kill it when the time is over, or soon after `hurry` is set."""
        self.let_go()
        async with self._starting:
            process = self._process
        if process is None or process.returncode is not None:
            return
        _send(process, signal.SIGTERM)
        if await _ended(process, seconds, hurry) or await _ended(process, HURRIED_SECONDS if hurry.is_set() else 0):
            return
        self._say(f"{self.program.title} does not stop; killing it")
        await self.kill()

    async def kill(self) -> None:
        """Let go, and end the process at once."""
        self.let_go()
        async with self._starting:
            process = self._process
        if process is not None and process.returncode is None:
            _send(process, signal.SIGKILL)
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process | None:
        """A new process, unless it was let go. A stop waits until there is something to stop."""
        async with self._starting:
            if self._let_go.is_set():
                return None
            self._process = await asyncio.create_subprocess_exec(
                *self.program.command,
                stdin=subprocess.PIPE if self.program.lifeline else subprocess.DEVNULL,
                stderr=subprocess.PIPE if self._logged else None,
                process_group=0,
            )
            return self._process

    async def _end_of(self, process: asyncio.subprocess.Process) -> int:
        """Its exit code, when it has ended and all that it wrote is handed on."""
        if self._logged is not None and process.stderr is not None:
            while piece := await process.stderr.read(PIECE_BYTES):
                self._logged(piece)
        return await process.wait()


async def _ended(process: asyncio.subprocess.Process, seconds: float, hurry: asyncio.Event | None = None) -> bool:
    """Whether it ended in time; `hurry` makes the wait end early."""
    waits: list[Awaitable[object]] = [process.wait()]
    if hurry is not None:
        waits.append(hurry.wait())
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return process.returncode is not None


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
