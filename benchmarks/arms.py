"""The four arms: what stands between the clients and the upstream.

All of them run at the same time over one upstream, each Envoy with one worker thread; an arm that is not measured is
idle. The llm-extproc arm is the program as it is installed: `extproc serve`, Envoy with the bootstrap that `extproc
render envoy` prints, and a virtual key made through `/key/generate`; its logs go to a file, as the others' do.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from benchmarks import payloads
from benchmarks.bootstrap import Rendered
from benchmarks.processes import ROOT, Started, accepts, envoy_path, free_port, module, running, wait_until

DIRECT = "direct to the upstream"
BARE = "bare Envoy"
NOOP = "Envoy + no-op processor"
OURS = "Envoy + llm-extproc"
#: Under these names processes are reported, whichever program they are.
UPSTREAM, ENVOY, PROCESSOR = "upstream", "Envoy", "processor"
_MASTER_KEY = "EXTPROC_BENCH_MASTER_KEY"


class Arm(msgspec.Struct, frozen=True):
    """Where to send requests, with which key, and whose processor time to read (process name to id)."""

    name: str
    port: int
    pids: dict[str, int]
    admin_socket: str | None = None
    api_key: str = "sk-nobody-asks-for-this-key"


class Bench:
    """One run: the upstream, llm-extproc's configuration and bootstrap, and what is started on the way."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._upstream_port, self._own_port = free_port(), free_port()
        self._environment = {_MASTER_KEY: f"sk-{secrets.token_urlsafe(32)}"}
        self._upstream = self._start(UPSTREAM, module("benchmarks.upstream", str(self._upstream_port)))
        wait_until(lambda: accepts(self._upstream_port), self._upstream)
        self._settings = ("--config", str(folder / "config.yaml"), "--data-dir", str(folder / "data"))
        (folder / "config.yaml").write_text(yaml.safe_dump(self._configuration()))
        self._rendered = Rendered(self._render(), self._own_port, self._upstream_port)

    def direct(self) -> Arm:
        return Arm(DIRECT, self._upstream_port, {UPSTREAM: self._upstream.pid})

    def bare(self) -> Arm:
        port, admin = free_port(), str(self._folder / "bare.admin")
        return self._behind_envoy(BARE, port, admin, self._rendered.bare(port, admin))

    def noop(self) -> Arm:
        port, admin, socket = free_port(), str(self._folder / "noop.admin"), str(self._folder / "noop.sock")
        processor = self._start("noop", module("benchmarks.noop", f"unix:{socket}"))
        wait_until(Path(socket).exists, processor)
        return self._behind_envoy(NOOP, port, admin, self._rendered.with_processor(port, admin, socket), processor)

    def ours(self) -> Arm:
        admin = str(self._folder / "own.admin")
        processor = self._start("extproc", module("extproc", "serve", *self._settings))
        wait_until(Path(self._rendered.processor_socket).exists, processor)
        arm = self._behind_envoy(OURS, self._own_port, admin, self._rendered.own(admin), processor)
        return msgspec.structs.replace(arm, api_key=self._new_key())

    def _behind_envoy(
        self, name: str, port: int, admin: str, bootstrap: dict[str, Any], processor: Started | None = None
    ) -> Arm:
        file = Path(admin).with_suffix(".json")
        file.write_text(json.dumps(bootstrap))
        command = [envoy_path(), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]
        started = self._start(f"envoy-{file.stem}", command)
        wait_until(lambda: accepts(port), started)
        pids = {UPSTREAM: self._upstream.pid, ENVOY: started.pid}
        return Arm(name, port, pids | ({PROCESSOR: processor.pid} if processor else {}), admin)

    def _configuration(self) -> dict[str, Any]:
        """One model, priced from the catalogue, at the upstream; nothing is switched off."""
        parameters = {
            "model": f"openai/{payloads.MODEL}",
            "api_base": f"http://127.0.0.1:{self._upstream_port}/v1",
            "api_key": f"os.environ/{_MASTER_KEY}",
        }
        return {
            "model_list": [{"model_name": payloads.MODEL, "litellm_params": parameters}],
            "general_settings": {"master_key": f"os.environ/{_MASTER_KEY}"},
        }

    def _render(self) -> dict[str, Any]:
        command = module("extproc", "render", "envoy", *self._settings, "--http-port", str(self._own_port))
        environment = {**os.environ, **self._environment}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"extproc render envoy: {done.stderr.decode(errors='replace')}")
        rendered: dict[str, Any] = yaml.safe_load(done.stdout)
        return rendered

    def _new_key(self) -> str:
        """A virtual key that may use the model, made as an operator makes it."""
        connection = http.client.HTTPConnection("127.0.0.1", self._own_port, timeout=10)
        headers = {"authorization": f"Bearer {self._environment[_MASTER_KEY]}", "content-type": "application/json"}
        body = json.dumps({"models": [payloads.MODEL], "key_alias": "benchmark"})
        connection.request("POST", "/key/generate", body, headers)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"/key/generate answered {answer.status}: {said[:500]!r}")
        return str(json.loads(said)["key"])

    def _start(self, name: str, command: list[str]) -> Started:
        return self._stack.enter_context(running(name, command, self._folder, self._environment))


#: In the order in which they take turns, under the names of the command line.
ARMS: dict[str, Callable[[Bench], Arm]] = {
    "direct": Bench.direct,
    "bare": Bench.bare,
    "noop": Bench.noop,
    "extproc": Bench.ours,
}


@contextlib.contextmanager
def started(folder: Path, names: tuple[str, ...]) -> Iterator[tuple[Arm, ...]]:
    """Start the arms of these names. Raises `RuntimeError` where something does not come up."""
    with contextlib.ExitStack() as stack:
        bench = Bench(stack, folder)
        yield tuple(ARMS[name](bench) for name in names)
