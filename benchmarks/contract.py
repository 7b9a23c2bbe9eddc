"""The management API against its own description: `python -m benchmarks.contract --max-examples 100`.

Schemathesis draws requests from `/openapi.json`, valid ones and broken ones. Each is sent with a key of every role to
the real application over a real socket and SQLite, the keys that may do least first. An answer must be one that the
description knows: no 5xx, a status that is documented, a body of its schema and of its type. Where a request names a
key, a user or a team it often names one that exists, or little but 404 would be seen.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import hypothesis
import requests
import schemathesis
import typer
import uvicorn
from hypothesis import strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from extproc import app as program
from extproc.holds import Scope
from extproc.management import ManagementParts, create_app
from extproc.policy import credentials
from extproc.settings.model import Settings
from extproc.stores.audit_chain import AuditKey
from extproc.stores.sql import SqlStore

MASTER = "sk-master-of-the-contract"
#: Who asks, those who may do least first.
CALLERS = ("nobody", "userless", "customer", "viewing-user", "member", "user", "team-admin", "viewer", "master")
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
_ROLES = {
    "customer": "customer", "viewing-user": "internal_user_viewer", "member": "internal_user",
    "user": "internal_user", "team-admin": "internal_user", "viewer": "proxy_admin_viewer",
}  # fmt: skip
#: What a field of this name often is: something that exists, and that a request may change or delete.
_THERE: dict[str, Any] = {
    **dict.fromkeys(("user_id", "team_id", "end_user_id", "name", "budget_id", "key_alias", "tag", "id"), "there"),
    **{name: ["there"] for name in ("key_aliases", "user_ids", "team_ids")},
    "key": "sk-there-0123456789", "keys": ["sk-there-0123456789"], "api_key": "sk-there-0123456789",
    "user_email": "there@example.com", "member": {"user_id": "there", "role": "user"},
    "duration": "1h", "budget_duration": "30d", "start_date": "2026-11-01", "end_date": "2026-11-26",
}  # fmt: skip


class Contract:
    """A running application: `url` is its address, `schema` what it says of itself, `asked` counts statuses."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: collections.Counter[int] = collections.Counter()
        self._session = requests.Session()
        self._admin = httpx.Client(base_url=url, headers={"authorization": f"Bearer {MASTER}"}, timeout=30)
        self.schema = schemathesis.openapi.from_dict(self._admin.get("/openapi.json").json())
        self.schema.config.update(base_url=url)
        self._people()

    def operations(self) -> list[Any]:
        """Every operation that is described."""
        return [found.ok() for found in self.schema.get_all_operations()]

    def check(self, operation: Any, examples: int) -> None:
        """Ask for it with so many requests of both modes. Raises what schemathesis raises."""
        self._there()
        for mode in schemathesis.GenerationMode:
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                self._run(operation.as_strategy(generation_mode=mode), examples)

    def close(self) -> None:
        self._session.close()
        self._admin.close()

    def _run(self, cases: Any, examples: int) -> None:
        @hypothesis.settings(
            max_examples=examples, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
        )  # fmt: skip
        @hypothesis.given(case=cases, named=strategies.booleans())
        def ask(case: Any, named: bool) -> None:
            if named:
                _name(case)
            for caller in CALLERS:
                self._ask(case, caller)

        ask()

    def _ask(self, case: Any, caller: str) -> None:
        key = {"nobody": "", "master": MASTER}.get(caller, f"sk-caller-{caller}-0123456789")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        response = case.call(session=self._session, headers=headers, timeout=30)
        self.asked[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    def _people(self) -> None:
        """A key of each role."""
        for name, role in _ROLES.items():
            self._make("/user/new", user_id=name, user_role=role, auto_create_key=False)
        members = [{"user_id": "team-admin", "role": "admin"}, {"user_id": "member", "role": "user"}]
        self._make("/team/new", team_id="callers", members_with_roles=members)
        for name in CALLERS[1:-1]:
            whose = {"user_id": name} if name in _ROLES else {}
            self._make("/key/generate", key=f"sk-caller-{name}-0123456789", **whose)

    def _there(self) -> None:
        """What requests name; an earlier one may have deleted it."""
        for path, body in {
            "/user/new": {"user_id": "there", "user_email": "there@example.com", "auto_create_key": False},
            "/team/new": {"team_id": "there", "members_with_roles": [{"user_id": "team-admin", "role": "admin"}]},
            "/customer/new": {"user_id": "there"},
            "/budget/new": {"budget_id": "there", "max_budget": 1},
            "/tag/new": {"name": "there"},
            "/key/generate": {
                "key": "sk-there-0123456789",
                "key_alias": "there",
                "user_id": "member",
                "team_id": "callers",
            },
        }.items():
            self._admin.post(path, json=body)

    def _make(self, path: str, **body: Any) -> None:
        self._admin.post(path, json=body).raise_for_status()


def _name(case: Any) -> None:
    """Let the fields of a request name what is there."""
    for fields in (case.query, case.path_parameters, case.body):
        if isinstance(fields, dict):
            fields.update({name: value for name, value in _THERE.items() if name in fields})


async def _no_counters(_: Scope) -> None:
    """Nothing is counted here."""


@contextlib.contextmanager
def running() -> Iterator[Contract]:
    """The application on a free port of the loopback, in a thread with a loop of its own."""
    with tempfile.TemporaryDirectory(prefix="contract-") as folder:
        started, stop = threading.Event(), threading.Event()
        found: list[int] = []
        thread = threading.Thread(target=lambda: asyncio.run(_serve(Path(folder), found, started, stop)), daemon=True)
        thread.start()
        try:
            if not started.wait(60):
                raise RuntimeError("the application did not start")
            with contextlib.closing(Contract(f"http://127.0.0.1:{found[0]}")) as contract:
                yield contract
        finally:
            stop.set()
            thread.join(30)


async def _serve(folder: Path, found: list[int], started: threading.Event, stop: threading.Event) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{folder}/extproc.db", audit_key=AuditKey(MASTER))
    application = create_app(
        ManagementParts(
            keys=store, entities=store, ledger=store, trail=store.trail, health={"database": store},
            settings=Settings(failed_login_attempts=0), master_digest=credentials.digest(MASTER), now=program.now,
            metrics=lambda: b"", forget=lambda _: None, unseed=_no_counters,
        )
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    found.append(server.servers[0].sockets[0].getsockname()[1])
    started.set()
    await asyncio.to_thread(stop.wait)
    server.should_exit = True
    await serving
    await store.close()


def main(
    max_examples: Annotated[int, typer.Option(min=1, help="Requests of each mode for each operation.")] = 25,
    only: Annotated[str, typer.Option(help="Operations whose path holds this.")] = "",
) -> None:
    """Ask every operation, and say which broke its word."""
    broken = 0
    with running() as contract:
        operations = [one for one in contract.operations() if only in one.path]
        for operation in operations:
            try:
                contract.check(operation, max_examples)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the others are still asked
                broken += 1
                print(f"== {operation.label}\n{error}\n", flush=True)
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(contract.asked.items()))
        print(
            f"{len(operations)} operations, {contract.asked.total()} requests ({statuses}); {broken} broke their word"
        )
    raise typer.Exit(bool(broken))


if __name__ == "__main__":
    typer.run(main)
