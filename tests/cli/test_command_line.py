"""The command line as a whole: help, version, exit codes, and errors as sentences."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli.command_line import run_process

import extproc
from extproc import cli
from extproc.errors import StoreUnavailable

COMMANDS = ("up", "serve", "check-config", "render")


def test_help_names_every_command_and_nothing_that_is_hidden(run):
    ended = run("--help")

    assert ended.code == 0
    for command in COMMANDS:
        assert f" {command} " in ended.out
    assert "simulate-provider" not in ended.out


@pytest.mark.parametrize("command", [("up",), ("serve",), ("check-config",), ("render",), ("render", "envoy")])
def test_every_command_explains_itself(run, command):
    ended = run(*command, "--help")

    assert ended.code == 0
    assert "Usage: extproc " + " ".join(command) in ended.out
    assert "--until-stdin-ends" not in ended.out


def test_the_version_is_the_packages(run):
    assert run("--version").out == f"extproc {extproc.__version__}\n"


def test_without_a_command_there_is_help(run):
    assert "Usage: extproc" in run().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("up", "--nonsense"), "No such option: --nonsense"),
        (
            ("up", "--http-port", "65536"),
            "Invalid value for '--http-port': Input should be less than or equal to 65535",
        ),
        (("check-config",), "Missing argument 'FILE'"),
    ],
)
def test_a_wrong_argument_is_the_operators_to_mend(run, arguments, complaint):
    ended = run(*arguments)

    assert ended.code == 2
    assert complaint in ended.err
    assert ended.out == ""


def test_help_and_version_are_quick_because_they_load_nothing(tmp_path):
    code = (
        "import sys, extproc.cli\n"
        "heavy = {'grpc', 'fastapi', 'sqlalchemy', 'envoy_data_plane', 'pydantic', 'uvicorn'} & sys.modules.keys()\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )

    ended = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_error_is_one_sentence_and_never_a_traceback(tmp_path):
    ended = run_process("serve", "--config", "nowhere.yaml", cwd=tmp_path)

    assert ended.code == 2
    assert ended.err.startswith("error: nowhere.yaml: ")
    assert len(ended.err.splitlines()) == 1


def test_what_the_operator_cannot_mend_is_another_exit_code(run, monkeypatch):
    def fail(**_: object) -> None:
        raise StoreUnavailable("database", "closed")

    monkeypatch.setattr(cli, "app", fail)
    ended = run("up")

    assert ended.code == 1
    assert ended.err.startswith("error: ")


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    """As `extproc render envoy | head -1`."""
    pipeline = f"{sys.executable} -m extproc render envoy --format json | head -c 1"
    ended = subprocess.run(["sh", "-c", pipeline], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "{", "")
