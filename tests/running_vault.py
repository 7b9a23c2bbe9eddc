"""A small Vault for tests: a real HTTP server on loopback that speaks as much of Vault's API as the program asks for.

It keeps KV engines of both versions, logs in by AppRole and Kubernetes with tokens that may be revoked, and can be told
to answer with any status, or late. What it is told to do wrong it does to reads only.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROOT_TOKEN = "hvs.root-0123456789"


class RunningVault:
    """`secrets` is by mount and path; `versions` are those of the mounts. `failing` are the statuses of the next reads;
    while `gate` is not set no read is answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.secrets: dict[str, dict[str, dict[str, Any]]] = {"secret": {}}
        self.versions = {"secret": 2}
        self.tokens = {ROOT_TOKEN}
        self.roles = {"role-id": "secret-id"}
        self.accounts = {"gateway": "jwt-of-the-pod"}
        self.failing: list[int] = []
        self.mounts_are_told = True
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []
        self.logins = 0

    def put(self, path: str, *, mount: str = "secret", **fields: Any) -> None:
        self.secrets.setdefault(mount, {})[path] = fields

    def answer(self, method: str, path: str, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        path = path.removeprefix("/v1/")
        if method in {"POST", "PUT"}:
            return self._login(path, body)
        self.asked.append(path)
        if self.failing and not path.startswith("sys/"):
            return self.failing.pop(0), {"errors": ["on purpose, and with a secret in it"]}
        if token not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        if path.startswith("sys/internal/ui/mounts/"):
            return self._mount(path.removeprefix("sys/internal/ui/mounts/"))
        return self._read(path)

    def _login(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        by_role = path == "auth/approle/login" and self.roles.get(body["role_id"]) == body["secret_id"]
        by_account = path == "auth/kubernetes/login" and self.accounts.get(body["role"]) == body["jwt"]
        if not by_role and not by_account:
            return 400, {"errors": ["invalid role or secret ID"]}
        self.logins += 1
        token = f"hvs.{uuid.uuid4().hex}"
        self.tokens.add(token)
        return 200, {"auth": {"client_token": token, "lease_duration": 60, "renewable": True}}

    def _mount(self, path: str) -> tuple[int, dict[str, Any]]:
        mount = next((each for each in self.versions if path == each or path.startswith(f"{each}/")), None)
        if mount is None or not self.mounts_are_told:
            return 403, {"errors": ["preflight capability check returned 403"]}
        return 200, {"data": {"path": f"{mount}/", "type": "kv", "options": {"version": str(self.versions[mount])}}}

    def _read(self, path: str) -> tuple[int, dict[str, Any]]:
        mount = next(each for each in self.versions if path.startswith(f"{each}/"))
        rest = path.removeprefix(f"{mount}/")
        is_second = self.versions[mount] == 2
        fields = self.secrets[mount].get(rest.removeprefix("data/") if is_second else rest)
        if fields is None or (is_second and not rest.startswith("data/")):
            return 404, {"errors": []}
        return 200, {"data": {"data": fields, "metadata": {"version": 1}} if is_second else fields}


@contextlib.contextmanager
def running_vault() -> Iterator[RunningVault]:
    """A Vault without secrets."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            vault.gate.wait(30)
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        do_PUT = do_POST  # noqa: N815 - the name that the library calls

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def _answer(self, body: dict[str, Any]) -> None:
            token = self.headers.get("x-vault-token", "")
            status, document = vault.answer(self.command, self.path, token, body)
            content = json.dumps(document).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vault = RunningVault(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield vault
    finally:
        vault.gate.set()
        server.shutdown()
        server.server_close()
