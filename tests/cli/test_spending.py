"""`extproc spend`, `audit` and `models`, against a running management API with a few requests in its ledger."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest
from cli.running_management import MASTER, running_management
from management.conftest import AUDIT_KEY
from stores.samples import receipt

from extproc.cli import tables
from extproc.policy import credentials
from extproc.stores.sql import SqlStore

DOLLAR = 10**9
DAY = 86_400_000


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Three dollars of a key with an alias in a team today, one dollar of nobody's two days ago."""
    folder = tmp_path_factory.mktemp("gateway")
    asyncio.run(_filled(folder))
    with running_management(folder) as found:
        yield found


async def _filled(folder):
    store = await SqlStore.open(f"sqlite+aiosqlite:///{folder}/extproc.db", audit_key=AUDIT_KEY)
    now = time.time_ns() // 1_000_000
    await store.record(
        [
            receipt(event_id="e1", started_at=now, spend=3 * DOLLAR, key_digest="first", key_alias="front",
                    user_id="ursula", team_id="red", tags=("x", "y"), model_group="big"),
            receipt(event_id="e2", started_at=now - 2 * DAY, spend=DOLLAR, key_digest="second", model_group="small",
                    status="failure"),
        ],
        now=now,
    )  # fmt: skip
    await store.close()


@pytest.fixture
def ask(run, url, tmp_path, monkeypatch):
    """Run a command against the gateway as the administrator; what it printed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("EXTPROC_URL", url)
    monkeypatch.setenv("EXTPROC_API_KEY", MASTER)

    def ask_for(*arguments):
        ended = run(*arguments)
        assert (ended.code, ended.err) == (0, ""), ended
        return ended.out

    return ask_for


def cells(text):
    """Of each line of a table below its head."""
    return [line.split() for line in text.splitlines()[1:]]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("key", [["-", "first", "-", "$3", "1"], ["-", "second", "-", "$1", "1"]]),
        ("team", [["red", "$3", "1"]]),
        ("user", [["ursula", "$3", "1"]]),
        ("tag", [["x", "$3", "1"], ["y", "$3", "1"]]),
        ("model", [["big", "$3", "1"], ["small", "$1", "1"]]),
    ],
)
def test_what_was_spent_is_added_up_by_name_the_dearest_first(ask, what, expected):
    found = cells(ask("spend", "by", what))

    assert [row[: len(expected[0])] for row in found] == expected


def test_what_costs_less_than_a_millionth_is_not_nothing(capsys):
    tables.show([{"spend": 160e-9}, {"spend": 1e-9}, {"spend": 1234.5}, {"spend": 0.0}], ("spend",), as_json=False)

    assert cells(capsys.readouterr().out) == [["$0.00000016"], ["$0.000000001"], ["$1,234.5"], ["$0"]]


def test_a_suspicious_key_is_shown_with_what_blocks_it(ask):
    assert ["-", "first", "-", "-", "1", "$3"] in [row[1:7] for row in cells(ask("keys", "suspicious", "--all"))]


def test_days_come_in_their_order(ask):
    found = json.loads(ask("spend", "by", "day", "--json"))

    assert [row["spend"] for row in found] == [1, 3]
    assert found[0]["day"] < found[1]["day"]


def test_a_range_leaves_out_what_is_outside(ask):
    today = datetime.now(UTC).date().isoformat()

    assert [row["model"] for row in json.loads(ask("spend", "by", "model", "--since", today, "--json"))] == ["big"]
    assert ask("spend", "by", "model", "--until", "2020-01-31") == "nothing was spent\n"


def test_requests_are_listed_with_filters(ask):
    everything = json.loads(ask("spend", "logs", "--since", "2020-01-01", "--json"))

    assert [row["event_id"] for row in everything] == ["e1", "e2"]
    assert cells(ask("spend", "logs"))[0][1:6] == ["success", "big", "front", "ursula", "red"]
    assert len(cells(ask("spend", "logs", "--since", "2020-01-01", "--limit", "1"))) == 1
    for option, value, event in (
        ("--of-key", "second", "e2"), ("--status", "failure", "e2"), ("--model", "big", "e1"), ("--team", "red", "e1"),
        ("--user", "ursula", "e1"), ("--request", "e2", "e2"),
    ):  # fmt: skip
        found = json.loads(ask("spend", "logs", "--since", "2020-01-01", option, value, "--json"))
        assert [row["event_id"] for row in found] == [event]
    assert ask("spend", "logs", "--customer", "nobody") == "no requests\n"


def test_a_day_that_cannot_be_is_told_in_one_line(run, ask):
    ended = run("spend", "by", "key", "--since", "soon")

    assert ended.code == 1
    assert ended.err.startswith("error: Invalid date format for start_date")


def test_models_are_listed_with_where_they_lead(ask):
    found = json.loads(ask("models", "list", "--json"))

    assert {"gpt-4o", "small", "openai/*"} == {row["model_name"] for row in found}
    small = next(row for row in cells(ask("models", "list")) if row[0] == "small")
    assert small[1:3] == ["openai/gpt-4o-mini", "id-small"]


def test_changes_are_listed_and_exported(ask, tmp_path, url):
    key = ask("keys", "create", "--alias", "audited").strip()
    ask("keys", "block", key)
    digest = credentials.digest(key)

    listed = cells(ask("audit", "list", "--object", digest))
    assert [row[2] for row in listed] == ["blocked", "created"]
    assert len(cells(ask("audit", "list", "--object", digest, "--limit", "1"))) == 1
    assert [row["action"] for row in json.loads(ask("audit", "list", "--object", digest, "--json"))] == [
        "blocked", "created",
    ]  # fmt: skip
    exported = ask("audit", "export", "--object", digest)
    file = tmp_path / "audit.jsonl"
    assert ask("audit", "export", str(file), "--object", digest) == ""
    assert file.read_text() == exported
    assert [json.loads(line)["action"] for line in exported.splitlines()] == ["created", "blocked"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in exported
    assert ask("audit", "list", "--action", "rotated") == "no changes\n"


def test_a_refused_export_leaves_the_file_as_it_was(run, ask, tmp_path, monkeypatch):
    file = tmp_path / "audit.jsonl"
    file.write_text("before\n")
    monkeypatch.setenv("EXTPROC_API_KEY", ask("keys", "create").strip())

    ended = run("audit", "export", str(file))

    assert ended.code == 1
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["audit.jsonl"]
    assert file.read_text() == "before\n"
