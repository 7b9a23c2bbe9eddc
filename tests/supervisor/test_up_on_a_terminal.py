"""What somebody at a terminal sees of `extproc up`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import sys

import httpx
import pytest
from running_envoy import free_port
from supervisor.running_up import HELLO, WITHIN_SECONDS, bearer, command, environment

from extproc.cli import running

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LAST_OF_THE_WELCOME = "/spend/logs -H"


class Terminal:
    """Its screen, and the process in front of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._written = b""
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @property
    def screen(self) -> str:
        return self._written.decode().replace("\r\n", "\n")

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(WITHIN_SECONDS):
            while text not in self.screen:
                self._changed.clear()
                await self._changed.wait()

    def press_ctrl_c(self) -> None:
        os.write(self._descriptor, b"\x03")

    def _read(self) -> None:
        try:
            self._written += os.read(self._descriptor, 65536)
        except OSError:
            # The last process in front of it has ended.
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._changed.set()


@contextlib.asynccontextmanager
async def in_terminal(folder, *arguments):
    """A command as the foreground process of a terminal of its own."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *("setsid", "--ctty", *command(*arguments)),
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(0) | {"TERM": "xterm"},
    )
    os.close(theirs)
    terminal = Terminal(ours)
    try:
        yield terminal, process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


async def test_the_screen_is_quiet_then_one_line_for_each_request_and_ctrl_c_ends_it(tmp_path):
    http = f"http://127.0.0.1:{(port := free_port())}"
    async with (
        in_terminal(tmp_path, "--http-port", str(port), "--https-port", str(free_port())) as (terminal, process),
        httpx.AsyncClient(base_url=http, timeout=30) as client,
    ):
        await terminal.shows(LAST_OF_THE_WELCOME)
        master = bearer((tmp_path / "extproc-data" / "master_key").read_text().strip())
        made = (await client.post("/key/generate", json={"key_alias": "laptop"}, headers=master)).json()["key"]
        await client.post("/v1/chat/completions", json=HELLO, headers=bearer(made))
        await client.post("/v1/chat/completions", json=HELLO, headers=bearer("sk-nobody"))
        await terminal.shows("POST /key/generate")
        await terminal.shows(" 401  ")
        await terminal.shows("laptop")
        terminal.press_ctrl_c()
        assert await asyncio.wait_for(process.wait(), WITHIN_SECONDS) == 0
        await terminal.shows("draining")

    start, _, rest = COLOURS.sub("", terminal.screen).partition("\nready: ")
    # A machine that does other things, too, may need so long for it that it is said.
    simulated, master_key = [line for line in start.splitlines() if "not ready yet" not in line]
    assert "SIMULATED" in simulated
    assert master_key.startswith("master key, shown only now")
    lines = rest.partition(LAST_OF_THE_WELCOME)[2].splitlines()
    requests = sorted(line[10:] for line in lines if re.match(r"\d\d:\d\d:\d\d  ", line))
    assert len(requests) == 3
    assert re.fullmatch(
        r"200  /v1/chat/completions  gpt-4o-mini  laptop  8 \+ 61 tokens  \$0\.000038  \S+ m?s", requests[0]
    )
    assert re.fullmatch(r"200  POST /key/generate  \S+ m?s", requests[1])
    assert re.fullmatch(r"401  /v1/chat/completions  \w+  \S+ m?s", requests[2])
    others = [line for line in lines[1:] if line and line[10:] not in requests]
    assert [line.removeprefix("^C") for line in others] == [
        "extproc: draining: requests in flight have up to 30 s; Ctrl-C again to hurry"
    ]


@pytest.mark.parametrize(
    ("terminal", "wanted", "coloured"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_colours_are_for_terminals_that_want_them(monkeypatch, capsys, terminal, wanted, coloured):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not wanted:
        monkeypatch.setenv("NO_COLOR", "1")

    running._show("ready: x\n# what\ncommand")

    shown = capsys.readouterr().out
    assert ("\x1b[" in shown) is coloured
    assert COLOURS.sub("", shown) == "ready: x\n# what\ncommand\n"
