"""`migrate`: the tables, before anything starts."""

from __future__ import annotations

import asyncio
import stat

from running_postgres import bare_database


def test_it_makes_the_tables_and_says_how_far_they_are(run, tmp_path):
    first = run("migrate", "--data-dir", str(tmp_path))
    again = run("migrate", "--data-dir", str(tmp_path))

    assert first.code == 0
    assert first.out == again.out
    assert first.out.startswith("sqlite: the tables are at step 00")
    assert stat.S_IMODE((tmp_path / "extproc.db").stat().st_mode) == 0o600


def test_several_replicas_may_do_it_at_once(run, tmp_path, monkeypatch):
    """Each in a process of its own, as in a cluster."""
    from cli.command_line import run_process

    async def go():
        async with bare_database() as url:
            (tmp_path / "config.yaml").write_text("general_settings: {database_url: os.environ/MIGRATED}\n")
            monkeypatch.setenv("MIGRATED", url)
            command = ("migrate", "--config", "config.yaml", "--data-dir", "data")
            return await asyncio.gather(*(asyncio.to_thread(run_process, *command, cwd=tmp_path) for _ in range(3)))

    for ended in asyncio.run(go()):
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith("postgresql: the tables are at step 00")


def test_a_database_that_does_not_answer_is_one_line(run, tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("general_settings: {database_url: os.environ/NOWHERE}\n")
    monkeypatch.setenv("NOWHERE", "postgresql://u:secret@127.0.0.1:1/x")

    ended = run("migrate", "--config", str(tmp_path / "config.yaml"), "--data-dir", str(tmp_path))

    assert ended.code == 2
    assert ended.err.startswith("error: the database does not answer: database: ")
    assert "secret" not in ended.err
