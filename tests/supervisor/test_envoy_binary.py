"""The Envoy binary, its command line and what it is started with."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from running_envoy import envoy_path, validate

from extproc.errors import ConfigError
from extproc.settings import Settings
from extproc.supervisor import certificates, envoy, layout


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def place(tmp_path):
    found = layout.build(Settings(), tmp_path, layout.Ports(http=4000, https=0))
    layout.prepare(found)
    return found


def test_the_wheels_binary_is_found_without_being_named():
    assert envoy.find(None) == Path(envoy_path())


def test_a_binary_can_be_named_by_its_path_or_found_on_path(tmp_path, monkeypatch):
    own = script(tmp_path / "my-envoy", "echo 'envoy  version: 1/1.40.0'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert envoy.find(own) == own
    assert envoy.find(Path("my-envoy")) == own


def test_a_missing_binary_is_named(tmp_path):
    with pytest.raises(ConfigError, match="Envoy is missing: there is no file /nowhere/envoy"):
        envoy.find(Path("/nowhere/envoy"))


def test_a_file_that_may_not_be_run_is_refused(tmp_path):
    (tmp_path / "envoy").write_text("")
    (tmp_path / "envoy").chmod(0o600)

    with pytest.raises(ConfigError, match="is not executable"):
        envoy.find(tmp_path / "envoy")


@pytest.mark.parametrize(
    ("text", "reason"), [("exit 1", "its --version ended with 1"), ("echo hello", "its --version ended with 0")]
)
def test_another_program_is_not_taken_for_envoy(tmp_path, text, reason):
    with pytest.raises(ConfigError, match=f"is not a working Envoy: {reason}"):
        envoy.find(script(tmp_path / "envoy", text))


def test_a_binary_of_another_machine_is_refused(tmp_path):
    (tmp_path / "envoy").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "envoy").chmod(0o700)

    with pytest.raises(ConfigError, match=r"Envoy cannot be run: .*: Exec format error"):
        envoy.find(tmp_path / "envoy")


def test_a_binary_that_does_not_answer_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(envoy, "VERSION_SECONDS", 0.1)

    with pytest.raises(ConfigError, match="--version does not end"):
        envoy.find(script(tmp_path / "envoy", "exec sleep 600"))


async def test_the_bootstrap_is_valid_and_for_its_owner_only(tmp_path):
    found = place(tmp_path)
    path = envoy.bootstrap_path(found)
    envoy.write_bootstrap(path, Settings(), found)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await validate(json.loads(path.read_text())))[0] == 0


def test_a_bootstrap_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"envoy\.json cannot be written: No such file or directory"):
        envoy.write_bootstrap(tmp_path / "nowhere" / "envoy.json", Settings(), place(tmp_path))


def test_envoy_is_started_with_what_was_asked_for(tmp_path):
    arguments = envoy.command(Path("/envoy"), tmp_path, drain_seconds=0, concurrency=3, on_screen=True)

    assert arguments[:3] == ("/envoy", "--config-path", str(tmp_path))
    # Envoy refuses a drain time of nothing.
    assert arguments[arguments.index("--drain-time-s") + 1] == "1"
    assert arguments[arguments.index("--concurrency") + 1] == "3"
    assert "--disable-hot-restart" in arguments
    assert "--concurrency" not in envoy.command(
        Path("/envoy"), tmp_path, drain_seconds=30, concurrency=None, on_screen=False
    )


def test_envoys_own_log_is_json_quotes_included(tmp_path):
    found = place(tmp_path)
    (tmp_path / 'no "such" file').mkdir()
    command = envoy.command(
        Path(envoy_path()), tmp_path / 'no "such" file', drain_seconds=1, concurrency=1, on_screen=False
    )

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    lines = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    assert any('no "such" file' in line["event"] for line in lines)
    assert {"time", "level", "logger", "event"} == set(lines[0])
    assert found


def test_rendering_is_not_loaded_before_it_is_needed():
    code = "import sys, extproc.supervisor.up; sys.exit('envoy_data_plane' in sys.modules)"

    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 0


def test_a_certificate_authority_is_not_needed_for_the_bootstrap(tmp_path):
    """The document only names files, which are made before Envoy starts."""
    found = place(tmp_path)
    envoy.write_bootstrap(envoy.bootstrap_path(found), Settings(), found)

    assert not certificates.paths(tmp_path / "tls").certificate.exists()
