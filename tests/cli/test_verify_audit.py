"""`verify-audit` and `verify-receipt`: what the gateway left, as it was and as somebody changed it."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from extproc.model import Budget
from extproc.stores.audit_chain import AuditKey
from extproc.stores.deletion_receipts import Subject, signed
from extproc.stores.sql import SqlStore

KEY = "the encryption key of this gateway"


@pytest.fixture
def folder(tmp_path):
    """A data directory with seven changes."""

    async def fill() -> None:
        store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/extproc.db", audit_key=AuditKey(KEY))
        for number in range(7):
            await store.budgets.create(Budget(id=f"b{number}"))
        await store.close()

    asyncio.run(fill())
    (tmp_path / "encryption_key").write_text(KEY)
    (tmp_path / "encryption_key").chmod(0o600)
    return tmp_path


def tamper(folder, statement):
    with sqlite3.connect(folder / "extproc.db") as connection:
        connection.execute(statement)
    connection.close()


def test_a_whole_trail_ends_with_0_and_tells_its_head(run, folder):
    ended = run("verify-audit", "--data-dir", str(folder))
    head = ended.out.split()[-1]

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("7 entries: the trail is whole; head 7:")
    assert run("verify-audit", "--data-dir", str(folder), "--expect-head", head).code == 0


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE audit SET changed_by = 'nobody' WHERE seq = 3", "entry 3 was edited"),
        ("DELETE FROM audit WHERE seq = 3", "entry 3 is missing: removed"),
        ("DELETE FROM audit WHERE seq > 5", "entries 6 to 7 are missing: cut off the end"),
        ("DELETE FROM audit", "entries 1 to 7 are missing: cut off the end"),
    ],
)
def test_a_trail_that_somebody_changed_ends_with_1_and_says_where(run, folder, statement, told):
    tamper(folder, statement)
    ended = run("verify-audit", "--data-dir", str(folder))
    as_json = run("verify-audit", "--data-dir", str(folder), "--json")

    assert ended.code == as_json.code == 1
    assert ended.out.splitlines()[0] == told
    assert json.loads(as_json.out)["found"] == [told]


def test_an_end_that_was_cut_off_cleanly_is_found_by_an_earlier_head(run, folder):
    head = run("verify-audit", "--data-dir", str(folder)).out.split()[-1]
    tamper(folder, "DELETE FROM audit WHERE seq > 5")
    tamper(folder, "UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit WHERE seq = 5)")
    ended = run("verify-audit", "--data-dir", str(folder), "--expect-head", head)

    assert run("verify-audit", "--data-dir", str(folder)).code == 0
    assert (ended.code, ended.out.splitlines()[0]) == (1, "entries 6 to 7 are missing: cut off the end")


def test_a_key_that_the_settings_no_longer_name_can_be_told(run, folder, monkeypatch):
    (folder / "encryption_key").unlink()
    monkeypatch.setenv("OLD_KEY", KEY)

    assert "was hashed with a key" in run("verify-audit", "--data-dir", str(folder)).out
    assert run("verify-audit", "--data-dir", str(folder), "--earlier-key", "os.environ/OLD_KEY").code == 0
    assert run("verify-audit", "--data-dir", str(folder), "--earlier-key", KEY).code == 2


def test_where_there_is_no_database_no_trail_is_whole(run, tmp_path):
    ended = run("verify-audit", "--data-dir", str(tmp_path))

    assert (ended.code, ended.out) == (2, "")
    assert f"there is no database in {tmp_path}" in ended.err
    assert not any(tmp_path.iterdir())


def test_a_head_that_is_none_is_refused(run, folder):
    assert run("verify-audit", "--data-dir", str(folder), "--expect-head", "7").code == 2


@pytest.mark.parametrize(
    ("changed", "user_id", "code", "told"),
    [
        ({}, None, 0, "the receipt is genuine: deleted at 2026-11-26 by admin"),
        ({}, "carol", 0, "the receipt is genuine"),
        ({}, "dave", 1, "about somebody else"),
        ({"removed": {"ledger": 0}}, None, 1, "or was changed"),
        ({"signature": ""}, None, 1, "or was changed"),
    ],
)
def test_a_receipt_of_deletion_is_checked(run, folder, changed, user_id, code, told):
    key, subject = AuditKey(KEY), Subject.of("carol")
    content = {
        "subject": {"salt": subject.salt, "hash": subject.hash}, "removed": {"ledger": 3},
        "deleted_at": "2026-11-26", "deleted_by": "admin",
    }  # fmt: skip
    receipt = signed(content, lambda text: (key.id, key.sign(text))) | changed
    (folder / "receipt.json").write_text(json.dumps(receipt))
    about = ["--user-id", user_id] if user_id else []
    ended = run("verify-receipt", str(folder / "receipt.json"), "--data-dir", str(folder), *about)

    assert (ended.code, ended.err) == (code, "")
    assert told in ended.out


def test_a_file_that_is_no_receipt_ends_with_2(run, folder):
    (folder / "receipt.json").write_text("not JSON")

    assert run("verify-receipt", str(folder / "receipt.json"), "--data-dir", str(folder)).code == 2


def test_a_receipt_cannot_be_checked_without_any_key(run, folder):
    (folder / "receipt.json").write_text("{}")
    ended = run("verify-receipt", str(folder / "receipt.json"), "--data-dir", str(folder / "elsewhere"))

    assert (ended.code, ended.out) == (2, "")
    assert "no key of an audit trail is known here" in ended.err
