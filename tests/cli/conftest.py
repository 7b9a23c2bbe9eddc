"""The command line, within reach of every test."""

from __future__ import annotations

import pytest
from cli.command_line import Run, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Without colours and at a known width, whatever runs the tests."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    return runner(monkeypatch, capsys)
