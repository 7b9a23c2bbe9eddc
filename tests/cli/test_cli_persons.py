"""`extproc users` and `customers`, `export` and `erase`, against a running management API."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from cli.running_management import MASTER, running_management
from management.conftest import AUDIT_KEY
from stores.samples import NOW, receipt

from extproc.model import EndUser, User
from extproc.stores.deletion_receipts import is_about, is_genuine
from extproc.stores.sql import SqlStore

#: The kind, who it is, and what of the export names them.
PEOPLE = [("users", "carol@people.example", "user"), ("customers", "acme 7?", "customer")]


async def filled(folder):
    store = await SqlStore.open(f"sqlite+aiosqlite:///{folder}/extproc.db", audit_key=AUDIT_KEY)
    await store.users.create(User(id="carol", email="carol@people.example", created_at=NOW, updated_at=NOW))
    await store.end_users.create(EndUser(id="acme 7?", created_at=NOW, updated_at=NOW))
    await store.record([receipt(event_id="e1", user_id="carol", end_user="acme 7?")], now=NOW)
    await store.close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A gateway that knows a user and a customer, and an empty directory to work in."""
    (tmp_path / "gateway").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("EXTPROC_API_KEY", MASTER)
    monkeypatch.chdir(tmp_path / "work")
    asyncio.run(filled(tmp_path / "gateway"))
    with running_management(tmp_path / "gateway") as url:
        monkeypatch.setenv("EXTPROC_URL", url)
        yield tmp_path / "work"


@pytest.mark.parametrize(("kind", "name", "what"), PEOPLE)
def test_an_export_is_the_same_on_stdout_and_in_a_file_of_its_owners(run, place, kind, name, what):
    shown = run(kind, "export", name)
    kept = run(kind, "export", name, "-o", "told.json")

    assert (shown.code, kept.code, kept.out, kept.err) == (0, 0, "", "")
    assert json.loads(shown.out) == json.loads((place / "told.json").read_text())
    assert json.loads(shown.out)[what] is not None
    assert [row["event_id"] for row in json.loads(shown.out)["spend_logs"]] == ["e1"]
    assert (place / "told.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("kind", "name", "what"), PEOPLE)
def test_an_erasure_prints_its_receipt_and_keeps_it_for_its_owner(run, place, kind, name, what):
    ended = run(kind, "erase", name, "--yes")

    told = json.loads(ended.out)
    [file] = place.iterdir()
    assert file.name == f"deletion-receipt-{told['replaced_by']}.json"
    assert (json.loads(file.read_text()), file.stat().st_mode & 0o777) == (told, 0o600)
    assert ended.err == f"the receipt is kept in {file.name}\n"
    assert is_genuine(told, [AUDIT_KEY])
    assert is_about(told, "carol" if what == "user" else name)
    assert told["removed"]["ledger"] == 1
    assert run(kind, "export", name).code == 4


@pytest.mark.parametrize(("kind", "name", "what"), PEOPLE)
def test_without_a_confirmation_nobody_is_erased(run, place, kind, name, what):
    ended = run(kind, "erase", name)

    assert (ended.code, ended.out, ended.err) == (1, "", "error: nothing was done: confirm it, or say --yes\n")
    assert json.loads(run(kind, "export", name).out)[what] is not None
    assert list(place.iterdir()) == []


def test_where_the_receipt_cannot_be_kept_nobody_is_erased(run, place):
    (place / "there.json").write_text("before")

    there = run("users", "erase", "carol", "--yes", "-o", "there.json")
    nowhere = run("users", "erase", "carol", "--yes", "--receipt", "no/such/folder.json")

    assert (there.code, nowhere.code) == (1, 1)
    assert there.err == "error: nothing was done: there.json is there already\n"
    assert "nothing was done: the receipt cannot be kept in" in nowhere.err
    assert (place / "there.json").read_text() == "before"
    assert run("users", "export", "carol").code == 0


@pytest.mark.parametrize("command", [("export",), ("erase", "--yes")])
@pytest.mark.parametrize("kind", ["users", "customers"])
def test_who_is_unknown_is_told_to_be_and_leaves_no_file(run, place, kind, command):
    ended = run(kind, command[0], "nobody", *command[1:], "-o", "out.json")

    assert (ended.code, ended.out) == (4, "")
    assert list(place.iterdir()) == []


def test_a_file_that_cannot_be_written_is_told_in_a_line(run, place):
    ended = run("users", "export", "carol", "-o", "no/such/folder.json")

    assert (ended.code, ended.err) == (1, "error: no/such/folder.json cannot be written: No such file or directory\n")


class Slow(BaseHTTPRequestHandler):
    """A gateway on the wire that is not done the first time, and then what `answers` says."""

    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, headers, body = self.answers.pop(0)
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def slow(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("EXTPROC_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("EXTPROC_API_KEY", MASTER)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    yield Slow.answers
    server.shutdown()
    server.server_close()


DONE = json.dumps({"replaced_by": "deleted-1", "signature": ""}).encode()


def test_an_erasure_that_takes_long_is_asked_for_again_until_its_receipt_is_there(run, slow):
    slow += [(503, {"retry-after": "0"}, b"{}"), (503, {"retry-after": "0"}, b"{}"), (200, {}, DONE)]

    ended = run("users", "erase", "carol", "--yes")

    assert (ended.code, json.loads(ended.out)["replaced_by"], slow) == (0, "deleted-1", [])
    assert "it is not signed, for the gateway keeps no audit trail" in ended.err


@pytest.mark.parametrize("headers", [{}, {"retry-after": "soon"}, {"retry-after": "0", "x-extproc-outage": "keys"}])
def test_an_outage_in_the_middle_is_told_and_not_waited_for(run, slow, headers):
    slow += [(503, headers, b'{"error":{"message":"the database is gone"}}')]

    ended = run("users", "erase", "carol", "--yes")

    assert (ended.code, ended.err) == (1, "error: the database is gone (HTTP 503)\n")
