"""The arms: what stands between the clients and the upstream.

All of them run at the same time over one upstream, each Envoy with one worker thread; an arm that is not measured is
idle. The llm-extproc arms are the program as it is installed: `extproc serve`, Envoy with the bootstrap that `extproc
render envoy` prints, and a virtual key made through `/key/generate`; their logs go to a file, as the others' do. Two of
them limit everybody (`limited`): with counters in the processor, and with counters in a Redis of their own. One redacts
every text of requests and answers.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from benchmarks import limited, payloads
from benchmarks.bootstrap import Rendered
from benchmarks.processes import ROOT, Started, accepts, envoy_path, free_port, module, running, wait_until

DIRECT = "direct to the upstream"
BARE = "bare Envoy"
NOOP = "Envoy + no-op processor"
REWRITING = "no-op, rewriting"
OURS = "Envoy + llm-extproc"
LIMITED = "llm-extproc, all limited"
LIMITED_REDIS = "llm-extproc, all limited, Redis"
REDACTED = "llm-extproc, redacting"
#: Under these names processes are reported, whichever program they are.
UPSTREAM, ENVOY, PROCESSOR = "upstream", "Envoy", "processor"
_GUARDRAIL = {
    "guardrail_name": "everything",
    "litellm_params": {
        "guardrail": "presidio",
        "mode": ["pre_call", "post_call"],
        "default_on": True,
        "output_parse_pii": True,
    },
}
_MASTER_KEY = "EXTPROC_BENCH_MASTER_KEY"


class Arm(msgspec.Struct, frozen=True):
    """Where to send requests, with which key, and whose processor time to read (process name to id).

    `said` is what a request's body says beside the payload; `redis` is the socket of the arm's own Redis.
    """

    name: str
    port: int
    pids: dict[str, int]
    admin_socket: str | None = None
    api_key: str = "sk-nobody-asks-for-this-key"
    said: dict[str, Any] = {}
    redis: str | None = None


class Installation(msgspec.Struct, frozen=True):
    """One configuration of llm-extproc: what its commands are told, its port, its bootstrap."""

    name: str
    options: tuple[str, ...]
    port: int
    rendered: Rendered


class Bench:
    """One run: the upstream, llm-extproc's configurations and bootstraps, and what is started on the way."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._upstream_port = free_port()
        self._environment = {_MASTER_KEY: f"sk-{secrets.token_urlsafe(32)}"}
        self._upstream = self._start(UPSTREAM, module("benchmarks.upstream", str(self._upstream_port)))
        wait_until(lambda: accepts(self._upstream_port), self._upstream)
        self._plain = self._installed("own", self._configuration())

    def direct(self) -> Arm:
        return Arm(DIRECT, self._upstream_port, {UPSTREAM: self._upstream.pid})

    def bare(self) -> Arm:
        port, admin = free_port(), str(self._folder / "bare.admin")
        return self._behind_envoy(BARE, port, admin, self._plain.rendered.bare(port, admin))

    def noop(self) -> Arm:
        return self._noop(NOOP, "noop")

    def rewriting(self) -> Arm:
        return self._noop(REWRITING, "rewriting", "rewriting")

    def _noop(self, name: str, file: str, *arguments: str) -> Arm:
        port, admin, socket = free_port(), str(self._folder / f"{file}.admin"), str(self._folder / f"{file}.sock")
        processor = self._start(file, module("benchmarks.noop", f"unix:{socket}", *arguments))
        wait_until(Path(socket).exists, processor)
        bootstrap = self._plain.rendered.with_processor(port, admin, socket)
        return self._behind_envoy(name, port, admin, bootstrap, processor)

    def ours(self) -> Arm:
        arm = self._served(OURS, self._plain)
        key = self._asks(arm.port, "/key/generate", {"models": [payloads.MODEL], "key_alias": "benchmark"})["key"]
        return msgspec.structs.replace(arm, api_key=str(key))

    def limited(self) -> Arm:
        return self._limited(LIMITED, "limited", None)

    def limited_redis(self) -> Arm:
        redis_url = self._stack.enter_context(_running_redis()).url
        arm = self._limited(LIMITED_REDIS, "shared", redis_url)
        return msgspec.structs.replace(arm, redis=redis_url.removeprefix("unix://"))

    def redacted(self) -> Arm:
        """Requests and answers searched for everything, and values put back; each request has one to mask."""
        installation = self._installed("redacting", self._configuration() | {"guardrails": [_GUARDRAIL]})
        arm = self._served(REDACTED, installation)
        key = self._asks(arm.port, "/key/generate", {"models": [payloads.MODEL]})["key"]
        return msgspec.structs.replace(arm, api_key=str(key), said={"user": "ann@company.com"})

    def _limited(self, name: str, folder: str, redis_url: str | None) -> Arm:
        installation = self._installed(folder, limited.configuration(self._configuration(), redis_url))
        arm = self._served(name, installation)
        key = limited.new_key(lambda path, body: self._asks(arm.port, path, body))
        arm = msgspec.structs.replace(arm, api_key=key, said=limited.SAID)
        if missing := limited.missing(self._limits_told(arm)):
            raise RuntimeError(f"{name}: no limit of {', '.join(missing)}")
        return arm

    def _installed(self, name: str, configuration: dict[str, Any]) -> Installation:
        folder, port = self._folder / name, free_port()
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
        options = ("--config", str(folder / "config.yaml"), "--data-dir", str(folder / "data"))
        return Installation(name, options, port, Rendered(self._render(options, port), port, self._upstream_port))

    def _served(self, name: str, installation: Installation) -> Arm:
        admin = str(self._folder / f"{installation.name}.admin")
        processor = self._start(f"extproc-{installation.name}", module("extproc", "serve", *installation.options))
        wait_until(Path(installation.rendered.processor_socket).exists, processor)
        return self._behind_envoy(name, installation.port, admin, installation.rendered.own(admin), processor)

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

    def _render(self, options: tuple[str, ...], port: int) -> dict[str, Any]:
        command = module("extproc", "render", "envoy", *options, "--http-port", str(port))
        environment = {**os.environ, **self._environment}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"extproc render envoy: {done.stderr.decode(errors='replace')}")
        rendered: dict[str, Any] = yaml.safe_load(done.stdout)
        return rendered

    def _asks(self, port: int, path: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The management API's answer, asked as an operator does."""
        answer: dict[str, Any] = json.loads(_posted(port, path, self._environment[_MASTER_KEY], wanted)[1])
        return answer

    def _limits_told(self, arm: Arm) -> set[str]:
        """The names of the headers of an answer."""
        wanted = {"model": payloads.MODEL, "messages": [{"role": "user", "content": "Hello"}], **arm.said}
        return _posted(arm.port, "/v1/chat/completions", arm.api_key, wanted)[0]

    def _start(self, name: str, command: list[str]) -> Started:
        return self._stack.enter_context(running(name, command, self._folder, self._environment))


def _posted(port: int, path: str, key: str, wanted: Mapping[str, Any]) -> tuple[set[str], bytes]:
    """Headers' names and body of the answer. Raises `RuntimeError` where it is not 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(wanted), headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {said[:500]!r}")
    return {name.lower() for name, _ in answer.getheaders()}, said


def _running_redis() -> contextlib.AbstractContextManager[Any]:
    """The tests' own: a real server on a Unix socket."""
    sys.path.append(str(ROOT / "tests"))
    from running_redis import running_redis

    return running_redis()


#: In the order in which they take turns, under the names of the command line.
ARMS: dict[str, Callable[[Bench], Arm]] = {
    "direct": Bench.direct,
    "bare": Bench.bare,
    "noop": Bench.noop,
    "rewriting": Bench.rewriting,
    "extproc": Bench.ours,
    "limited": Bench.limited,
    "limited-redis": Bench.limited_redis,
    "redacted": Bench.redacted,
}


@contextlib.contextmanager
def started(folder: Path, names: tuple[str, ...]) -> Iterator[tuple[Arm, ...]]:
    """Start the arms of these names. Raises `RuntimeError` where something does not come up."""
    with contextlib.ExitStack() as stack:
        bench = Bench(stack, folder)
        yield tuple(ARMS[name](bench) for name in names)
